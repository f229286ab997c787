"""Lattices between those of two crystals, on which the distances between their atoms are taken, as StructureMatcher does it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core import Lattice

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]

_LOVASZ = 0.75
"""Of pymatgen's LLL reduction."""

_IMAGES = np.array(list(np.ndindex(3, 3, 3)), dtype=float) - 1.0


class MeanLattices:
    """For each of several cells of a first lattice that resemble the cell of a second: the lattice of mean lengths and angles.

    Parameters
    ----------
    lengths, angles : ndarray, shape (m, 3)
        Of the cells of the first lattice (scaled; degrees).
    other_lengths, other_angles : ndarray, shape (3,)
        Of the second cell.
    n : int
        Atoms in a cell.
    stol : float
        Site tolerance in units of (V/n)^(1/3).

    Attributes
    ----------
    tolerances : ndarray, shape (m, 3)
        Of sites, fractional.
    is_reduced : ndarray of bool, shape (m,)
        LLL reduction would leave the cell as it is.
    """

    def __init__(
        self,
        lengths: FloatArray,
        angles: FloatArray,
        other_lengths: FloatArray,
        other_angles: FloatArray,
        n: int,
        stol: float,
    ) -> None:
        self._lengths, self._angles = 0.5 * (lengths + other_lengths), 0.5 * (angles + other_angles)
        self._stol = stol
        volumes, reciprocal = _volume_and_reciprocal(self._lengths, self._angles)
        self._free_lengths = (volumes / n) ** (1 / 3)
        self.tolerances: FloatArray = reciprocal * (stol * self._free_lengths)[:, None]
        self._cells = _cells(self._lengths, self._angles)
        self.is_reduced: NDArray[np.bool_] = _is_lll_reduced(self._cells)
        self._by_pymatgen: dict[int, tuple[Lattice, FloatArray]] = {}

    def largest_distance(self, cell: int, first: FloatArray, second: FloatArray, numbers: IntArray) -> float:
        """Largest distance between paired sites after the best translation, in units of (V/n)^(1/3).

        Parameters
        ----------
        cell : int
        first, second : ndarray, shape (n, 3)
            Fractional coordinates in that cell.
        numbers : ndarray of int, shape (n,)
            Atomic numbers, of both.

        Returns
        -------
        float
            Infinite if some site has no partner within the tolerance.
        """
        from scipy.optimize import linear_sum_assignment

        mask = (numbers[:, None] != numbers[None, :]).astype(np.int64)
        vectors, squares = (self._near_vectors if self.is_reduced[cell] else self._vectors)(cell, first, second, mask)
        rows, columns = linear_sum_assignment(squares)
        if squares[rows, columns].max() >= _FAR:
            return float("inf")
        paired = vectors[rows, columns]
        paired = paired - paired.mean(axis=0)
        return float(np.sqrt((paired * paired).sum(axis=1).max())) / float(self._free_lengths[cell])

    def _near_vectors(self, cell: int, first: FloatArray, second: FloatArray, mask: IntArray) -> tuple[FloatArray, FloatArray]:
        """Shortest vectors between sites that are near (n, n, 3), and their squares, which are far for all others."""
        gap = first[None, :, :] - second[:, None, :]
        gap -= np.round(gap)
        near = (np.abs(gap) <= self.tolerances[cell]).all(axis=2) & (mask == 0)
        i, j = np.nonzero(near)
        images = (gap[i, j][:, None, :] + _IMAGES) @ self._cells[cell]
        lengths = np.einsum("pqc,pqc->pq", images, images)
        best = lengths.argmin(axis=1)
        pairs = np.arange(len(i))
        squares = np.full(mask.shape, 10 * _FAR)
        vectors = np.zeros((*mask.shape, 3))
        squares[i, j], vectors[i, j] = lengths[pairs, best], images[pairs, best]
        return vectors, squares

    def _vectors(self, cell: int, first: FloatArray, second: FloatArray, mask: IntArray) -> tuple[FloatArray, FloatArray]:
        """The same by pymatgen, which reduces the lattice and its tolerance first."""
        from pymatgen.core import Lattice
        from pymatgen.util.coord_cython import pbc_shortest_vectors

        if cell not in self._by_pymatgen:
            lattice = Lattice.from_parameters(*self._lengths[cell], *self._angles[cell])
            reciprocal = lattice.get_lll_reduced_lattice().reciprocal_lattice
            tolerance = np.array(reciprocal.abc) * self._stol * float(self._free_lengths[cell]) / np.pi
            self._by_pymatgen[cell] = lattice, tolerance
        lattice, tolerance = self._by_pymatgen[cell]
        vectors, squares = pbc_shortest_vectors(lattice, second, first, mask, return_d2=True, lll_frac_tol=tolerance)
        return vectors, squares


_FAR = 1e9


def _cells(lengths: FloatArray, angles: FloatArray) -> FloatArray:
    """Cell vectors as rows, (m, 3, 3), lower triangular."""
    cosines, sines = np.cos(np.deg2rad(angles)), np.sin(np.deg2rad(angles))
    a, b, c = lengths.T
    cells = np.zeros((len(lengths), 3, 3))
    cells[:, 0, 0] = a
    cells[:, 1, 0], cells[:, 1, 1] = b * cosines[:, 2], b * sines[:, 2]
    y = (cosines[:, 0] - cosines[:, 1] * cosines[:, 2]) / sines[:, 2]
    # Means of the parameters of two cells may belong to no cell; such a one is taken as flat.
    z = np.sqrt(np.maximum(1.0 - cosines[:, 1] ** 2 - y**2, 1e-12))
    cells[:, 2, 0], cells[:, 2, 1], cells[:, 2, 2] = c * cosines[:, 1], c * y, c * z
    return cells


def _is_lll_reduced(cells: FloatArray) -> NDArray[np.bool_]:
    """Whether the Gram-Schmidt coefficients are at most one half and the vectors in Lovász's order; of triangular cells."""
    mu10 = cells[:, 1, 0] / cells[:, 0, 0]
    mu20 = cells[:, 2, 0] / cells[:, 0, 0]
    mu21 = cells[:, 2, 1] / cells[:, 1, 1]
    squares = np.stack([cells[:, k, k] ** 2 for k in range(3)], axis=1)
    small = (np.abs(mu10) <= 0.5) & (np.abs(mu20) <= 0.5) & (np.abs(mu21) <= 0.5)
    ordered = (squares[:, 1] >= (_LOVASZ - mu10**2) * squares[:, 0]) & (squares[:, 2] >= (_LOVASZ - mu21**2) * squares[:, 1])
    return small & ordered


def _volume_and_reciprocal(lengths: FloatArray, angles: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Volumes (m,), and reciprocal lengths over pi (m, 3), i.e. 2/d of the lattice planes, of cells given by their parameters."""
    cosines, sines = np.cos(np.deg2rad(angles)), np.sin(np.deg2rad(angles))
    solid = 1.0 + 2.0 * cosines.prod(axis=1) - (cosines**2).sum(axis=1)
    edges = lengths.prod(axis=1)
    # Means of the parameters of two cells may belong to no cell; such a one is taken as flat.
    volumes = edges * np.sqrt(np.maximum(solid, 1e-12))
    return volumes, 2.0 * edges[:, None] * sines / (lengths * volumes[:, None])
