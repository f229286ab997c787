"""Which of several generators earns its share: what each drew, what became of it, and the time that it took.

S.U.N. candidates of an iteration are those by the force field that screened them, on the hull of that time; S.U.N. entries are by
the state's own. Times are those of the jobs that draw and fit, as far as a state's provenance has them; no state id covers them.
Per hour are S.U.N. candidates only if the drawing of every iteration is among the times.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from math import inf
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
    is_timed : bool
        Whether the drawing of all these iterations is among them.
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
    is_timed: bool = False

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
        """S.U.N. candidates per hour of the jobs that drew and fitted; None where the time of one that drew is not known."""
        return HOUR * self.sun / self.seconds if self.seconds and self.is_timed else None

    def to_dict(self) -> dict[str, Any]:
        """As JSON."""
        more = {name: getattr(self, name) for name in ("draws", "sun_per_thousand", "sun_per_hour")}
        return asdict(self) | more


def has_generators(view: StateView) -> bool:
    """Whether a state says what became of several generators."""
    return bool(_told(view))


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
    told = _told(states[-1])
    names = list(dict.fromkeys([*weights, *told, *(name for view in states for name in _iteration(view))]))
    return [_row(name, states, weights.get(name), told.get(name, {})) for name in names]


def _row(family: str, states: Iterable[StateView], weight: float | None, told: Mapping[str, Any]) -> GeneratorRow:
    counts: Counter[str] = Counter()
    reasons: dict[str, Counter[str]] = {"rejected_by_generator": Counter(), "rejected": Counter()}
    iterations, seconds, is_timed = 0, 0.0, True
    for view in states:
        found, spent = _iteration(view).get(family), generator_seconds(view).get(family, {})
        seconds += sum(spent.values())
        if found is None:
            continue
        iterations += 1
        is_timed &= not found["asked"] or "generate" in spent
        counts.update({name: found[name] for name in COUNTED})
        for name, total in reasons.items():
            total.update(found[name])
    return GeneratorRow(
        family,
        weight,
        iterations,
        **dict[str, Any]({name: counts[name] for name in COUNTED}),
        **dict[str, Any]({name: dict(sorted(total.items())) for name, total in reasons.items()}),
        entries=told["entries"] if _is_count(told.get("entries")) else None,
        sun_entries=told["sun"] if _is_count(told.get("sun")) else None,
        seconds=seconds or None,
        is_timed=is_timed,
    )


def _part(document: Any, name: str) -> dict[str, Any]:
    """A part of a document that a stranger may have written; empty if there is none or it is something else."""
    found = document.get(name) if isinstance(document, dict) else None
    return found if isinstance(found, dict) else {}


def _is_count(value: Any) -> bool:
    """Whether a value of a document is a number of something."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _told(view: StateView) -> dict[str, dict[str, Any]]:
    """What a state says of its generators, by family."""
    return {name: each for name, each in _part(view.document["metrics"], "generators").items() if isinstance(each, dict)}


def _iteration(view: StateView) -> dict[str, dict[str, Any]]:
    """What a state says of what each family drew, where that is what this coevo writes."""
    found: dict[str, dict[str, Any]] = {}
    for family, each in _part(_part(view.document["metrics"], "iteration"), "generators").items():
        reasons = {name: _part(each, name) for name in ("rejected_by_generator", "rejected")}
        numbers = [each.get(name) for name in COUNTED] if isinstance(each, dict) else [None]
        if all(map(_is_count, [*numbers, *(count for counts in reasons.values() for count in counts.values())])):
            found[family] = {**each, **reasons}
    return found


def _weights(config: Mapping[str, Any]) -> dict[str, float]:
    """Shares by the weights of a configuration; none where they are no weights."""
    mixture = _part(_part(config, "generator"), "mixture")
    if not all(isinstance(weight, int | float) and 0 <= weight < inf for weight in mixture.values()):
        return {}
    total = sum(mixture.values())
    return {name: weight / total for name, weight in mixture.items()} if 0 < total < inf else {}


def generator_lines(states: Sequence[StateView]) -> list[tuple[str, str]]:
    """Return a row of words for each family of a mixture, for the table of an iteration."""
    told = _told(states[-1])
    return [(f"generator {row.family}", _words(row, told.get(row.family, {}))) for row in generator_rows(states)]


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
    if reason := _part(told, "report").get("reason"):
        parts.append(f"kept the parent's: {str(reason)[:200]}")
    return "; ".join(parts)


def reason_words(reasons: Mapping[str, int]) -> str:
    """Write counts by reason: ``3 too_close, 1 timeout``, or ``none``."""
    return ", ".join(f"{count} {reason}" for reason, count in reasons.items()) or "none"
