"""How near crystals are to others by their local environments: per element, each atom's nearest, averaged over the atoms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from coevo.analysis.environments.descriptors import multicomponent_descriptors_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from pymatgen.core import Structure

    FloatArray = NDArray[np.float64]

_ROWS = 512
"""Atoms whose distances to all others are in the memory together."""


def nearest_of(
    structures: Sequence[Structure],
    others: Sequence[Sequence[Structure]],
    elements: Sequence[str],
    k: int = 32,
    cutoff: float = 5.0,
    *,
    workers: int = 1,
) -> FloatArray:
    """Distance of each structure to the nearest one of each of several sets.

    The distance of a to b is the mean, over the atoms of a, of the distance of the atom's descriptor (multicomponent QUESTS) to
    the nearest one of an atom of b of its element; it is infinite if b lacks an element of a, and not symmetric: b may hold more
    than a does.

    Parameters
    ----------
    structures : sequence of Structure, length n
    others : sequence of sequences of Structure, length m
    elements : sequence of str
        All elements that occur.
    k : int
        Neighbours of the descriptor.
    cutoff : float
        Of the descriptor, Å.
    workers : int
        Processes; the distances do not depend on it.

    Returns
    -------
    ndarray, shape (n, m)
        1/Å; infinite to an empty set.
    """
    flat = [structure for group in others for structure in group]
    sizes = [len(group) for group in others]
    table = _distances(structures, flat, elements, k, cutoff, workers)
    ends = np.cumsum([0, *sizes])
    columns = [
        table[:, start:stop].min(axis=1) if stop > start else np.full(len(structures), np.inf)
        for start, stop in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True)
    ]
    return np.stack(columns, axis=1) if columns else np.empty((len(structures), 0))


def _distances(
    structures: Sequence[Structure], others: Sequence[Structure], elements: Sequence[str], k: int, cutoff: float, workers: int
) -> FloatArray:
    """Distances of each structure to each other, shape (n, m)."""
    of_one, rows_of_one, kinds_of_one = _environments(structures, elements, k, cutoff, workers)
    of_other, rows_of_other, kinds_of_other = _environments(others, elements, k, cutoff, workers)
    total = np.zeros((len(structures), len(others)))
    for element in sorted(set(kinds_of_one.tolist())):
        mine, theirs = kinds_of_one == element, kinds_of_other == element
        nearest = _nearest_by_owner(of_one[mine], of_other[theirs], rows_of_other[theirs], len(others))
        np.add.at(total, rows_of_one[mine], nearest)
    atoms = np.array([len(structure) for structure in structures], dtype=float)
    return total / atoms[:, None] if len(structures) else total


def _environments(
    structures: Sequence[Structure], elements: Sequence[str], k: int, cutoff: float, workers: int
) -> tuple[FloatArray, NDArray[np.int64], NDArray[np.str_]]:
    """Descriptors of all atoms, the structure that each belongs to, and its element."""
    atoms = [np.arange(len(structure)) for structure in structures]
    X = multicomponent_descriptors_of(structures, elements, k, cutoff, atoms=atoms, workers=workers)
    owner = np.repeat(np.arange(len(structures)), [len(structure) for structure in structures])
    return X, owner, np.array([site.specie.symbol for structure in structures for site in structure], dtype=str)


def _nearest_by_owner(rows: FloatArray, others: FloatArray, owner: NDArray[np.int64], owners: int) -> FloatArray:
    """Distance of each row to the nearest of each owner's rows; infinite to owners without one."""
    found = np.full((len(rows), owners), np.inf)
    if not len(others):
        return found
    present, starts = np.unique(owner, return_index=True)  # rows of one owner stand together
    squares = np.einsum("ij,ij->i", others, others)
    for start in range(0, len(rows), _ROWS):
        part = rows[start : start + _ROWS]
        distances = np.einsum("ij,ij->i", part, part)[:, None] - 2.0 * (part @ others.T) + squares
        nearest = np.minimum.reduceat(distances, starts, axis=1)
        found[start : start + len(part), present] = np.sqrt(np.maximum(nearest, 0.0))
    return found
