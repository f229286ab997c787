"""The hull at temperatures and pressures, what joins and leaves it, and where one polymorph gives way to another."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from coevo.analysis.composition import fractions
from coevo.analysis.hull.hull import Hull

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

PURE = 1.0 - 1e-8
ON_HULL = 1e-8
"""eV/atom; what is above the hull by less is on it."""


@dataclass(frozen=True)
class HullAt:
    """The hull of those phases that have a free energy.

    Attributes
    ----------
    above : dict of str to float
        Of each of these phases, eV/atom above the hull.
    reason : str
        Why there is none: an element without a phase; empty if there is one.
    """

    above: dict[str, float]
    reason: str = ""

    @property
    def stable(self) -> list[str]:
        """Ids of the phases on the hull, in the order they were given."""
        return [name for name, value in self.above.items() if value <= ON_HULL]


def hull_at(elements: Sequence[str], compositions: Mapping[str, Any], energies: Mapping[str, float | None]) -> HullAt:
    """Return the hull of phases at one temperature and pressure.

    Parameters
    ----------
    elements : sequence of str
    compositions : mapping of str to Composition or str
        Of each phase by its id.
    energies : mapping of str to float or None
        G, eV/atom; a phase without one takes no part.
    """
    taken = [(name, value) for name, value in energies.items() if value is not None]
    if not taken:
        return HullAt({}, "no phase has a free energy")
    x = fractions([compositions[name] for name, _ in taken], elements)
    missing = [symbol for symbol, column in zip(elements, x.T, strict=True) if not (column > PURE).any()]
    if missing:
        return HullAt({}, f"no phase of pure {', '.join(missing)} has a free energy")
    values = np.array([value for _, value in taken])
    hull = Hull.from_points(elements, x, values)
    above = hull.energy_above_hull(x, values)
    return HullAt({name: float(value) for (name, _), value in zip(taken, above, strict=True)})


@dataclass(frozen=True)
class Transition:
    """Where the lowest of some polymorphs changes on heating.

    Attributes
    ----------
    before, after : str
        Ids of the lower and of the higher temperature.
    temperature : float
        K, between those that were computed by linear interpolation.
    low, high : float or None
        Where the difference of free energies is as large as its error, K; None where that is not within the temperatures.
    """

    before: str
    after: str
    temperature: float
    low: float | None
    high: float | None


def transitions(
    temperatures: Sequence[float], energies: Mapping[str, Sequence[float | None]], errors: Mapping[str, Sequence[float | None]]
) -> list[Transition]:
    """Return where the lowest polymorph changes along a row of temperatures at one pressure.

    Parameters
    ----------
    temperatures : sequence of float
        Ascending, K.
    energies, errors : mapping of str to sequence of float or None
        G and its error by id, eV/atom; None where there is none. Errors of two phases are independent of each other.
    """
    lowest = [lowest_of({name: values[row] for name, values in energies.items()}) for row in range(len(temperatures))]
    found = []
    for row, (one, other) in enumerate(pairwise(lowest)):
        if one is None or other is None or one == other:
            continue
        difference = _differences(energies[other], energies[one])
        error = _joined(errors[other], errors[one])
        if not np.isfinite(difference[[row, row + 1]]).all():
            continue  # one of both has no free energy on one side: it was refused there, and did not give way
        at = _crossing(temperatures, difference, row)
        # below the transition the difference is positive: the band begins where it has come down to its error
        low = _last_at_zero(temperatures, difference - error, row, at)
        high = _first_at_zero(temperatures, difference + error, row, at)
        found.append(Transition(one, other, at, low, high))
    return found


def lowest_of(energies: Mapping[str, float | None]) -> str | None:
    """Id of the least energy; the first of equals, and None where there is none."""
    known = {name: value for name, value in energies.items() if value is not None}
    return min(known, key=lambda name: known[name]) if known else None


def _differences(one: Sequence[float | None], other: Sequence[float | None]) -> FloatArray:
    return _array(one) - _array(other)


def _joined(one: Sequence[float | None], other: Sequence[float | None]) -> FloatArray:
    return np.sqrt(_array(one) ** 2 + _array(other) ** 2)


def _array(values: Sequence[float | None]) -> FloatArray:
    return np.array([np.nan if value is None else value for value in values], dtype=float)


def _crossing(temperatures: Sequence[float], values: FloatArray, row: int) -> float:
    """Where a line between a row and the next is zero."""
    one, other = values[row], values[row + 1]
    return float(temperatures[row] + (temperatures[row + 1] - temperatures[row]) * one / (one - other))


def _last_at_zero(temperatures: Sequence[float], values: FloatArray, row: int, at: float) -> float | None:
    """Where values that end below zero were last above it, at or before a temperature within a row."""
    for index in range(row, -1, -1):
        if values[index] >= 0.0 > values[index + 1]:
            return min(at, _crossing(temperatures, values, index))
        if not np.isfinite(values[index]):
            return None
    return None


def _first_at_zero(temperatures: Sequence[float], values: FloatArray, row: int, at: float) -> float | None:
    for index in range(row, len(values) - 1):
        if not np.isfinite(values[index + 1]):
            return None
        if values[index] > 0.0 >= values[index + 1]:
            return max(at, _crossing(temperatures, values, index))
    return None
