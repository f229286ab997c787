"""What becomes of the framework while mobile atoms move: intact, molten or decomposed, by bonds and cages, and nothing by name.

The framework is all atoms that are not mobile. Its bonds are those of the one bond rule (:mod:`coevo.analysis.motifs.bonds`)
among non-metals, in the relaxed crystal. Its units are the finite pieces of that graph (PS4, P2S7), and single atoms otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from coevo.analysis.cell_reduction import Crystal
from coevo.analysis.motifs.bond_graphs import pieces_of
from coevo.analysis.motifs.bonds import Bonds, bonds_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]

Status = Literal["intact", "molten", "decomposed", "no framework"]
MOST_BONDS = 0.05
"""Share of the bonds that may be broken or new (by the rule) in a framework that is called intact."""
MOST_UNITS = 0.10
"""Share of the units that may have left their cages."""
CAGE = 0.5
"""Radius of a cage, in distances to the nearest other unit."""
STRETCH = 1.25
"""Times its length at first: a bond that is longer is broken (P-S of 2.05 Å at 2.56)."""
WINDOW = 0.25
"""Part of the time over which positions are averaged, so that vibrations do not count."""


@dataclass(frozen=True)
class Framework:
    """What became of a framework.

    Attributes
    ----------
    status : {"intact", "molten", "decomposed", "no framework"}
    bonds : int
        In the relaxed crystal.
    broken, formed : int
        Bonds of the relaxed crystal that are a quarter longer at the end, and bonds by the rule there that were none.
    units : int
    displaced : int
        Units that left their cages.
    displacement : float
        Root mean square of the units, Å.
    cage : float
        Mean radius, Å.
    """

    status: Status
    bonds: int = 0
    broken: int = 0
    formed: int = 0
    units: int = 0
    displaced: int = 0
    displacement: float = 0.0
    cage: float = 0.0


def judge_framework(
    numbers: IntArray, cell: FloatArray, relaxed: FloatArray, frames: FloatArray, mobile: IntArray
) -> tuple[Framework, FloatArray]:
    """Judge the framework of a trajectory.

    Parameters
    ----------
    numbers : ndarray of int, shape (n_atoms,)
        Atomic numbers.
    cell : ndarray, shape (3, 3)
        Å.
    relaxed : ndarray, shape (n_atoms, 3)
        Positions before it moved, Å.
    frames : ndarray, shape (n_frames, n_atoms, 3)
        Unwrapped positions that began there, Å.
    mobile : ndarray of bool, shape (n_atoms,)

    Returns
    -------
    framework : Framework
    settled : ndarray, shape (n_frames, n_atoms, 3)
        The frames against the centre of mass of the framework (of all atoms if there is none), Å.
    """
    from ase.data import atomic_masses

    rigid = ~mobile if (~mobile).any() else np.ones(len(numbers), dtype=bool)
    weights = atomic_masses[numbers[rigid]]
    weights = weights / weights.sum()
    settled = frames - np.einsum("fak,a->fk", frames[:, rigid], weights)[:, None]
    sites = np.flatnonzero(~mobile)
    if not len(sites):
        return Framework("no framework"), settled
    start = relaxed - (weights[:, None] * relaxed[rigid]).sum(axis=0)
    end = settled[-max(1, round(WINDOW * len(settled))) :]
    bonds = _bonds(start[sites], cell, numbers[sites])
    broken = _changed(bonds, end[:, sites], cell)
    last = end.mean(axis=0)[sites]
    formed = _new(bonds, _bonds(last, cell, numbers[sites]), end[:, sites], cell)
    number = len(bonds.first) // 2
    centres, moved = _units(numbers[sites], bonds, start[sites], last, cell)
    cages = CAGE * _nearest(centres, cell)
    length = np.linalg.norm(moved, axis=1)
    displaced = int((length > cages).sum())
    status: Status = "intact"
    if displaced > MOST_UNITS * len(length):
        status = "molten"
    if broken + formed > MOST_BONDS * max(number, 1):
        status = "decomposed"
    found = Framework(
        status, number, broken, formed, len(length), displaced, float(np.sqrt((length**2).mean())), float(cages.mean())
    )
    return found, settled


def _bonds(positions: FloatArray, cell: FloatArray, numbers: IntArray) -> Bonds:
    """Bonds of unwrapped positions: the search wants wrapped ones, so images are shifted back."""
    fractional = positions @ np.linalg.inv(cell)
    cells = np.floor(fractional).astype(np.int64)
    found = bonds_of(Crystal(cell, fractional - cells, numbers))
    return found._replace(image=found.image + cells[found.first] - cells[found.second])


def _lengths(bonds: Bonds, frames: FloatArray, cell: FloatArray) -> FloatArray:
    """Of each bond in the middle (median) of frames, Å."""
    shift = bonds.image @ cell
    found: FloatArray = np.median(np.linalg.norm(frames[:, bonds.second] - frames[:, bonds.first] + shift, axis=2), axis=0)
    return found


def _changed(bonds: Bonds, frames: FloatArray, cell: FloatArray) -> int:
    """Bonds that are broken: in the median a quarter longer than they were."""
    if not len(bonds.first):
        return 0
    return int((_lengths(bonds, frames, cell) > STRETCH * bonds.distance).sum()) // 2


def _new(before: Bonds, after: Bonds, frames: FloatArray, cell: FloatArray) -> int:
    """Bonds of the mean positions that were none; a unit that turns makes no new ones where the medians say so too."""
    if not len(after.first):
        return 0
    # images are those of unwrapped positions, before and after alike
    known = {(int(i), int(j), *map(int, s)) for i, j, s in zip(before.first, before.second, before.image, strict=True)}
    lengths = _lengths(after, frames, cell)
    near = np.abs(lengths - after.distance) < 0.2  # Å; a mean of atoms that turn lies where none of them is
    return (
        sum(
            bool(good) and (int(i), int(j), *map(int, s)) not in known
            for i, j, s, good in zip(after.first, after.second, after.image, near, strict=True)
        )
        // 2
    )


def _units(
    numbers: IntArray, bonds: Bonds, start: FloatArray, end: FloatArray, cell: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Centres of the units in the relaxed crystal and how far they went, Å, each of shape (n_units, 3)."""
    centres, moved = [], []
    taken = np.zeros(len(numbers), dtype=bool)
    for piece in pieces_of(numbers.tolist(), bonds):
        atoms = np.array(piece.atoms)
        if piece.dimension == 0:
            taken[atoms] = True
            centres.append((start[atoms] + np.array(piece.cells) @ cell).mean(axis=0))
            moved.append((end[atoms] - start[atoms]).mean(axis=0))
    for atom in np.flatnonzero(~taken):
        centres.append(start[atom])
        moved.append(end[atom] - start[atom])
    return np.array(centres), np.array(moved)


def _nearest(centres: FloatArray, cell: FloatArray) -> FloatArray:
    """Distance of each unit to the nearest other one (or image of itself), Å."""
    from pymatgen.core import Lattice

    lattice = Lattice(cell)
    fractional = centres @ np.linalg.inv(cell)
    distances = lattice.get_all_distances(fractional, fractional)
    np.fill_diagonal(distances, min(lattice.get_niggli_reduced_lattice().abc))
    found: FloatArray = distances.min(axis=1)
    return found
