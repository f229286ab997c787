"""Which facet of a lower hull contains a composition, for many compositions at once and with bounded memory.

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
