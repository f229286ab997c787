"""Symmetry of a small primitive cell: its operations in Cartesian axes, and which atom each brings where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.errors import AnalysisError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core import Structure

    FloatArray = NDArray[np.float64]

SYMPREC = 0.01
"""Å; pymatgen's default."""


@dataclass(frozen=True)
class Operation:
    """One operation of the space group.

    Attributes
    ----------
    rotation : ndarray, shape (3, 3)
        In Cartesian axes.
    image : tuple of int, length n
        Atom that each atom is brought to, up to a lattice vector.
    """

    rotation: FloatArray
    image: tuple[int, ...]


def primitive_cell(structure: Structure) -> Structure:
    """Return the primitive cell by spglib, in its standard setting; the structure itself if spglib finds no smaller one.

    Raises
    ------
    AnalysisError
        If spglib finds no symmetry, not even the identity: two atoms are nearly on each other, say.
    """
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    try:
        found = SpacegroupAnalyzer(_bare(structure), symprec=SYMPREC).find_primitive()
    except ValueError as error:  # SymmetryUndeterminedError
        raise AnalysisError(f"no symmetry of {structure.formula} was found (spglib, {SYMPREC} Å): {error}") from None
    return _bare(structure) if found is None else _bare(found)


def operations(cell: Structure) -> list[Operation]:
    """Return the operations of the space group of a cell, the identity among them.

    Raises
    ------
    AnalysisError
        If spglib finds no symmetry, or an operation brings an atom to no other.
    """
    import spglib

    lattice = cell.lattice.matrix
    described: Any = (lattice, cell.frac_coords, [site.specie.Z for site in cell])  # arrays, where spglib's types say sequences
    found: Any = spglib.get_symmetry(described, symprec=SYMPREC)
    if found is None:
        raise AnalysisError(f"no symmetry of {cell.formula} was found (spglib, {SYMPREC} Å)")
    return [
        Operation(lattice.T @ turned @ np.linalg.inv(lattice.T), _image(cell, turned, shift))
        for turned, shift in zip(found["rotations"], found["translations"], strict=True)
    ]


def _image(cell: Structure, turned: Any, shift: Any) -> tuple[int, ...]:
    image = []
    for site in cell:
        moved = turned @ site.frac_coords + shift
        difference = cell.frac_coords - moved
        distances = np.linalg.norm((difference - np.round(difference)) @ cell.lattice.matrix, axis=1)
        distances[[other.specie != site.specie for other in cell]] = np.inf
        if distances.min() > 10 * SYMPREC:
            raise AnalysisError(f"an operation of the space group of {cell.formula} brings {site.specie} to no other atom")
        image.append(int(distances.argmin()))
    return tuple(image)


def inequivalent(found: list[Operation], count: int) -> list[int]:
    """Return the first atom of each set of equivalent ones, of so many atoms."""
    return sorted({min(operation.image[atom] for operation in found) for atom in range(count)})


def _bare(structure: Structure) -> Structure:
    """Return the structure without charges, magnetic moments and other properties, which would be seen as differences."""
    from pymatgen.core import Structure

    return Structure(structure.lattice, [site.specie.symbol for site in structure], structure.frac_coords, to_unit_cell=True)
