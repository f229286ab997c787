"""The maturity signals of a branch as rows: one number per state or iteration, oldest first, for tables and sparklines."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from coevo.studies.states.environment_coverage import coverage_course
from coevo.studies.states.held_out import held_out_course

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from coevo.node_store.views import StateView

    Metrics = Mapping[str, Any]

_BARS = "▁▂▃▄▅▆▇█"
_GAP = "·"


@dataclass(frozen=True)
class SignalRow:
    """A number followed over the iterations.

    Attributes
    ----------
    signal : str
        The signal that it belongs to, as :class:`coevo.analysis.signals.maturity.Signal` names it.
    name : str
    unit : str
        Empty for shares and counts.
    iterations : tuple of int
    values : tuple of (float or None)
        One for each iteration; None where it is not known.
    error : float or None
        Standard error of the last value.
    digits : int
        After the decimal point, for people.
    """

    signal: str
    name: str
    unit: str
    iterations: tuple[int, ...]
    values: tuple[float | None, ...]
    error: float | None
    digits: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


def signal_rows(view: StateView) -> list[SignalRow]:
    """Rows of the signals of the states that led to one, along first parents.

    Those of the ruler are of the state's own model and hull alone; the others were measured by each state.
    """
    states = [*reversed(list(view.first_parents())), view]
    metrics = [state.document["metrics"] for state in states]
    iterations = tuple(state.iteration for state in states)
    return [
        *_ruler_rows(metrics[-1]),
        *_environment_rows(iterations, metrics),
        *_error_rows(iterations, metrics),
        *_held_out_rows(iterations, states),
        *_stiffness_rows(iterations, metrics),
        *_hull_rows(iterations, metrics),
    ]


def sparkline(values: Sequence[float | None]) -> str:
    """Bars from the smallest to the largest value, one character each; a missing value is a dot, equal values are half high."""
    known = [value for value in values if value is not None]
    if not known:
        return _GAP * len(values)
    low, span = min(known), max(known) - min(known)
    steps = len(_BARS) - 1
    return "".join(
        _GAP if value is None else _BARS[round(steps * (value - low) / span) if span else steps // 2] for value in values
    )


def _ruler_rows(metrics: Metrics) -> list[SignalRow]:
    samples = sorted((int(since), sample) for since, sample in (metrics.get("ruler") or {}).items() if sample)
    iterations = tuple(since for since, _ in samples)

    def row(signal: str, name: str, unit: str, digits: int, value: Callable[[Metrics], Any], error: Any = None) -> SignalRow:
        return SignalRow(signal, name, unit, iterations, tuple(_number(value(sample)) for _, sample in samples), error, digits)

    error = _number(samples[-1][1].get("standard_error")) if samples else None
    return [
        row("energy above hull", "median E_hull of candidates", "eV/atom", 3, lambda s: s.get("q50"), error),
        row("energy above hull", "stable share", "", 2, lambda s: s.get("stable")),
        row("energy above hull", "unique share", "", 2, lambda s: s.get("unique")),
        row("energy above hull", "novel share", "", 2, lambda s: s.get("novel")),
        row("energy above hull", "S.U.N. share", "", 2, lambda s: s.get("sun")),
        row("diversity", "distinct per candidate", "", 2, lambda s: _per_candidate(s, "distinct")),
        row("diversity", "effective formulas", "", 1, lambda s: (s.get("diversity") or {}).get("effective_formulas")),
        row("diversity", "effective space groups", "", 1, lambda s: (s.get("diversity") or {}).get("effective_space_groups")),
    ]


def _environment_rows(iterations: tuple[int, ...], metrics: Sequence[Metrics]) -> list[SignalRow]:
    latest = metrics[-1].get("entropy") or {}
    rows = [_estimates("environments", "entropy of environments", "nats", 3, iterations, metrics, ("entropy",))]
    rows += [
        _estimates("environments", f"… about {symbol}", "nats", 3, iterations, metrics, ("entropy", "per_species", symbol))
        for symbol in latest.get("per_species", {})
    ]
    rows.append(
        _estimates("environments", "… neighbours' species seen", "nats", 3, iterations, metrics, ("entropy_multicomponent",))
    )
    rows.append(_estimates("environments", "share of new environments", "", 2, iterations, metrics, ("new_environments",)))
    return rows + _coverage_rows(iterations, metrics)


def _coverage_rows(iterations: tuple[int, ...], metrics: Sequence[Metrics]) -> list[SignalRow]:
    """Rows at the resolution of the node, where the last state records them."""
    if not metrics[-1].get("environment_coverage"):
        return []
    course = coverage_course(metrics)
    symbols = dict.fromkeys(symbol for shares in course.values() for symbol in shares)

    def share(symbol: str) -> SignalRow:
        values = tuple(_number((shares.get(symbol) or {}).get("fraction")) for shares in course.values())
        return SignalRow("environments", f"share of {symbol} far from older ones", "", tuple(course), values, None, 3)

    path = ("environment_coverage", "entropy", "total")
    return [
        *(share(symbol) for symbol in symbols),
        _estimates("environments", "entropy at the node's resolution", "nats", 3, iterations, metrics, path),
    ]


def _error_rows(iterations: tuple[int, ...], metrics: Sequence[Metrics]) -> list[SignalRow]:
    def row(name: str, unit: str, digits: int, value: Callable[[Metrics], Any]) -> SignalRow:
        return SignalRow("force field", name, unit, iterations, tuple(_number(value(m)) for m in metrics), None, digits)

    def error(which: str, key: str) -> Callable[[Metrics], Any]:
        return lambda m: (((m.get("force_field") or {}).get(which) or {}).get("all") or {}).get(key)

    def frames(m: Metrics) -> Any:
        counts = (m.get("force_field") or {}).get("frames")
        return sum(counts.values()) if counts else None

    return [
        row("labelled frames", "", 0, frames),
        row("test RMSE, energy", "meV/atom", 1, lambda m: m.get("energy_rmse_mev_per_atom")),
        row("test RMSE, force", "meV/Å", 0, lambda m: m.get("force_rmse_mev_per_angstrom")),
        row("prequential RMSE, energy", "meV/atom", 1, error("prequential", "energy_rmse_mev_per_atom")),
        row("prequential RMSE, force", "meV/Å", 0, error("prequential", "force_rmse_mev_per_angstrom")),
        row("prequential RMSE, stress", "GPa", 2, error("prequential", "stress_rmse_gpa")),
    ]


def _held_out_rows(iterations: tuple[int, ...], states: Sequence[StateView]) -> list[SignalRow]:
    """Rows of the checkpoints of all states on the held-out set of the last."""
    errors = held_out_course(states).errors

    def row(name: str, unit: str, digits: int, key: str) -> SignalRow:
        values = tuple(_number((found or {}).get(key)) for found in errors)
        return SignalRow("force field", name, unit, iterations, values, None, digits)

    failed = row("held-out frames not evaluated", "", 0, "failed")
    return [
        row("held-out RMSE, energy", "meV/atom", 1, "energy_rmse_mev_per_atom"),
        row("held-out RMSE, force", "meV/Å", 0, "force_rmse_mev_per_angstrom"),
        row("held-out RMSE, stress", "GPa", 2, "stress_rmse_gpa"),
        *([failed] if any(failed.values) else []),
    ]


def _stiffness_rows(iterations: tuple[int, ...], metrics: Sequence[Metrics]) -> list[SignalRow]:
    def row(name: str, key: str) -> SignalRow:
        values = tuple(_number((m.get("stiffness") or {}).get(key)) for m in metrics)
        return SignalRow("force field", name, "", iterations, values, None, 2)

    return [
        row("bulk modulus, model over labels", "bulk_modulus_ratio"),
        row("frequencies, model over labels", "frequency_ratio"),
    ]


def _hull_rows(iterations: tuple[int, ...], metrics: Sequence[Metrics]) -> list[SignalRow]:
    """Rows of a hull of labelled phases; none where all that the force field says makes it."""
    if "hull_check" not in metrics[-1]:
        return []

    def row(name: str, value: Callable[[Metrics], Any]) -> SignalRow:
        return SignalRow("hull", name, "", iterations, tuple(_number(value(m.get("hull_check") or {})) for m in metrics), None, 0)

    return [
        row("phases on the hull newly labelled", lambda check: check.get("labelled")),
        row("… that labels refuted", lambda check: check.get("refuted")),
    ]


def _estimates(
    signal: str,
    name: str,
    unit: str,
    digits: int,
    iterations: tuple[int, ...],
    metrics: Sequence[Metrics],
    path: tuple[str, ...],
) -> SignalRow:
    """Row of an estimate with its error: ``mean``, or ``fraction``, at a path of keys."""
    found: list[Metrics] = []
    for document in metrics:
        value: Any = document
        for key in path:
            value = (value or {}).get(key)
        found.append(value or {})
    values = tuple(_number(value.get("mean", value.get("fraction"))) for value in found)
    return SignalRow(signal, name, unit, iterations, values, _number(found[-1].get("standard_error")), digits)


def _per_candidate(sample: Metrics, key: str) -> float | None:
    diversity = sample.get("diversity")
    return diversity[key] / diversity["n"] if diversity and diversity["n"] else None


def _number(value: Any) -> float | None:
    return None if value is None else float(value)
