"""How much of the space of compositions a set of structures covers: chemical systems, formulas and cells of a grid."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from math import comb
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class CompositionCoverage:
    """Coverage of the compositions of k elements.

    Attributes
    ----------
    n : int
        Structures.
    elements : tuple of str, length k
    systems : dict of str to int
        Structures in each chemical system that was met, such as ``"Li-S"``.
    systems_possible : int
        2^k - 1: the elements alone, pairs, …
    system_coverage : float
        Chemical systems met over ``systems_possible``.
    compositions : int
        Different compositions (reduced formulas).
    grid_width : float
        Spacing 1/N of the grid, in atomic fractions.
    cells : int
        Points of the grid that are nearest to some structure.
    cells_possible : int
        C(N + k - 1, k - 1), the points of the grid: compositions whose fractions are whole multiples of 1/N.
    grid_coverage : float
        ``cells`` over ``cells_possible``.
    """

    n: int
    elements: tuple[str, ...]
    systems: dict[str, int]
    systems_possible: int
    system_coverage: float
    compositions: int
    grid_width: float
    cells: int
    cells_possible: int
    grid_coverage: float

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {**asdict(self), "elements": list(self.elements)}


def composition_coverage(elements: Sequence[str], fractions: ArrayLike, divisions: int = 10) -> CompositionCoverage:
    """Measure the coverage.

    Parameters
    ----------
    elements : sequence of str, length k
    fractions : array, shape (n, k)
        Atomic fractions (:func:`coevo.analysis.composition.fractions`).
    divisions : int
        N, of each edge of the simplex; the grid has the spacing 1/N.

    Raises
    ------
    AnalysisError
        If the shape does not fit or ``divisions`` is below 1.
    """
    x = np.asarray(fractions, dtype=float)
    k = len(elements)
    if k == 0 or x.ndim != 2 or x.shape[1] != k:
        raise AnalysisError(
            f"fractions have shape {x.shape}; expected (n, {k}) for the elements {'-'.join(elements) or '(none)'}"
        )
    names = np.array(elements)
    systems = Counter("-".join(sorted(names[present])) for present in x > 0)
    cells = {row.tobytes() for row in nearest_grid_points(x, divisions)}
    possible = comb(divisions + k - 1, k - 1)
    return CompositionCoverage(
        n=len(x),
        elements=tuple(elements),
        systems=dict(sorted(systems.items())),
        systems_possible=2**k - 1,
        system_coverage=len(systems) / (2**k - 1),
        compositions=len({row.tobytes() for row in np.round(x, 9) + 0.0}),
        grid_width=1.0 / divisions,
        cells=len(cells),
        cells_possible=possible,
        grid_coverage=len(cells) / possible,
    )


def nearest_grid_points(fractions: ArrayLike, divisions: int) -> IntArray:
    """Nearest points of the simplex grid.

    The nearest point to N x among whole numbers of sum N is found by rounding down and giving what is missing to the largest
    remainders (Conway and Sloane, IEEE Trans. Inf. Theory 1982, 28, 227, on the lattice A_n); of equal remainders the first
    element's goes first.

    Parameters
    ----------
    fractions : array, shape (n, k)
    divisions : int
        N.

    Returns
    -------
    ndarray of int, shape (n, k)
        Rows sum to N.
    """
    if divisions < 1:
        raise AnalysisError(f"a grid with {divisions} divisions has no cells; give at least 1")
    scaled = np.asarray(fractions, dtype=float) * divisions
    # A remainder that differs from a whole number by rounding only is none.
    down = np.floor(scaled + 1e-9).astype(np.int64)
    rank = np.argsort(np.argsort(-np.round(scaled - down, 9), axis=1, kind="stable"), axis=1, kind="stable")
    return down + (rank < divisions - down.sum(axis=1, keepdims=True))
