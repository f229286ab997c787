"""Lattices between those of two crystals, on which the distances between their atoms are taken, as StructureMatcher does it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

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
        self._reduced: dict[int, tuple[FloatArray, FloatArray]] = {}

    def first_within(self, cells: IntArray, first: FloatArray, second: FloatArray, numbers: IntArray) -> int | None:
        """Find the first of several trials whose sites all lie within the tolerance after the best translation.

        Sites are paired so that the squares of their distances have the least sum, each with one of its kind that is within the
        tolerance in fractional coordinates of the LLL-reduced lattice.

        Parameters
        ----------
        cells : ndarray of int, shape (t,)
            Cell of each trial.
        first, second : ndarray, shape (t, n, 3)
            Fractional coordinates in that cell.
        numbers : ndarray of int, shape (n,)
            Atomic numbers, of both.

        Returns
        -------
        int or None
            Position among the trials.
        """
        from scipy.optimize import linear_sum_assignment

        bases, tolerances = (np.stack(parts) for parts in zip(*(self._lll(int(cell)) for cell in cells), strict=True))
        if not self.is_reduced[cells].all():
            change = self._cells[cells] @ np.linalg.inv(bases)
            first, second = first @ change, second @ change
        gap = first[:, None, :, :] - second[:, :, None, :]
        gap -= np.round(gap)
        near = (np.abs(gap) <= tolerances[:, None, None, :]).all(axis=3) & (numbers[:, None] == numbers[None, :])
        possible = np.flatnonzero(near.any(axis=2).all(axis=1) & near.any(axis=1).all(axis=1))
        if not len(possible):
            return None
        near, gap, owner = near[possible], gap[possible], cells[possible]
        trial, i, j = np.nonzero(near)
        squares = np.full(near.shape, _FAR)
        gap[trial, i, j], squares[trial, i, j] = _shortest(gap[trial, i, j], bases[possible][trial])
        partners = np.stack([linear_sum_assignment(square)[1] for square in squares])
        sites = np.arange(len(numbers))
        chosen = np.arange(len(possible))[:, None], sites[None, :], partners
        paired = squares[chosen].max(axis=1) < _FAR
        within = paired & (self._spread(gap[chosen], owner) < self._stol)
        return int(possible[within.argmax()]) if within.any() else None

    def _spread(self, vectors: FloatArray, cells: IntArray) -> FloatArray:
        """Largest distance of vectors (t, n, 3) from their mean, in units of (V/n)^(1/3)."""
        apart = vectors - vectors.mean(axis=1, keepdims=True)
        return np.sqrt((apart * apart).sum(axis=2).max(axis=1)) / self._free_lengths[cells]

    def _lll(self, cell: int) -> tuple[FloatArray, FloatArray]:
        """LLL-reduced basis of a cell's lattice and the site tolerance in it, fractional."""
        if self.is_reduced[cell]:
            return self._cells[cell], self.tolerances[cell]
        if cell not in self._reduced:
            from pymatgen.core import Lattice

            reduced = Lattice(self._cells[cell]).get_lll_reduced_lattice()
            tolerance = np.array(reduced.reciprocal_lattice.abc) * self._stol * float(self._free_lengths[cell]) / np.pi
            self._reduced[cell] = np.array(reduced.matrix), tolerance
        return self._reduced[cell]


def _shortest(gap: FloatArray, basis: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Shortest vectors (p, 3) among the images of fractional differences (p, 3) in bases (p, 3, 3), and their squares."""
    images = (gap[:, None, :] + _IMAGES) @ basis
    squares = np.einsum("pqc,pqc->pq", images, images)
    best = squares.argmin(axis=1)
    rows = np.arange(len(gap))
    return images[rows, best], squares[rows, best]


_FAR = 1e20
"""Square of a distance that is out of the question."""


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
