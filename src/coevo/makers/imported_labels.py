"""Label documents from files that a user has already, with the families that they belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.makers.label import label_document, packet_of
from coevo.makers.step import current_store

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.configs.tree import NodeConfig
    from coevo.labelling.imported import ImportedFile, ImportedFrame
    from coevo.node_store.views import StateView

RELAXED_FMAX = 0.1
"""eV/Å; the last frame of a file is taken as relaxed if no force is larger."""


def imported_packet(view: StateView, config: NodeConfig, imported: ImportedFile) -> dict[str, Any]:
    """Write the labels of a file as one packet.

    All frames of a file are one family: that of the entry or reference that the last one is (by the uniqueness test), or one of
    its own. The last frame is *relaxed* if its forces are small, and the others are *path* frames.

    Parameters
    ----------
    view : StateView
        The state that the labels are added to.
    config : NodeConfig
    imported : ImportedFile

    Returns
    -------
    dict
        See :func:`coevo.makers.label.packet_of`.
    """
    from coevo.labelling.digest import settings_digest
    from coevo.labelling.sanity import SanityLimits
    from coevo.node_store.canonical import structure_document, structure_id

    limits = SanityLimits.from_config(config.labelling)
    settings_id = settings_digest(imported.settings)
    family = family_of(view, config, imported.frames)
    labels = []
    for number, frame in enumerate(imported.frames):
        last = number == len(imported.frames) - 1
        record = {
            "id": structure_id(frame.structure),
            "structure": structure_document(frame.structure),
            "family": family,
            "kind": "relaxed" if last and _is_relaxed(frame) else "path",
            "how": "reference" if family in view.manifest["references"] else "imported",
        }
        labels.append(label_document(record, frame.label(limits), imported.settings, settings_id))
    return packet_of(current_store(), labels)


def family_of(view: StateView, config: NodeConfig, frames: Sequence[ImportedFrame]) -> str:
    """Id of the reference or entry that the last frame is, or of the last frame itself."""
    from coevo.analysis.uniqueness import Item, find_representatives
    from coevo.makers.population import matching_of, members
    from coevo.node_store.canonical import structure_id

    last = frames[-1].structure
    formula = last.composition.reduced_formula
    known = [m.item for kind in ("reference", "entry") for m in members(view, kind) if m.document["formula"] == formula]
    identity = structure_id(last)
    return find_representatives([Item(identity, last, 0.0)], known, matching_of(config.curation))[identity]


def _is_relaxed(frame: ImportedFrame) -> bool:
    import numpy as np

    return frame.forces is not None and bool(np.linalg.norm(frame.forces, axis=1).max(initial=0.0) <= RELAXED_FMAX)
