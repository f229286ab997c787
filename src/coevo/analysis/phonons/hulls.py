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
ROUNDING = 1e-6
"""eV/atom; of linear programmes, which meet a composition within 1e-7."""


@dataclass(frozen=True)
class HullAt:
    """The hull of those phases that have a free energy.

    Attributes
    ----------
    above : dict of str to float
        Of each of these phases, eV/atom above the hull.
    reason : str
        Why there is none; empty if there is one.
    missing : tuple of str
        Elements of which no pure phase has a free energy: the hull is of the others alone, and knows of no decomposition into
        these elements.
    """

    above: dict[str, float]
    reason: str = ""
    missing: tuple[str, ...] = ()

    @property
    def stable(self) -> list[str]:
        """Ids of the phases on the hull, in the order they were given."""
        return [name for name, value in self.above.items() if value <= ON_HULL]


def hull_at(elements: Sequence[str], compositions: Mapping[str, Any], energies: Mapping[str, float | None]) -> HullAt:
    """Return the hull of phases at one temperature and pressure.

    Where an element has no phase, phases are compared with what they decompose into among those that there are.

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
    missing = tuple(symbol for symbol, column in zip(elements, x.T, strict=True) if not (column > PURE).any())
    values = np.array([value for _, value in taken])
    above = _above_others(x, values) if missing else Hull.from_points(elements, x, values).energy_above_hull(x, values)
    return HullAt({name: float(value) for (name, _), value in zip(taken, above, strict=True)}, missing=missing)


def _above_others(x: FloatArray, values: FloatArray) -> FloatArray:
    """Energy of each phase above the least mixture of its composition, of whatever phases there are; shape (n,).

    The least of Σ λ_j G_j with Σ λ_j x_j = x_i and λ ≥ 0, which needs no phase of each element.
    """
    from scipy.optimize import linprog

    least = [linprog(values, A_eq=x.T, b_eq=row, bounds=(0.0, None), method="highs") for row in x]
    # a phase is a mixture of itself: where the solver finds none that is better by more than it rounds, it is on the hull
    above = np.array([own - found.fun if found.success else 0.0 for own, found in zip(values, least, strict=True)])
    return np.where(above > ROUNDING, above, 0.0)


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
