"""Crystals as plain arrays, which is all that the network and its worker processes need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from coevo.models.contracts import Failure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from coevo.models.contracts import FloatArray

MAX_ATOMIC_NUMBER = 94
"""CHGNet embeds the elements up to Pu."""


@dataclass(frozen=True)
class Crystal:
    """A periodic crystal.

    Attributes
    ----------
    numbers : ndarray of int64, shape (n_atoms,)
        Atomic numbers.
    positions : ndarray, shape (n_atoms, 3)
        Cartesian, Å; not wrapped into the cell.
    cell : ndarray, shape (3, 3)
        Rows are the cell vectors, Å.
    """

    numbers: NDArray[np.int64]
    positions: FloatArray
    cell: FloatArray

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def volume(self) -> float:
        """Volume of the cell, Å³."""
        return float(abs(np.linalg.det(self.cell)))


def crystal_from_structure(structure: Structure) -> Crystal | Failure:
    """Read the arrays of a structure, or say why this network cannot take it."""
    if len(structure) == 0:
        return Failure("empty", "the structure has no atoms")
    if not structure.is_ordered:
        return Failure("disordered", f"{structure.composition.formula} has partially occupied sites; order it first")
    numbers = np.array([site.specie.Z for site in structure], dtype=np.int64)
    if numbers.max() > MAX_ATOMIC_NUMBER:
        symbol = structure[int(numbers.argmax())].specie.symbol
        return Failure("unsupported_element", f"{symbol} (Z={numbers.max()}) is beyond the elements that CHGNet knows, Z <= 94")
    crystal = Crystal(
        numbers=numbers,
        positions=np.array(structure.cart_coords, dtype=np.float64),
        cell=np.array(structure.lattice.matrix, dtype=np.float64),
    )
    if not (np.isfinite(crystal.positions).all() and np.isfinite(crystal.cell).all()):
        return Failure("nan", "a coordinate or a cell vector is not a finite number")
    return crystal


def structure_with_geometry(template: Structure, positions: FloatArray, cell: FloatArray) -> Structure:
    """Return the template's species at other positions (Cartesian, Å) in another cell, wrapped into it."""
    from pymatgen.core import Lattice
    from pymatgen.core import Structure as PymatgenStructure

    return PymatgenStructure(Lattice(cell), template.species, positions, coords_are_cartesian=True, to_unit_cell=True)


def split_failures(structures: Sequence[Structure]) -> tuple[list[int], list[Crystal], dict[int, Failure]]:
    """Separate the structures that the network can take from those that it cannot.

    Returns
    -------
    places : list of int
        Index in ``structures`` of each crystal.
    crystals : list of Crystal
    failures : dict of int to Failure
        By index in ``structures``.
    """
    places: list[int] = []
    crystals: list[Crystal] = []
    failures: dict[int, Failure] = {}
    for index, structure in enumerate(structures):
        found = crystal_from_structure(structure)
        if isinstance(found, Failure):
            failures[index] = found
        else:
            places.append(index)
            crystals.append(found)
    return places, crystals, failures
