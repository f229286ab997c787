"""Fingerprints of crystals by average minimum distances, resolved by elements: crystals that match have near ones.

The average minimum distance AMD_k of a periodic set is the mean over its atoms of the distance to the k-th nearest neighbour
(Widdowson, Mosca, Pulido, Cooper and Kurlin, MATCH Commun. Math. Comput. Chem. 87, 529 (2022)); it is the same for every cell and
setting of a crystal and changes continuously with the atoms. Here each ordered pair of elements (A, B) has a row of its own: the
mean over atoms A of the distance to the k-th nearest atom B. Crystals of one formula whose atoms only changed places are told
apart by it. Crystals are scaled to unit volume per atom before, as StructureMatcher does it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coevo.analysis.cell_reduction import Crystal

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]

NEIGHBOURS = 12
"""Distances of each pair of elements."""


def average_minimum_distances(crystal: Crystal, neighbours: int = NEIGHBOURS) -> FloatArray:
    """Average minimum distances of every ordered pair of elements.

    Parameters
    ----------
    crystal : Crystal
        Any cell; a reduced one is quickest.
    neighbours : int
        k runs from 1 to this.

    Returns
    -------
    ndarray, shape (s, s, neighbours)
        s elements in the order of their atomic numbers: [A, B, k - 1] is the mean over atoms A of the distance to the k-th
        nearest atom B, in units of (V/n)^(1/3).
    """
    n = len(crystal.numbers)
    cell = crystal.cell * (n / abs(float(np.linalg.det(crystal.cell)))) ** (1 / 3)
    order = np.argsort(crystal.numbers, kind="stable")
    numbers = crystal.numbers[order]
    cartesian = ((crystal.fractional - np.floor(crystal.fractional)) @ cell)[order]
    # Atoms of one element follow each other.
    starts = np.flatnonzero(np.concatenate([[True], numbers[1:] != numbers[:-1]]))
    counts = np.diff(np.append(starts, n))
    # Within this radius an element has as many atoms as are asked for, were its density even; where it is not, the radius grows.
    radius = float((1.6 * (neighbours + 1) * n / counts.min() / _SPHERE) ** (1 / 3))
    nearest = np.empty((n, len(starts), neighbours + 1))
    for start in range(0, n, _CENTRES):
        centres = slice(start, start + _CENTRES)
        while (part := _nearest(cartesian, centres, starts, counts, cell, radius, neighbours + 1)) is None:
            radius *= 1.25
        nearest[centres] = part
    means = np.add.reduceat(nearest, starts, axis=0) / counts[:, None, None]
    found = means[:, :, :-1].copy()
    own = np.arange(len(starts))
    # An atom is not its own neighbour; its images are.
    found[own, own] = means[own, own, 1:]
    return found


_SPHERE = 4.0 * np.pi / 3.0
_CENTRES = 64


def _nearest(
    cartesian: FloatArray, centres: slice, starts: IntArray, counts: IntArray, cell: FloatArray, radius: float, k: int
) -> FloatArray | None:
    """Sorted distances from the centres to the k nearest atoms of each element, None if the radius does not hold them all."""
    between = (cartesian[None, :, :] - cartesian[centres, None, :]).reshape(-1, 3)
    squares_between = np.einsum("ic,ic->i", between, between)
    inverse = np.linalg.inv(cell)
    heights = 1.0 / np.sqrt(np.einsum("ij,ij->j", inverse, inverse))
    most = np.floor(radius / heights).astype(int) + 1
    images = (np.indices(2 * most + 1).reshape(3, -1).T - most) @ cell
    squares_images = np.einsum("pc,pc->p", images, images)
    near = squares_images <= (radius + float(np.sqrt(squares_between.max()))) ** 2
    squares = between @ (2.0 * images[near].T)
    squares += squares_between[:, None]
    squares += squares_images[near]
    squares = squares.reshape(-1, len(cartesian), squares.shape[1])
    found = np.empty((len(squares), len(starts), k))
    for column, (start, count) in enumerate(zip(starts, counts, strict=True)):
        block = squares[:, start : start + count].reshape(len(squares), -1)
        if block.shape[1] < k:
            return None
        nearest = np.partition(block, k - 1, axis=1)[:, :k]
        if nearest.max() > radius * radius:
            return None
        nearest.sort(axis=1)
        found[:, column] = np.sqrt(np.maximum(nearest, 0.0))
    return found
