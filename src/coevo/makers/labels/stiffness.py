"""Frames that say how stiff the simplest reference compounds are: labelled once, compared with, and never trained on.

Their labels are chosen for ``stiffness`` and are of the test split. They are strained and displaced reference crystals, no sample
of what a node is about, so they are in no error of the test split and in no held-out set, and say nothing of the split of other
frames of their family.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coevo.errors import AnalysisError
from coevo.node_store.canonical import structure_document, structure_from_document, structure_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from coevo.analysis.stiffness.frames import StiffnessFrames

    Record = dict[str, Any]

STIFFNESS = "stiffness"
"""How such a frame was chosen."""
MOST_ATOMS = 12
"""Of the primitive cell of a compound that is simple."""


def is_stiffness(label: Mapping[str, Any]) -> bool:
    """Whether a label is of such a frame."""
    return label.get("how") == STIFFNESS


def without_stiffness(labels: Iterable[Record]) -> list[Record]:
    """Return the labels that may be trained on or tested with."""
    return [label for label in labels if not is_stiffness(label)]


@dataclass(frozen=True)
class SimpleCompound:
    """A reference compound of few atoms.

    Attributes
    ----------
    document : dict
        Of the reference.
    frames : StiffnessFrames
    """

    document: Record
    frames: StiffnessFrames

    @property
    def records(self) -> list[Record]:
        """Frames as the label step takes them: ``{id, structure, family, kind, how}``, in the order of ``frames.all``."""
        kinds = ["strained"] * len(self.frames.strained) + ["displaced"] * len(self.frames.displaced)
        return [
            {
                "id": structure_id(structure),
                "structure": structure_document(structure),
                "family": self.document["_id"],
                "kind": kind,
                "how": STIFFNESS,
            }
            for structure, kind in zip(self.frames.all, kinds, strict=True)
        ]


def simplest_compounds(references: Iterable[Record], count: int) -> list[SimpleCompound]:
    """Return the compounds with fewest atoms in their primitive cell, at their published geometry, one of each formula.

    One whose symmetry is not found is passed over: the next one takes its place.

    Parameters
    ----------
    references : iterable of dict
        Reference documents.
    count : int
        At most so many; elements and cells of more than :data:`MOST_ATOMS` are none of them.
    """
    from coevo.analysis.stiffness.frames import stiffness_frames
    from coevo.analysis.stiffness.symmetry import primitive_cell

    cells = []
    for document in references if count else ():
        structure = structure_from_document(document["structure"])
        if len(structure.composition) > 1 and len(structure) <= 4 * MOST_ATOMS:  # the primitive cell is at least a quarter
            with suppress(AnalysisError):
                atoms = len(primitive_cell(structure))
                cells.append((atoms, document["_id"], structure.composition.reduced_formula, document))
    chosen: dict[str, SimpleCompound] = {}
    for atoms, _, formula, document in sorted(cells, key=lambda row: row[:2]):
        if atoms <= MOST_ATOMS and len(chosen) < count and formula not in chosen:
            with suppress(AnalysisError):
                frames = stiffness_frames(structure_from_document(document["structure"]))
                chosen[formula] = SimpleCompound(document, frames)
    return list(chosen.values())
