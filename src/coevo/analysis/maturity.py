"""When a node is mature: three signals, each flat for some iterations."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import isfinite, log
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike

    from coevo.configs.tree import MaturityConfig

Status = Literal["flat", "not flat", "no signal"]

RULER = "ruler_median_e_hull"
ENTROPY = "environment_entropy"
ENERGY_ERROR = "energy_rmse_mev_per_atom"
FORCE_ERROR = "force_rmse_mev_per_angstrom"

DEFAULT_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Signal:
    """One of the three signals.

    Attributes
    ----------
    name : {"energy above hull", "environments", "force field"}
    status : {"flat", "not flat", "no signal"}
    reason : str
        With the numbers.
    """

    name: str
    status: Status
    reason: str


@dataclass(frozen=True)
class Maturity:
    """Whether the node is mature, and why.

    Attributes
    ----------
    mature : bool
        All three signals are flat.
    signals : tuple of Signal
    reason : str
        One sentence.
    """

    mature: bool
    signals: tuple[Signal, ...]
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        document = asdict(self)
        document["signals"] = list(document["signals"])
        return document


def quantiles(energies_above_hull: ArrayLike, levels: Sequence[float] = DEFAULT_QUANTILES) -> dict[str, float]:
    """Quantiles of energies above hull, eV/atom, keyed ``"q05"``, ``"q25"``, …; empty if there are no energies."""
    values = np.asarray(energies_above_hull, dtype=float)
    if values.size == 0:
        return {}
    return {f"q{round(100 * level):02d}": float(np.quantile(values, level)) for level in levels}


def is_flat(series: Sequence[float | None], tolerance: float, patience: int, *, relative: bool = False) -> bool:
    """Whether the last ``patience`` changes together stay within a tolerance.

    The spread (largest less smallest) of the last ``patience + 1`` values must not exceed the tolerance: a slow drift whose
    steps are each small is not flat. Too few values, or a missing one among them, are never flat.

    Parameters
    ----------
    series : sequence of (float or None)
        Oldest first.
    tolerance : float
        In the unit of the series, or, if ``relative``, a share of its largest absolute value in the window.
    patience : int
    relative : bool
    """
    window = _window(series, patience)
    if window is None:
        return False
    scale = max(abs(value) for value in window) if relative else 1.0
    return max(window) - min(window) <= tolerance * scale


def maturity(history: Sequence[Mapping[str, Any]], config: MaturityConfig) -> Maturity:
    """Judge the three signals over the states of a branch.

    Parameters
    ----------
    history : sequence of mappings
        Metrics per state, oldest first: ``ruler_median_e_hull`` (eV/atom), ``environment_entropy`` (nats),
        ``energy_rmse_mev_per_atom`` and ``force_rmse_mev_per_angstrom``; each a number or None. A missing signal is never flat.
    config : MaturityConfig
    """
    signals = (
        _judge("energy above hull", {RULER: _column(history, RULER)}, config.e_hull_tolerance, config.patience),
        _environments(_column(history, ENTROPY), config),
        _judge(
            "force field",
            {ENERGY_ERROR: _column(history, ENERGY_ERROR), FORCE_ERROR: _column(history, FORCE_ERROR)},
            config.rmse_tolerance,
            config.patience,
            relative=True,
        ),
    )
    mature = all(signal.status == "flat" for signal in signals)
    if mature:
        reason = f"mature: all three signals were flat for {config.patience} iterations"
    else:
        reason = "not mature: " + "; ".join(f"{signal.name}: {signal.reason}" for signal in signals if signal.status != "flat")
    return Maturity(mature, signals, reason)


def _environments(series: Sequence[float | None], config: MaturityConfig) -> Signal:
    """The entropy cannot exceed ln N: next to that ceiling it is flat whatever the structures do."""
    ceiling = log(config.environments)
    latest = series[-1] if series else None
    if latest is not None and isfinite(latest) and latest > ceiling - config.entropy_tolerance:
        reason = (
            f"no signal: the entropy {latest:.3g} is at its ceiling ln {config.environments} = {ceiling:.3g}; "
            "sample more environments"
        )
        return Signal("environments", "no signal", reason)
    return _judge("environments", {ENTROPY: series}, config.entropy_tolerance, config.patience)


def _judge(
    name: str, columns: Mapping[str, Sequence[float | None]], tolerance: float, patience: int, *, relative: bool = False
) -> Signal:
    """Flat when every column is."""
    spreads = []
    for key, series in columns.items():
        window = _window(series, patience)
        if window is None:
            return Signal(
                name, "no signal", f"no signal: {key} is known for {_known(series)} consecutive states, {patience + 1} are needed"
            )
        spreads.append(f"{key} varied between {min(window):.4g} and {max(window):.4g}")
    flat = all(is_flat(series, tolerance, patience, relative=relative) for series in columns.values())
    allowed = f"{100 * tolerance:.3g} %" if relative else f"{tolerance:.3g}"
    reason = f"{'flat' if flat else 'not flat'}: {', '.join(spreads)} over {patience + 1} states ({allowed} allowed)"
    return Signal(name, "flat" if flat else "not flat", reason)


def _column(history: Sequence[Mapping[str, Any]], key: str) -> list[float | None]:
    return [None if metrics.get(key) is None else float(metrics[key]) for metrics in history]


def _window(series: Sequence[float | None], patience: int) -> list[float] | None:
    """The last ``patience + 1`` values if all are known."""
    values = [value for value in series[-(patience + 1) :] if value is not None and isfinite(value)]
    return values if len(values) == patience + 1 else None


def _known(series: Sequence[float | None]) -> int:
    """Values known without a gap, counted from the last."""
    count = 0
    for value in reversed(series):
        if value is None or not isfinite(value):
            break
        count += 1
    return count
