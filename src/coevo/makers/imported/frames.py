"""Frames of a file, each judged by itself: admitted, or rejected by a reason, whatever the others are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coevo.labelling.contract import LabelResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymatgen.core import Structure

    from coevo.labelling.imported import ImportedFile, ImportedFrame
    from coevo.labelling.sanity import SanityLimits

RELAXED_FMAX = 0.1
"""eV/Å; a frame is taken as relaxed if no force is larger."""
NO_CRYSTAL = frozenset({"not_periodic", "foreign_element", "no_crystal"})
"""Reasons for which a frame is counted and no label is stored: it is no crystal of the node."""
COMPARABLE = frozenset({"", "large_force", "large_stress"})
"""Reasons whose numbers may still tell what is wrong with them."""


@dataclass(frozen=True)
class JudgedFrame:
    """A frame and what becomes of it.

    Attributes
    ----------
    frame : ImportedFrame
    result : LabelResult
    id : str
        Content id of the geometry; of no meaning if there is no document.
    document : dict or None
        The geometry as it is stored; None for what is no crystal of the node.
    """

    frame: ImportedFrame
    result: LabelResult
    id: str
    document: dict[str, Any] | None

    @property
    def structure(self) -> Structure:
        """The geometry."""
        return self.frame.structure

    @property
    def energy(self) -> float | None:
        """eV/atom, of an admitted frame."""
        return self.result.energy

    @property
    def formula(self) -> str:
        """Reduced formula."""
        return str(self.structure.composition.reduced_formula)

    @property
    def is_admitted(self) -> bool:
        """Whether the numbers are trusted."""
        return self.result.status == "admitted"

    @property
    def is_elemental(self) -> bool:
        """Whether there is one element in it."""
        return len(self.structure.composition) == 1

    @property
    def is_comparable(self) -> bool:
        """Whether its numbers can be compared with those of a force field."""
        return self.document is not None and self.frame.reason == "" and self.result.reason in COMPARABLE

    @property
    def is_relaxed(self) -> bool:
        """Whether no force is larger than :data:`RELAXED_FMAX`."""
        import numpy as np

        forces = self.frame.forces
        return forces is not None and bool(np.linalg.norm(forces, axis=1).max(initial=0.0) <= RELAXED_FMAX)


def judge_frames(imported: ImportedFile, limits: SanityLimits, elements: Sequence[str]) -> list[JudgedFrame]:
    """Judge the frames of a file, in its order."""
    return [_judged(frame, limits, set(elements)) for frame in imported.frames]


def _judged(frame: ImportedFrame, limits: SanityLimits, elements: set[str]) -> JudgedFrame:
    from coevo.node_store.canonical import structure_document, structure_id

    rejected = _no_crystal(frame, elements)
    if rejected is not None:
        return JudgedFrame(frame, rejected, "", None)
    try:
        result = frame.label(limits)
        identity, document = structure_id(frame.structure), structure_document(frame.structure)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # numbers of a file can be anything
        return JudgedFrame(frame, LabelResult("rejected", "no_crystal", detail=f"{type(error).__name__}: {error}"), "", None)
    return JudgedFrame(frame, result, identity, document)


def _no_crystal(frame: ImportedFrame, elements: set[str]) -> LabelResult | None:
    """Reject what is no crystal of the node's elements."""
    from coevo.configs.structures.bounds import BoundsError, check_cell, check_coordinates

    structure = frame.structure
    if frame.reason in NO_CRYSTAL:
        return LabelResult("rejected", frame.reason, detail=frame.detail)
    if not len(structure):
        return LabelResult("rejected", "no_crystal", detail="no atoms")
    try:
        check_cell(structure.lattice.matrix)
        check_coordinates(structure.frac_coords)
    except BoundsError as error:
        return LabelResult("rejected", "no_crystal", detail=str(error))
    if not structure.volume > 1e-3 * len(structure):
        return LabelResult("rejected", "no_crystal", detail=f"a cell of {structure.volume:.3g} Å³ for {len(structure)} atoms")
    if not structure.is_ordered:
        return LabelResult("rejected", "no_crystal", detail="sites with partial occupancy")
    foreign = sorted({str(getattr(specie, "symbol", specie)) for specie in structure.composition} - elements)
    if foreign:
        # what is wrong with the calculation itself is told first: it would be so in any node
        told = [frame.detail] if frame.reason else []
        detail = "; ".join([*told, f"{', '.join(foreign)} is no element of the node"])
        return LabelResult("rejected", frame.reason or "foreign_element", detail=detail)
    return None
