"""Facets of a lower convex hull: which points can be corners, and the simplices between the corners.

Also here: which facet of a lower hull contains a composition, for many compositions at once and with bounded memory.

Sums that enter a result are written out column by column: the answer for one composition then has the same bits whatever
others are asked for with it, which matrix products of a library do not promise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from coevo.errors import AnalysisError

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


INSIDE = 1e-9
"""Share of atoms; a composition this little outside a facet, by rounding, is in it."""

_GAP = 1e-6
_BLOCK = 200_000
# Share of the largest formation energy. Far more than rounding, so that a matrix product may decide on it.
_MARGIN = 1e-7


def weighted_sum(x: FloatArray, weights: FloatArray) -> FloatArray:
    """Sum over j of x[:, j] * weights[j], column by column; shape (m,) from (m, k) and (k,)."""
    total = x[:, 0] * weights[0]
    for column in range(1, x.shape[1]):
        total += x[:, column] * weights[column]
    return total


class FacetSearch:
    """Search among the facets of one hull.

    A lower hull is the highest of the planes of its facets, so only facets whose plane is near the highest one can contain a
    composition: for them alone barycentric coordinates are computed. Where none of them contains it (the plane of a sliver,
    extended far from it, is not to be trusted) all facets are searched.

    Parameters
    ----------
    corners : ndarray, shape (s, k, k)
        Atomic fractions of the corners of each facet.
    energies : ndarray, shape (s, k)
        Formation energies of the corners, eV/atom.
    """

    def __init__(self, corners: FloatArray, energies: FloatArray) -> None:
        self._energies = energies
        self._inverse = np.linalg.inv(corners).astype(np.float64, copy=False)
        self._planes = np.ascontiguousarray(np.einsum("skj,sj->ks", self._inverse, energies))
        self._margin = _MARGIN * float(np.abs(energies).max())

    def locate(self, x: FloatArray) -> tuple[FloatArray, IntArray, FloatArray]:
        """Facet that contains each composition; of several, by rounding, the lowest there.

        Parameters
        ----------
        x : ndarray, shape (m, k)

        Returns
        -------
        value : ndarray, shape (m,)
            Formation energy of the hull, eV/atom.
        facet : ndarray of int, shape (m,)
        weights : ndarray, shape (m, k)
            Shares of the corners of the facet.

        Raises
        ------
        AnalysisError
            If a composition lies in no facet.
        """
        n_facets, k = self._energies.shape
        value = np.empty(len(x))
        facet = np.empty(len(x), dtype=np.int64)
        weights = np.empty((len(x), k))
        step = max(1, _BLOCK // n_facets)
        for start in range(0, len(x), step):
            part = slice(start, start + step)
            value[part], facet[part], weights[part] = self._locate_by_plane(x[part])
        lost = np.flatnonzero(facet < 0)
        step = max(1, _BLOCK // (n_facets * k))
        for start in range(0, len(lost), step):
            rows = lost[start : start + step]
            value[rows], facet[rows], weights[rows] = self._locate_anywhere(x[rows])
        return value, facet, weights

    def _locate_by_plane(self, x: FloatArray) -> tuple[FloatArray, IntArray, FloatArray]:
        """As :meth:`locate`; facet -1 where no facet near the highest plane contains the composition."""
        height = x @ self._planes
        row, candidate = np.divmod(
            np.flatnonzero(height >= height.max(axis=1, keepdims=True) - self._margin), len(self._energies)
        )
        share = self._barycentric(x[row], candidate)
        energy = _interpolated(share, self._energies[candidate])
        inside = np.flatnonzero(share.min(axis=1) >= -INSIDE)
        # Lowest first within each row, then in the order of facets.
        best = inside[np.lexsort((candidate[inside], energy[inside], row[inside]))]
        found, first = np.unique(row[best], return_index=True)
        best = best[first]
        value, facet = np.full(len(x), np.nan), np.full(len(x), -1, dtype=np.int64)
        weights = np.full(x.shape, np.nan)
        value[found], facet[found], weights[found] = energy[best], candidate[best], share[best]
        return value, facet, weights

    def _locate_anywhere(self, x: FloatArray) -> tuple[FloatArray, IntArray, FloatArray]:
        """As :meth:`locate`, by looking into every facet; one in a gap by rounding is inside the nearest."""
        n_facets = len(self._energies)
        every = np.tile(np.arange(n_facets), len(x))
        share = self._barycentric(np.repeat(x, n_facets, axis=0), every)
        energy = _interpolated(share, self._energies[every]).reshape(len(x), n_facets)
        lowest = share.min(axis=1).reshape(len(x), n_facets)
        nearest = lowest.max(axis=1)
        if nearest.min() < -_GAP:
            raise AnalysisError("the facets of the hull leave a gap; two phases have compositions too close to tell apart")
        energy[lowest < np.minimum(nearest - INSIDE, -INSIDE)[:, None]] = np.inf
        best = energy.argmin(axis=1)
        rows = np.arange(len(x))
        return energy[rows, best], best, share.reshape(len(x), n_facets, -1)[rows, best]

    def _barycentric(self, x: FloatArray, facet: IntArray) -> FloatArray:
        """Shares (p, k) of the corners of one facet for each composition (p, k)."""
        inverse = self._inverse[facet]
        share = x[:, 0, None] * inverse[:, 0]
        for column in range(1, x.shape[1]):
            share += x[:, column, None] * inverse[:, column]
        return share


def _interpolated(share: FloatArray, energies: FloatArray) -> FloatArray:
    """Energy (p,) inside facets from shares (p, k) and energies (p, k) of their corners."""
    total = share[:, 0] * energies[:, 0]
    for column in range(1, share.shape[1]):
        total += share[:, column] * energies[:, column]
    return total
