"""Local environments: the descriptors of QUESTS, species-blind and per species.

Definitions are those of QUESTS (Schwalbe-Koda et al., "Model-free estimation of completeness, uncertainties, and outliers in
atomistic machine learning using information theory", Nat. Commun. 2025), in numpy. The plain descriptor does not see species:
NaCl and LiF of one lattice constant are the same to it. :func:`multicomponent_descriptors_of` adds a block per
species.

Where more than ``k`` neighbours lie within the cutoff and the k-th shares its distance with the next (high-symmetry crystals),
the descriptor depends on which of them is taken, in QUESTS as here; they are taken in the order of (distance, index, image).
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from coevo.analysis.cell_reduction import Crystal
from coevo.analysis.neighbour_lists import neighbours
from coevo.processes import map_chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from pymatgen.core import Structure

    FloatArray = NDArray[np.float64]

_ROWS_AT_A_TIME = 32
"""Atoms whose (k, k) tables are in work together: a few of them stay in the processor's cache."""
_AT_A_TIME = 64
_FEW = 2_000
"""Structures below which starting processes takes longer than the work."""


def descriptors(structure: Structure, k: int = 32, cutoff: float = 5.0) -> FloatArray:
    """QUESTS descriptor of every atom.

    Parameters
    ----------
    structure : Structure
        Periodic in three dimensions.
    k : int
        Nearest neighbours.
    cutoff : float
        Å; neighbours beyond it have weight zero, and missing ones count as such.

    Returns
    -------
    ndarray, shape (n_atoms, 2 k - 1)
        k weighted inverse distances, then k - 1 means of sorted weighted inverse distances between neighbours; 1/Å.
    """
    return _of_chunk([Crystal.from_structure(structure)], k, cutoff)


def descriptors_of(
    structures: Sequence[Structure],
    k: int = 32,
    cutoff: float = 5.0,
    *,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> tuple[FloatArray, NDArray[np.int64]]:
    """Descriptors of many structures in one array; bit for bit those of :func:`descriptors`, at about 3/4 of the cost.

    Parameters
    ----------
    structures : sequence of Structure
    k, cutoff
        As in :func:`descriptors`.
    workers : int
        Processes; the rows do not depend on it.
    progress : callable, optional
        Called with the number of structures that were finished since the last call.

    Returns
    -------
    X : ndarray, shape (n_atoms of all structures, 2 k - 1)
        1/Å, in the order of the structures and their sites.
    offsets : ndarray of int, shape (n_structures + 1,)
        Rows ``offsets[i]:offsets[i + 1]`` belong to structure ``i``.
    """
    offsets = np.concatenate([[0], np.cumsum([len(structure) for structure in structures], dtype=np.int64)])
    X = np.empty((int(offsets[-1]), 2 * k - 1))
    chunks = (
        [Crystal.from_structure(structure) for structure in structures[start : start + _AT_A_TIME]]
        for start in range(0, len(structures), _AT_A_TIME)
    )
    few = len(structures) < _FEW
    start = 0
    for rows in map_chunks(partial(_of_chunk, k=k, cutoff=cutoff), chunks, workers=1 if few else workers, progress=progress):
        X[start : start + len(rows)] = rows
        start += len(rows)
    return X, offsets


def rows_by_structure(X: FloatArray, offsets: NDArray[np.int64]) -> list[FloatArray]:
    """Views of the rows of each structure, as :func:`descriptors_of` returns them together."""
    return [X[start:stop] for start, stop in pairwise(offsets.tolist())]


def multicomponent_descriptors_of(
    structures: Sequence[Structure],
    elements: Sequence[str],
    k: int = 32,
    cutoff: float = 5.0,
    *,
    atoms: Sequence[NDArray[np.int64]],
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> FloatArray:
    """The descriptor with, for each element, a second one within the sublattice of that element (zero for other centres).

    Parameters
    ----------
    structures : sequence of Structure
    elements : sequence of str
    k : int
        Neighbours.
    cutoff : float
        Å.
    atoms : sequence of ndarray of int
        For each structure the sites whose rows are wanted.
    workers : int
        Processes; the rows do not depend on it.
    progress : callable, optional
        Called with the number of structures that were finished since the last call.

    Returns
    -------
    ndarray, shape (sum of the numbers of sites, (1 + n_elements) (2 k - 1))
        1/Å. The blocks follow the sorted elements; the distances between rows, hence entropies, equal QUESTS's
        ``get_descriptors_multicomponent``. One element: the plain descriptor, as there.
    """
    chunks = (
        [
            (Crystal.from_structure(structure), sites)
            for structure, sites in zip(structures[start : start + _AT_A_TIME], atoms[start : start + _AT_A_TIME], strict=True)
        ]
        for start in range(0, len(structures), _AT_A_TIME)
    )
    of_chunk = partial(_multicomponent, elements=tuple(elements), k=k, cutoff=cutoff)
    parts = list(map_chunks(of_chunk, chunks, workers=1 if len(structures) < _FEW else workers, progress=progress))
    return np.concatenate(parts) if parts else np.empty((0, (2 * k - 1) * (1 + len(elements) if len(elements) > 1 else 1)))


def _multicomponent(
    wanted: Sequence[tuple[Crystal, NDArray[np.int64]]], elements: tuple[str, ...], k: int, cutoff: float
) -> FloatArray:
    """Rows of chosen atoms of a few crystals: the plain descriptor, then that within each element's sublattice."""
    from ase.data import atomic_numbers

    crystals = [crystal for crystal, _ in wanted]
    starts = np.concatenate([[0], np.cumsum([len(crystal.numbers) for crystal in crystals], dtype=np.int64)])
    rows = np.concatenate([start + sites for start, (_, sites) in zip(starts.tolist(), wanted, strict=False)])
    plain = _of_chunk(crystals, k, cutoff)
    if len(elements) == 1:
        return plain[rows]
    numbers = np.concatenate([crystal.numbers for crystal in crystals])
    blocks = [plain[rows]]
    for element in sorted(elements):
        number = atomic_numbers[element]
        block = np.zeros_like(plain)
        mine = numbers == number
        if mine.any():
            block[mine] = _of_chunk([_sublattice(c, number) for c in crystals if (c.numbers == number).any()], k, cutoff)
        blocks.append(block[rows])
    return np.concatenate(blocks, axis=1)


def _sublattice(crystal: Crystal, number: int) -> Crystal:
    mine = crystal.numbers == number
    return Crystal(crystal.cell, crystal.fractional[mine], crystal.numbers[mine])


def _of_chunk(crystals: Sequence[Crystal], k: int, cutoff: float) -> FloatArray:
    """Descriptors of a few crystals together: small arrays cost more to handle than to compute with."""
    vectors, distances = _nearest(crystals, k, cutoff)
    return _from_neighbours(vectors, distances, cutoff)


def _nearest(crystals: Sequence[Crystal], k: int, cutoff: float) -> tuple[FloatArray, FloatArray]:
    """Vectors (n, k, 3) to the k nearest neighbours within the cutoff, and distances (n, k); missing ones at the cutoff."""
    firsts, seconds, images, lengths, arrows = [], [], [], [], []
    n = 0
    for crystal in crystals:
        first, second, image, distance = neighbours(crystal, cutoff)
        cartesian = crystal.fractional @ crystal.cell
        arrows.append(cartesian[second] + image @ crystal.cell - cartesian[first])
        firsts.append(first + n)
        seconds.append(second)
        images.append(image)
        lengths.append(distance)
        n += len(crystal.numbers)
    vectors = np.zeros((n, k, 3))
    distances = np.full((n, k), cutoff)
    first, distance = np.concatenate(firsts), np.concatenate(lengths)
    if len(first) == 0:
        return vectors, distances
    order = np.lexsort((_order_of_equals(np.concatenate(seconds), np.concatenate(images)), distance, first))
    first = first[order]
    rank = np.arange(len(first)) - np.searchsorted(first, first)
    near = rank < k
    first, rank, order = first[near], rank[near], order[near]
    vectors[first, rank] = np.concatenate(arrows)[order]
    distances[first, rank] = distance[order]
    return vectors, distances


def _order_of_equals(second: NDArray[np.int64], image: NDArray[np.int64]) -> NDArray[np.int64]:
    """One integer that orders as (index, image) do, which breaks ties: one sort instead of four."""
    shifted = (image - image.min(axis=0)).astype(np.int64)
    spans = shifted.max(axis=0) + 1
    return ((second * spans[0] + shifted[:, 0]) * spans[1] + shifted[:, 1]) * spans[2] + shifted[:, 2]


def _from_neighbours(vectors: FloatArray, distances: FloatArray, cutoff: float) -> FloatArray:
    """Both parts of the descriptor; the small terms in the denominators are those of QUESTS."""
    weights = (1.0 - (np.minimum(distances, cutoff) / cutoff) ** 2) ** 2
    n, k = distances.shape
    X = np.empty((n, 2 * k - 1))
    np.divide(weights, distances + 1e-16, out=X[:, :k])
    diagonal = np.arange(k)
    for start in range(0, n, _ROWS_AT_A_TIME):
        part = slice(start, start + _ROWS_AT_A_TIME)
        pairs = np.sqrt(weights[part, :, None] * weights[part, None, :])
        separation = _separations(vectors[part])
        separation += 1e-15
        pairs /= separation
        pairs[:, diagonal, diagonal] = 0.0
        pairs.sort(axis=2)
        X[part, k:] = pairs[:, :, :0:-1].mean(axis=1)
    return X


def _separations(vectors: FloatArray) -> FloatArray:
    """Distances (n, k, k) between the ends of vectors (n, k, 3).

    Component by component from differences: matrix products would be a little faster and lose digits where two ends are close.
    """
    squares = np.zeros((*vectors.shape[:2], vectors.shape[1]))
    for axis in range(3):
        component = vectors[:, :, axis]
        difference = component[:, :, None] - component[:, None, :]
        difference *= difference
        squares += difference
    return np.sqrt(squares, out=squares)
