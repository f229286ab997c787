"""Choose for labels: the most stable entries of a state, and the phases that they compete with, at their relaxed geometry."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from coevo.configs.tree import LabellingConfig, NodeSection
from coevo.makers.step import StepMaker, current_store, step, write_records

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.makers.outputs import Selected
    from coevo.makers.populations.population import Member

ON_HULL = 1e-8
"""eV/atom; entries and references up to this are on the hull."""


@dataclass
class ChooseForLabelsMaker(StepMaker):
    """Choose what is labelled outside a full iteration.

    Attributes
    ----------
    node : NodeSection
    labelling : LabellingConfig
        What has a label of these settings already, be it rejected, is not chosen again; what failed is.
    """

    name: str = "choose"
    node: NodeSection = field(kw_only=True)
    labelling: LabellingConfig = field(default_factory=LabellingConfig)

    @step
    def make(self, parent: str, limit: int, competing: bool) -> Selected:
        """Choose.

        Parameters
        ----------
        parent : str
            Id of the state.
        limit : int
            Entries, at most: S.U.N. first, then the others that are no duplicates, both by E_hull.
        competing : bool
            Also every phase on the hull within the elements of a chosen entry.

        Returns
        -------
        dict
            ``frames`` (shard reference) and ``counts``.
        """
        from coevo.makers.labels.settings import current_settings
        from coevo.makers.populations.population import members, open_state
        from coevo.node_store.canonical import structure_document, structure_id

        store = current_store()
        view = open_state(store, self.node.name, parent)
        settings_id = current_settings(self.labelling, self.node.elements, view.labels()).digest
        labelled = {
            label["family"]
            for label in view.labels()
            if label["settings_digest"] == settings_id and label["kind"] == "relaxed" and label["status"] != "failed"
        }
        entries, references = members(view, "entry"), members(view, "reference")
        wanted = [m for m in best_first(entries) if m.id not in labelled][:limit]
        rivals = competing_with(wanted, [*references, *entries]) if competing else []
        rivals = [m for m in rivals if m.id not in labelled]
        frames = [
            {
                "id": structure_id(m.structure),
                "structure": structure_document(m.structure),
                "family": m.id,
                "kind": "relaxed",
                "how": "reference" if m.document["kind"] == "reference" else "validation",
            }
            for m in [*wanted, *rivals]
        ]
        counts = {"entries": len(wanted), "competing": len(rivals)}
        return {"frames": write_records(store, frames), "counts": counts}


def best_first(entries: Sequence[Member]) -> list[Member]:
    """Entries that are no duplicates: S.U.N. ones first, then the others, each by E_hull."""
    alive = [m for m in entries if m.document["duplicate_of"] is None]
    return sorted(alive, key=lambda m: (not m.document["is_sun"], m.document["energy_above_hull"], m.id))


def competing_with(chosen: Sequence[Member], population: Sequence[Member]) -> list[Member]:
    """Phases on the hull whose elements are among those of a chosen one; the chosen ones themselves are left out."""
    systems = [set(m.document["elements"]) for m in chosen]
    ids = {m.id for m in chosen}
    return [
        m
        for m in sorted(population, key=lambda m: m.id)
        if m.id not in ids
        and m.document["duplicate_of"] is None
        and m.document["energy_above_hull"] <= ON_HULL
        and any(set(m.document["elements"]) <= system for system in systems)
    ]
