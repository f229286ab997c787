"""Crystals as plain arrays, which is all that force fields and their worker processes need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from coevo.models.contracts import Failure

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from coevo.models.contracts import FloatArray


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


def crystal_from_structure(structure: Structure, known: Collection[int], family: str) -> Crystal | Failure:
    """Read the arrays of a structure, or say why a force field cannot take it.

    Parameters
    ----------
    structure : Structure
    known : collection of int
        Atomic numbers that the force field knows.
    family : str
        For messages.
    """
    if len(structure) == 0:
        return Failure("empty", "the structure has no atoms")
    if not structure.is_ordered:
        return Failure("disordered", f"{structure.composition.formula} has partially occupied sites; order it first")
    numbers = np.array([site.specie.Z for site in structure], dtype=np.int64)
    for place, number in enumerate(numbers.tolist()):
        if number not in known:
            symbol = structure[place].specie.symbol
            return Failure("unsupported_element", f"{symbol} (Z={number}) is none of the elements that {family} knows")
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
