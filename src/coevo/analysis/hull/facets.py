"""Facets of a lower convex hull: which points can be corners, and the simplices between the corners."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]

FORMATION_TOLERANCE = 1e-11
"""eV/atom; a compound whose formation energy is not below minus this cannot lower the hull (as in pymatgen)."""

PURE = 1.0 - 1e-8
"""Atomic fraction from which a point is a pure element."""

_DIGITS = 10


def distinct_rows(x: FloatArray, *keys: FloatArray) -> tuple[IntArray, IntArray]:
    """Order of the rows of a matrix by value, and where runs of equal rows begin in it.

    Parameters
    ----------
    x : ndarray, shape (n, k)
    *keys : ndarray, shape (n,)
        What orders equal rows, the most important first; then their place.

    Returns
    -------
    order : ndarray of int, shape (n,)
    starts : ndarray of int, shape (d,)
        ``order[starts]`` are the first of the d different rows.
    """
    order = np.lexsort((*keys[::-1], *x.T[::-1]))
    ordered = x[order]
    differs = np.ones(len(x), dtype=bool)
    differs[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    return order, np.flatnonzero(differs)


def lower_hull(x: FloatArray, formation: FloatArray, terminals: IntArray) -> tuple[IntArray, IntArray]:
    """Corners and simplices of the lower hull.

    The facets are computed twice: from all points that can be corners, then from the corners alone in the order of their
    compositions. So they depend on the set of corners only, not on how many points were above or in which order they came
    (where Qhull has to merge facets that agree to rounding, the set of corners itself may depend on it).

    Parameters
    ----------
    x : ndarray, shape (n, k)
        Atomic fractions.
    formation : ndarray, shape (n,)
        Formation energies, eV/atom.
    terminals : ndarray of int, shape (k,)
        The lowest point of each element.

    Returns
    -------
    vertices : ndarray of int, shape (v,)
        Increasing indices into the points.
    simplices : ndarray of int, shape (s, k)
        Positions in ``vertices``.
    """
    k = len(terminals)
    first = np.concatenate([terminals, _lowest_compounds(x, formation)])
    corners = np.unique(_lower_facets(x[first], formation[first]))
    compounds = first[corners[corners >= k]]
    second = np.concatenate([terminals, compounds[np.lexsort(x[compounds].T[::-1])]])
    facets = second[_lower_facets(x[second], formation[second])]
    vertices = np.unique(facets)
    return vertices, np.searchsorted(vertices, facets)


def _lowest_compounds(x: FloatArray, formation: FloatArray) -> IntArray:
    """Indices of the lowest compound of each composition, the first of equals, where it can lower the hull."""
    compound = np.flatnonzero((formation < -FORMATION_TOLERANCE) & (x.max(axis=1) <= PURE))
    order, starts = distinct_rows(np.round(x[compound], _DIGITS), formation[compound])
    return np.sort(compound[order[starts]])


def _lower_facets(x: FloatArray, formation: FloatArray) -> IntArray:
    """Simplices (s, k) of the lower hull; the first k points are the terminals in order.

    Facets are found in the coordinates (x_2, ..., x_k, formation energy), with one more point far above the centre, whose
    facets are the vertical sides and are thrown away.
    """
    n, k = x.shape
    if k == 1:
        return np.zeros((1, 1), dtype=np.int64)
    if n == k:
        return np.arange(k, dtype=np.int64)[None, :]
    if k == 2:
        return _lower_segments(x[:, 1], formation)
    from scipy.spatial import ConvexHull

    # Energies are brought to the size of fractions: Qhull's tolerances are relative to the largest coordinate.
    heights = formation / np.abs(formation).max()
    apex = np.append(np.full(k - 1, 1.0 / k), 1.0)
    points = np.vstack([np.column_stack([x[:, 1:], heights]), apex])
    facets = ConvexHull(points, qhull_options="Qt").simplices.astype(np.int64)
    facets = facets[(facets != n).all(axis=1)]
    # Facets that span no composition are vertical: compounds on one side of the composition simplex.
    volume = np.abs(np.linalg.det(x[facets]))
    facets = np.sort(facets[volume > 1e-12], axis=1)
    return facets[np.lexsort(facets.T[::-1])]


def _lower_segments(x: FloatArray, formation: FloatArray) -> IntArray:
    """Lower hull of a binary by Andrew's monotone chain; shape (s, 2)."""
    chain: list[int] = []
    for point in np.lexsort((formation, x)).tolist():
        while len(chain) > 1 and _turn(x, formation, chain[-2], chain[-1], point) <= 0:
            chain.pop()
        chain.append(point)
    return np.sort(np.column_stack([chain[:-1], chain[1:]]), axis=1).astype(np.int64)


def _turn(x: FloatArray, y: FloatArray, a: int, b: int, c: int) -> float:
    """Twice the signed area of a triangle; positive if the path a-b-c turns left."""
    return float((x[b] - x[a]) * (y[c] - y[a]) - (y[b] - y[a]) * (x[c] - x[a]))
