"""The frames that say how stiff a crystal is: its primitive cell at five volumes, and with one atom displaced.

They follow from the crystal alone, so they are the same each time and need a label once. Symmetry says how few displacements
suffice: of equivalent atoms one, of equivalent directions one, and a displacement against another only where no operation brings
the one to the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from coevo.analysis.stiffness.symmetry import inequivalent, operations, primitive_cell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from coevo.analysis.stiffness.symmetry import Operation

    FloatArray = NDArray[np.float64]

STRAINS = (-0.02, -0.01, 0.0, 0.01, 0.02)
"""Linear strains of all three directions."""
DISPLACEMENT = 0.06
"""Å; forces of first principles are linear in it, and those of learned force fields are rough on a smaller scale: of CHGNet's
frequencies of Li2S, T2g is 236 cm⁻¹ at 0.01 Å, 257 to 264 from 0.02 to 0.05 and 270 at 0.08."""


@dataclass(frozen=True)
class Displacement:
    """One atom displaced, with all its periodic images.

    Attributes
    ----------
    atom : int
    vector : tuple of float, length 3
        Å, Cartesian.
    """

    atom: int
    vector: tuple[float, float, float]


@dataclass(frozen=True)
class StiffnessFrames:
    """A primitive cell and the frames that are made of it.

    Attributes
    ----------
    cell : Structure
    strained : list of Structure
        At the :data:`STRAINS`, in their order; fractional coordinates stay.
    displacements : list of Displacement
    displaced : list of Structure
        One for each displacement.
    """

    cell: Structure
    strained: list[Structure]
    displacements: list[Displacement]
    displaced: list[Structure]

    @property
    def all(self) -> list[Structure]:
        """Strained frames, then displaced ones."""
        return [*self.strained, *self.displaced]


def stiffness_frames(structure: Structure) -> StiffnessFrames:
    """Return the frames of a crystal, given in any cell.

    Raises
    ------
    AnalysisError
        If its symmetry is not found.
    """
    from pymatgen.core import Lattice, Structure

    cell = _rounded(primitive_cell(structure))
    species = [site.specie.symbol for site in cell]
    strained = [Structure(Lattice(cell.lattice.matrix * (1.0 + strain)), species, cell.frac_coords) for strain in STRAINS]
    moves = displacements(cell)
    displaced = []
    for move in moves:
        coordinates = cell.cart_coords.copy()
        coordinates[move.atom] += move.vector
        displaced.append(Structure(cell.lattice, species, coordinates, coords_are_cartesian=True))
    return StiffnessFrames(cell, strained, moves, displaced)


def _rounded(cell: Structure) -> Structure:
    """Return the cell without the last digits, which another processor or version could make different."""
    from pymatgen.core import Lattice, Structure

    lattice, places = Lattice(np.round(cell.lattice.matrix, 6) + 0.0), np.round(cell.frac_coords, 8) % 1.0 + 0.0
    return Structure(lattice, [site.specie.symbol for site in cell], places)


def displacements(cell: Structure) -> list[Displacement]:
    """Return displacements whose images by symmetry are those of all atoms in all directions."""
    found = operations(cell)
    moves = []
    for atom in inequivalent(found, len(cell)):
        of_site = [operation for operation in found if operation.image[atom] == atom]
        spanned = np.zeros((0, 3))
        for axis in np.eye(3):
            rows = np.concatenate([spanned, orbit(axis, of_site)])
            if np.linalg.matrix_rank(rows, tol=1e-6) == np.linalg.matrix_rank(spanned, tol=1e-6):
                continue
            spanned = rows
            is_alone = not any(np.allclose(turned, -axis, atol=1e-6) for turned in orbit(axis, of_site))
            x, y, z = (float(value) for value in DISPLACEMENT * axis)
            moves += [Displacement(atom, (x, y, z)), *([Displacement(atom, (-x, -y, -z))] if is_alone else [])]
    return moves


def orbit(vector: FloatArray, found: Sequence[Operation]) -> FloatArray:
    """Return the images of a vector, shape (n_operations, 3)."""
    return np.array([operation.rotation @ vector for operation in found])
