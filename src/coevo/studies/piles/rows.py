"""One row for each structure of a pile: its geometry in few bytes, and all that the analysis finds of it.

A pymatgen Structure takes about 750 bytes an atom; a pile of 70,000 is kept as arrays (25 bytes an atom) and turned into
structures where they are needed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from coevo.analysis.sanity import REASONS as UNPHYSICAL

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from coevo.analysis.cell_reduction import Crystal
    from coevo.analysis.validity import Validity


@dataclass(frozen=True, slots=True)
class EnergyOrigin:
    """What a file says of an energy.

    Attributes
    ----------
    key : str
        Under which name it stands.
    calculation : str
        Run type or functional (``GGA``, ``R2SCAN``, ``GGA+U``), empty if it is not said.
    correction : float or None
        What was added to the energy of the calculation, eV/atom; None where the file says nothing of corrections.
    problem : str
        Reason and sentence why the energy is not taken, empty if it is.
    """

    key: str = ""
    calculation: str = ""
    correction: float | None = None
    problem: str = ""


OF_TEXT = ("unreadable", "too_large", "unknown_element", "not_periodic", "not_finite", "unknown_unit")
"""Reasons for which a text gave no structure at all."""
REASONS = (*OF_TEXT, *(reason for reason in UNPHYSICAL if reason not in OF_TEXT), "force_field")
"""Why a structure is left out, every reason: of its text, of its geometry (:mod:`coevo.analysis.sanity`), of its evaluation."""


@dataclass(frozen=True, slots=True)
class PackedCrystal:
    """An ordered, periodic structure as arrays.

    Attributes
    ----------
    matrix : ndarray, shape (3, 3)
        Cell vectors as rows, Å.
    fractional : ndarray, shape (n, 3)
    numbers : ndarray of uint8, shape (n,)
        Atomic numbers.
    """

    matrix: NDArray[np.float64]
    fractional: NDArray[np.float64]
    numbers: NDArray[np.uint8]

    @classmethod
    def pack(cls, structure: Structure) -> PackedCrystal:
        """Keep the geometry of an ordered structure: no oxidation states, charges, labels or site properties."""
        return cls(
            np.array(structure.lattice.matrix, dtype=float),
            np.array(structure.frac_coords, dtype=float),
            np.array([site.specie.Z for site in structure], dtype=np.uint8),
        )

    def crystal(self) -> Crystal:
        """Return the geometry as comparisons take it."""
        from coevo.analysis.cell_reduction import Crystal

        return Crystal(self.matrix, self.fractional, self.numbers.astype(np.int64))

    def structure(self) -> Structure:
        """Return the structure."""
        from pymatgen.core import Structure

        return Structure(self.matrix, self.symbols(), self.fractional)

    def content_id(self) -> str:
        """Content id, as :func:`coevo.node_store.canonical.structure_id` gives it, without building a structure."""
        from coevo.node_store.canonical import structure_document_id

        sites = [
            {"species": [{"element": symbol, "occu": 1}], "abc": position}
            for symbol, position in zip(self.symbols(), self.fractional.tolist(), strict=True)
        ]
        return structure_document_id({"lattice": {"matrix": self.matrix.tolist()}, "sites": sites})

    def symbols(self) -> list[str]:
        """Element of each site."""
        from pymatgen.core import Element

        names = {number: Element.from_Z(number).symbol for number in set(self.numbers.tolist())}
        return [names[number] for number in self.numbers.tolist()]

    def __len__(self) -> int:
        """Atoms in the cell."""
        return len(self.numbers)


@dataclass(slots=True)
class Row:
    """A structure of the pile, rejected ones included.

    Attributes
    ----------
    id : str
        Name in the file; unique in the pile.
    reason, detail : str or None
        Why it is left out (one of :data:`REASONS`), and a sentence about it; None if it is not. A sentence alone says why its
        energy is not taken.
    content : str or None
        Content id of the geometry as read, sha256: that of a node's structures.
    crystal : PackedCrystal or None
        None if it is left out.
    formula : str or None
        Reduced.
    atoms : int or None
    energy_per_atom : float or None
        eV/atom: of the file, or of the force field.
    origin : EnergyOrigin
        What the file says of the energy.
    energy_above_hull, energy_above_reference_hull : float or None
        eV/atom; against references and pile together, and against references alone (may be negative).
    rank : int
        Order in which structures become representatives.
    representative : str or None
        Id of the row that this one is a duplicate of; its own if it is the first of its kind.
    matched_reference : str or None
        Name of the reference that it is; None also where there are no references.
    space_group : int or None
        None also where spglib finds none.
    validity : Validity or None
        By the criteria of published tables, of the geometry as read; None if the text gave no structure that could be measured.
    """

    id: str
    reason: str | None = None
    detail: str | None = None
    content: str | None = None
    crystal: PackedCrystal | None = None
    formula: str | None = None
    atoms: int | None = None
    energy_per_atom: float | None = None
    energy_above_hull: float | None = None
    energy_above_reference_hull: float | None = None
    rank: int = 0
    representative: str | None = None
    matched_reference: str | None = None
    space_group: int | None = None
    validity: Validity | None = None
    origin: EnergyOrigin = field(default_factory=EnergyOrigin)

    def reject(self, reason: str, detail: str) -> None:
        """Leave the structure out of everything that follows."""
        self.reason, self.detail, self.crystal = reason, detail, None

    @property
    def is_unique(self) -> bool:
        """Whether it is the first of its kind."""
        return self.representative == self.id

    def packed(self) -> PackedCrystal:
        """Return the geometry of a row that was not rejected."""
        assert self.crystal is not None
        return self.crystal
