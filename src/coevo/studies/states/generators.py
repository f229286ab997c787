"""Which of several generators earns its share: what each drew, what became of it, and the time that it took.

S.U.N. candidates of an iteration are those by the force field that screened them, on the hull of that time; S.U.N. entries are by
the state's own. Times are those of the jobs that draw and fit, as far as a state's provenance has them; no state id covers them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from coevo.node_store.recorded import generator_seconds
from coevo.output.plain_text import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from coevo.node_store.views import StateView

COUNTED = ("asked", "candidates", "relaxed", "unique", "stable", "sun", "admitted")
HOUR = 3600.0


@dataclass(frozen=True)
class GeneratorRow:
    """What one family did in some iterations.

    Attributes
    ----------
    family : str
    weight : float or None
        Share of the candidates that the last of the states' configurations gives it, in [0, 1]; None: it is not in its mixture.
    iterations : int
        In which it was asked for candidates.
    asked, candidates, relaxed, unique, stable, sun, admitted : int
        Candidates asked for, drawn, relaxed, unique, with E_hull up to the threshold, S.U.N., and those that became entries.
    rejected_by_generator, rejected : dict of str to int
        Draws that became no candidate, and candidates that screening rejected, by reason.
    entries, sun_entries : int or None
        Of the last state; None where it does not say.
    seconds : float or None
        Of the jobs that drew and fitted; None where nothing is known of them.
    """

    family: str
    weight: float | None = None
    iterations: int = 0
    asked: int = 0
    candidates: int = 0
    relaxed: int = 0
    unique: int = 0
    stable: int = 0
    sun: int = 0
    admitted: int = 0
    rejected_by_generator: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, int] = field(default_factory=dict)
    entries: int | None = None
    sun_entries: int | None = None
    seconds: float | None = None

    @property
    def draws(self) -> int:
        """Candidates and the draws that became none."""
        return self.candidates + sum(self.rejected_by_generator.values())

    @property
    def sun_per_thousand(self) -> float | None:
        """S.U.N. candidates per 1,000 candidates."""
        return 1000 * self.sun / self.candidates if self.candidates else None

    @property
    def sun_per_hour(self) -> float | None:
        """S.U.N. candidates per hour of the jobs that drew and fitted."""
        return HOUR * self.sun / self.seconds if self.seconds else None

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        more = {name: getattr(self, name) for name in ("draws", "sun_per_thousand", "sun_per_hour")}
        return asdict(self) | more


def has_generators(view: StateView) -> bool:
    """Whether a state says what became of several generators."""
    return isinstance(view.document["metrics"].get("generators"), dict)


def generator_rows(states: Sequence[StateView]) -> list[GeneratorRow]:
    """Add up what each family did.

    Parameters
    ----------
    states : sequence of StateView
        Those whose iterations count, the last one last; its entries and weights are told.

    Returns
    -------
    list of GeneratorRow
        Empty if the last state has one generator.
    """
    if not states or not has_generators(states[-1]):
        return []
    last = states[-1].document
    weights = _weights(last["config"])
    told = last["metrics"]["generators"]
    names = list(dict.fromkeys([*weights, *told, *(name for view in states for name in _iteration(view))]))
    return [_row(name, states, weights.get(name), told.get(name) or {}) for name in names]


def _row(family: str, states: Iterable[StateView], weight: float | None, told: Mapping[str, Any]) -> GeneratorRow:
    counts: Counter[str] = Counter()
    reasons: dict[str, Counter[str]] = {"rejected_by_generator": Counter(), "rejected": Counter()}
    iterations, seconds = 0, 0.0
    for view in states:
        found = _iteration(view).get(family)
        seconds += sum(generator_seconds(view).get(family, {}).values())
        if found is None:
            continue
        iterations += 1
        counts.update({name: int(found[name]) for name in COUNTED})
        for name, total in reasons.items():
            total.update({str(reason): int(count) for reason, count in found[name].items()})
    return GeneratorRow(
        family,
        weight,
        iterations,
        **dict[str, Any]({name: counts[name] for name in COUNTED}),
        **dict[str, Any]({name: dict(sorted(total.items())) for name, total in reasons.items()}),
        entries=told.get("entries"),
        sun_entries=told.get("sun"),
        seconds=seconds or None,
    )


def _iteration(view: StateView) -> dict[str, dict[str, Any]]:
    found = (view.document["metrics"].get("iteration") or {}).get("generators")
    return found if isinstance(found, dict) else {}


def _weights(config: Mapping[str, Any]) -> dict[str, float]:
    mixture = config["generator"].get("mixture") or {}
    total = sum(mixture.values())
    return {name: weight / total for name, weight in mixture.items()}


def generator_lines(states: Sequence[StateView]) -> list[tuple[str, str]]:
    """Return a row of words for each family of a mixture, for the table of an iteration."""
    told = states[-1].document["metrics"].get("generators") or {}
    return [(f"generator {row.family}", _words(row, told.get(row.family) or {})) for row in generator_rows(states)]


def _words(row: GeneratorRow, told: Mapping[str, Any]) -> str:
    parts = []
    if row.asked:
        rate = "" if row.sun_per_thousand is None else f" ({row.sun_per_thousand:.1f} per 1,000 candidates)"
        lost = sum(row.rejected.values())
        parts.append(
            f"asked for {row.asked}: {counted(row.candidates, 'candidates')}, {reason_words(row.rejected_by_generator)} dropped; "
            f"{lost} failed in screening, {row.unique} unique, {row.sun} S.U.N.{rate}"
        )
    if row.seconds is not None:
        parts.append(f"{row.seconds:.1f} s of its jobs")
    if row.entries is not None:
        parts.append(f"of the node's entries {row.entries}, S.U.N. {row.sun_entries}")
    if reason := (told.get("report") or {}).get("reason"):
        parts.append(f"kept the parent's: {str(reason)[:200]}")
    return "; ".join(parts)


def reason_words(reasons: Mapping[str, int]) -> str:
    """Write counts by reason: ``3 too_close, 1 timeout``, or ``none``."""
    return ", ".join(f"{count} {reason}" for reason, count in reasons.items()) or "none"
