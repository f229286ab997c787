"""Lower convex hull of energy over composition: formation energies and energies above hull, for many structures at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from coevo.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]

FORMATION_TOLERANCE = 1e-11
"""eV/atom; a compound whose formation energy is not below minus this cannot lower the hull (as in pymatgen)."""

ROUNDING = 1e-12
"""eV/atom; a point this little below the hull lies on it: Qhull merges facets whose points agree to rounding."""

_INSIDE = 1e-9
_GAP = 1e-6
_BLOCK = 2_000_000


@dataclass(frozen=True)
class Hull:
    """Convex hull of one chemical system on one energy scale.

    Made by :meth:`from_points`. The value of the hull at a composition is the energy of the simplex of stable points that
    contains it; where rounding leaves several, the lowest. (Interpolation inside a simplex is bounded by its vertices, while the
    planes of sliver facets, extended to other compositions, are not.)

    Attributes
    ----------
    elements : tuple of str, length k
    terminals : ndarray, shape (k,)
        Lowest energy of each element, eV/atom.
    vertices : ndarray of int, shape (v,)
        Indices, into the points given, of the corners of the hull: the stable phases. Of equal points the first.
    simplices : ndarray of int, shape (s, k)
        Facets, as positions in ``vertices``.
    vertex_fractions : ndarray, shape (v, k)
    vertex_energies : ndarray, shape (v,)
        Formation energies, eV/atom.
    """

    elements: tuple[str, ...]
    terminals: FloatArray
    vertices: IntArray
    simplices: IntArray
    vertex_fractions: FloatArray
    vertex_energies: FloatArray

    @classmethod
    def from_points(cls, elements: Sequence[str], fractions: ArrayLike, energies_per_atom: ArrayLike) -> Hull:
        """Build the hull of all the points.

        Parameters
        ----------
        elements : sequence of str, length k
        fractions : array, shape (n, k)
            Atomic fractions, rows sum to 1.
        energies_per_atom : array, shape (n,)
            eV/atom, all on one scale.

        Raises
        ------
        AnalysisError
            If an element has no point of its own, a number is not finite, or shapes or fractions do not fit.
        """
        symbols = tuple(elements)
        x, energies = _checked(symbols, fractions, energies_per_atom)
        terminal_indices = _terminals(symbols, x, energies)
        terminals = energies[terminal_indices]
        formation = energies - x @ terminals
        candidates = _lowest_per_composition(x, formation, terminal_indices)
        facets = _lower_facets(x[candidates], formation[candidates])
        # Corners are numbered in the order of the points given.
        vertices = np.unique(candidates[facets])
        simplices = np.searchsorted(vertices, candidates[facets])
        return cls(symbols, terminals, vertices, simplices, x[vertices], formation[vertices])

    def formation_energy(self, fractions: ArrayLike, energies_per_atom: ArrayLike) -> FloatArray:
        """Energy relative to the lowest phase of each element, shape (m,), eV/atom."""
        x, energies = _checked(self.elements, fractions, energies_per_atom)
        return energies - x @ self.terminals

    def energy_above_hull(self, fractions: ArrayLike, energies_per_atom: ArrayLike) -> FloatArray:
        """Energy above hull.

        Parameters
        ----------
        fractions : array, shape (m, k)
        energies_per_atom : array, shape (m,)
            eV/atom, on the scale of the hull's points.

        Returns
        -------
        ndarray, shape (m,)
            eV/atom. Never negative for points that the hull was made of; a point that was not among them may lie below.
        """
        x, energies = _checked(self.elements, fractions, energies_per_atom)
        above = energies - x @ self.terminals - self._hull_formation_energy(x)
        above[(above < 0) & (above > -ROUNDING)] = 0.0
        return above

    def energy(self, fractions: ArrayLike) -> FloatArray:
        """Energy of the hull itself at compositions of shape (m, k); shape (m,), eV/atom."""
        x, _ = _checked(self.elements, fractions, np.zeros(len(np.atleast_2d(np.asarray(fractions, dtype=float)))))
        return x @ self.terminals + self._hull_formation_energy(x)

    def decomposition(self, fractions: ArrayLike) -> dict[int, float]:
        """Stable phases into which one composition, shape (k,), decomposes.

        Returns
        -------
        dict of int to float
            Index of the point the hull was made of, to its share of the atoms.
        """
        x, _ = _checked(self.elements, np.atleast_2d(np.asarray(fractions, dtype=float)), np.zeros(1))
        _, facet, weights = self._locate(x)
        corners = self.vertices[self.simplices[facet[0]]]
        return {int(corner): float(weight) for corner, weight in zip(corners, weights[0], strict=True) if weight > _INSIDE}

    def _hull_formation_energy(self, x: FloatArray) -> FloatArray:
        return self._locate(x)[0]

    def _locate(self, x: FloatArray) -> tuple[FloatArray, IntArray, FloatArray]:
        """Hull value (m,), facet (m,) and weights of its corners (m, k) at each composition."""
        inverse = np.linalg.inv(self.vertex_fractions[self.simplices])
        corner_energies = self.vertex_energies[self.simplices]
        n_facets, k = self.simplices.shape
        value = np.empty(len(x))
        facet = np.empty(len(x), dtype=np.int64)
        weights = np.empty((len(x), k))
        step = max(1, _BLOCK // (n_facets * k))
        for start in range(0, len(x), step):
            part = slice(start, start + step)
            barycentric = np.einsum("mk,skj->msj", x[part], inverse)
            lowest = barycentric.min(axis=2)
            if lowest.max(axis=1).min() < -_GAP:
                raise AnalysisError("the facets of the hull leave a gap; two phases have compositions too close to tell apart")
            energy = np.einsum("msj,sj->ms", barycentric, corner_energies)
            # A point on a shared edge is inside several facets by rounding; one in a gap by rounding is inside the nearest.
            inside = lowest >= np.minimum(lowest.max(axis=1) - _INSIDE, -_INSIDE)[:, None]
            energy[~inside] = np.inf
            best = energy.argmin(axis=1)
            rows = np.arange(len(best))
            value[part], facet[part], weights[part] = energy[rows, best], best, barycentric[rows, best]
        return value, facet, weights


def _checked(elements: tuple[str, ...], fractions: ArrayLike, energies: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Both arrays as floats, or an error that says which number is wrong."""
    x = np.asarray(fractions, dtype=float)
    e = np.asarray(energies, dtype=float)
    if x.ndim != 2 or x.shape[1] != len(elements) or e.shape != (len(x),):
        raise AnalysisError(
            f"fractions have shape {x.shape} and energies {e.shape}; "
            f"expected (n, {len(elements)}) for {'-'.join(elements)} and (n,)"
        )
    if not np.isfinite(e).all():
        raise AnalysisError(f"energy number {int(np.flatnonzero(~np.isfinite(e))[0])} is not finite; leave failed structures out")
    wrong = ~(np.abs(x.sum(axis=1) - 1.0) < 1e-8) | ~(x >= 0).all(axis=1)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise AnalysisError(f"fractions of point {row} are {x[row].tolist()}; they must be >= 0 and sum to 1")
    return x, e


def _terminals(elements: tuple[str, ...], x: FloatArray, energies: FloatArray) -> IntArray:
    """Index of the lowest point of each element; the first of equals."""
    found = []
    for column, symbol in enumerate(elements):
        pure = np.flatnonzero(x[:, column] > 1.0 - 1e-8)
        if not len(pure):
            raise AnalysisError(
                f"the hull has no phase of pure {symbol}; add at least one reference structure of the element {symbol}"
            )
        found.append(int(pure[energies[pure].argmin()]))
    return np.array(found, dtype=np.int64)


def _lowest_per_composition(x: FloatArray, formation: FloatArray, terminals: IntArray) -> IntArray:
    """Indices of the points that can be corners: terminals first, then the lowest compound of each composition."""
    compound = np.flatnonzero((formation < -FORMATION_TOLERANCE) & (x.max(axis=1) <= 1.0 - 1e-8))
    order = compound[np.lexsort((compound, formation[compound]))]
    _, first = np.unique(np.round(x[order], 10), axis=0, return_index=True)
    return np.concatenate([terminals, np.sort(order[first])])


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
