"""Neighbour lists of many crystals that move: built with a skin, so that they are rebuilt rarely, and exact at every step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from coevo.models.contracts import Failure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from coevo.models.contracts import FloatArray

MIN_VOLUME_PER_ATOM = 2.5
"""Å³; a denser crystal has collapsed (diamond, the densest at ambient pressure, has 5.7)."""
MIN_DISTANCE = 0.4
"""Å; atoms closer than this have collapsed (the shortest bond there is, H–H, has 0.74)."""
MAX_IMAGES = 4_000
"""Periodic images within reach; more means a cell that is flat or needle-like beyond use."""


@dataclass(frozen=True)
class PairList:
    """Each unordered pair of atoms (periodic images included) within a reach of one geometry, once.

    Attributes
    ----------
    first, second : ndarray of int64, shape (n_pairs,)
        Atoms; the bond goes from ``first`` to ``second`` in the cell ``shift``.
    shift : ndarray, shape (n_pairs, 3)
        Cell of the second atom, in cell vectors.
    positions, cell : ndarray
        Geometry the list was built for, Å.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    shift: FloatArray
    positions: FloatArray
    cell: FloatArray


def pair_list(positions: FloatArray, cell: FloatArray, reach: float) -> PairList | Failure:
    """Find all pairs within ``reach`` (Å) with pymatgen's neighbour search."""
    from pymatgen.optimization.neighbors import find_points_in_spheres

    n_atoms = len(positions)
    volume = abs(float(np.linalg.det(cell)))
    if volume < MIN_VOLUME_PER_ATOM * n_atoms:
        return Failure("collapsed", f"volume {volume / n_atoms:.3g} Å³/atom, below {MIN_VOLUME_PER_ATOM}")
    spacings = volume / np.linalg.norm(np.cross(cell[[1, 2, 0]], cell[[2, 0, 1]]), axis=1)
    images = float(np.prod(2 * np.ceil(reach / spacings) + 1))
    if images > MAX_IMAGES:
        return Failure("collapsed", f"lattice planes {spacings.min():.3g} Å apart: the cell is flat")
    center, neighbour, image, distance = find_points_in_spheres(
        np.ascontiguousarray(positions),
        np.ascontiguousarray(positions),
        r=reach,
        pbc=np.ones(3, dtype=np.int64),
        lattice=np.ascontiguousarray(cell),
        tol=1e-8,
    )
    image = image.astype(np.int64)
    # One of the two directions of each pair: first < second, or, for an atom and its own image, the image that is
    # positive in lexicographic order (which drops the atom itself, whose image is zero).
    sign = np.sign(image[:, 0]) * 9 + np.sign(image[:, 1]) * 3 + np.sign(image[:, 2])
    keep = (center < neighbour) | ((center == neighbour) & (sign > 0))
    center, neighbour, image, distance = center[keep], neighbour[keep], image[keep], distance[keep]
    # The search's order depends on its buckets; a fixed order makes sums reproducible.
    order = np.lexsort((image[:, 2], image[:, 1], image[:, 0], neighbour, center))
    return PairList(
        first=center[order].astype(np.int64),
        second=neighbour[order].astype(np.int64),
        shift=image[order].astype(np.float64),
        positions=positions.copy(),
        cell=cell.copy(),
    )


def covers(pairs: PairList, positions: FloatArray, cell: FloatArray, cutoff: float, skin: float) -> bool:
    """Whether a list built at reach ``cutoff + skin`` still holds every pair within ``cutoff`` of the new geometry.

    A pair vector r of the new geometry was F⁻¹(r − u_j + u_i) in the old one, with F the deformation of the cell and u the
    displacements beyond it; so ‖F⁻¹‖₂ (cutoff + 2 max|u|) <= cutoff + skin is enough.
    """
    deformation = np.linalg.solve(pairs.cell, cell)  # rows: r_new = r_old @ deformation
    moved = positions - pairs.positions @ deformation
    # A rigid translation changes no pair; subtracting it loses nothing.
    moved -= moved.mean(axis=0)
    farthest = float(np.sqrt((moved**2).sum(axis=1).max()))
    stretch = float(np.linalg.norm(np.linalg.inv(deformation), 2))
    return stretch * (cutoff + 2.0 * farthest) <= cutoff + skin


class JoinedPairs:
    """The pair lists of the crystals of a batch, joined: atoms are numbered through.

    Parameters
    ----------
    counts : ndarray of int64, shape (n_crystals,)
        Atoms of each crystal.
    pairs : sequence of PairList
        Of each crystal.

    Attributes
    ----------
    owner : ndarray of int64, shape (n_atoms,)
        Crystal of each atom.
    pair_owner : ndarray of int64, shape (n_pairs,)
        Crystal of each pair.
    first, second : ndarray of int64, shape (n_pairs,)
    shift : ndarray, shape (n_pairs, 3)
    """

    def __init__(self, counts: NDArray[np.int64], pairs: Sequence[PairList]) -> None:
        self.counts = counts
        self.owner = np.repeat(np.arange(len(counts)), counts)
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        lengths = np.array([len(p.first) for p in pairs], dtype=np.int64)
        self.pair_owner = np.repeat(np.arange(len(counts)), lengths)
        offset = np.repeat(starts, lengths)
        self.first = np.concatenate([p.first for p in pairs]) + offset
        self.second = np.concatenate([p.second for p in pairs]) + offset
        self.shift = np.concatenate([p.shift for p in pairs])

    def vectors(self, positions: FloatArray, cells: FloatArray) -> FloatArray:
        """From the first to the second atom of each pair, Å, for positions (n_atoms, 3) and cells (n_crystals, 3, 3)."""
        vectors = positions[self.second] - positions[self.first]
        vectors += np.matmul(self.shift[:, None, :], cells[self.pair_owner])[:, 0, :]
        return vectors

    def _shifts(self, cells: FloatArray) -> FloatArray:
        """Of each pair, Å: crystal by crystal, which is faster than a stack of small products and rounds in another way."""
        parts = np.split(self.shift, np.searchsorted(self.pair_owner, np.arange(1, len(cells))))
        return np.concatenate([part @ cell for part, cell in zip(parts, cells, strict=True)])

    def surroundings(self, positions: FloatArray, cells: FloatArray, cutoff: float) -> tuple[NDArray[np.int64], FloatArray]:
        """Atoms without a neighbour within the cutoff, and the shortest distance (Å; infinite without pairs), of each crystal."""
        square = ((positions[self.second] - positions[self.first] + self._shifts(cells)) ** 2).sum(axis=1)
        near = square < cutoff**2
        n_atoms, n = len(self.owner), len(self.counts)
        alone = np.bincount(self.first[near], minlength=n_atoms) + np.bincount(self.second[near], minlength=n_atoms) == 0
        shortest = np.full(n, np.inf)
        np.minimum.at(shortest, self.pair_owner[near], square[near])
        return np.bincount(self.owner[alone], minlength=n), np.sqrt(shortest)
