"""A frame as VASP sees it, and its forces on the way back.

VASP wants the atoms of an element together, and pymatgen sorts them so. VASP stops at a left-handed cell, so pymatgen writes the
inverted vectors with the same fractional coordinates, which is the inverted crystal: energy and stress are the same, forces have
the other sign. Both happen on purpose here, and are undone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from coevo.labelling.contract import FloatArray

SAME_LENGTH = 1e-4
"""Å; vasprun.xml has eight decimals of a lattice vector and of a fractional coordinate."""


@dataclass(frozen=True)
class PreparedFrame:
    """A frame in the order and handedness of VASP.

    Attributes
    ----------
    structure : Structure
        Elements without oxidation states or site properties, sorted, with a right-handed cell.
    order : ndarray of int, shape (n_atoms,)
        Site i of ``structure`` is site ``order[i]`` of the frame.
    sign : int
        −1 if the structure is the inverted frame.
    """

    structure: Structure
    order: NDArray[np.int64]
    sign: int

    def forces_on_frame(self, forces: FloatArray) -> FloatArray:
        """Bring forces, shape (n_atoms, 3), into the order and handedness of the frame."""
        restored = np.empty_like(forces)
        restored[self.order] = self.sign * forces
        return restored

    def deviation(self, other: Structure) -> float:
        """Return the largest difference of a lattice vector or position, Å; infinite if the atoms are others."""
        mine = self.structure
        if [site.specie.symbol for site in mine] != [site.specie.symbol for site in other]:
            return float("inf")
        shift = mine.frac_coords - other.frac_coords
        shift -= np.round(shift)
        vectors = np.abs(mine.lattice.matrix - other.lattice.matrix).max()
        return float(max(vectors, np.linalg.norm(shift @ mine.lattice.matrix, axis=1).max()))


def prepare(frame: Structure) -> PreparedFrame:
    """Bring a frame into the order and handedness that VASP is given."""
    from pymatgen.core import Element, Lattice, Structure

    symbols = [site.specie.symbol for site in frame]
    order = np.array(sorted(range(len(frame)), key=lambda index: (Element(symbols[index]).X, symbols[index])), dtype=np.int64)
    sign = 1 if np.linalg.det(frame.lattice.matrix) > 0 else -1
    structure = Structure(
        Lattice(sign * frame.lattice.matrix), [symbols[index] for index in order], frame.frac_coords[order], to_unit_cell=False
    )
    return PreparedFrame(structure, order, sign)
