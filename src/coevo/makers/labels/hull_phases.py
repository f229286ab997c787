"""Phases without a label on the hull, or within a window above it: what labels are asked of first.

The hull is the one that there would be if all were believed: references, entries at the energies that they have in the parent
state, and this iteration's admitted candidates. So what labels refuted no longer hides what is below it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from coevo.makers.populations.hull_members import is_counted
from coevo.makers.populations.population import hull_of, members

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from coevo.configs.tree import CurationConfig
    from coevo.makers.populations.population import Member
    from coevo.node_store.views import StateView

    Record = dict[str, Any]


@dataclass
class HullPhases:
    """Phases without a label on or near the hull.

    Attributes
    ----------
    phases : dict of str to dict
        Id of an entry or admitted candidate to ``{id, structure, path}``, the lowest above the hull first.
    references : list of dict
        Frames of references: ``{id, structure, family, kind, how}``.
    """

    phases: dict[str, Record] = field(default_factory=dict)
    references: list[Record] = field(default_factory=list)


def unlabelled_on_hull(
    view: StateView,
    admitted: Mapping[str, Record],
    elements: Iterable[str],
    curation: CurationConfig,
    *,
    first_principles: bool = False,
) -> HullPhases:
    """Return phases without a label up to ``curation.hull_window`` above the hull.

    A frame whose label was rejected is not asked for again, because the same would come out; one that failed is.

    Parameters
    ----------
    view : StateView
        The parent state.
    admitted : mapping of str to dict
        Admitted candidates by id: ``id, structure, energy_per_atom, path``.
    elements : iterable of str
    curation : CurationConfig
    first_principles : bool
        Labels of teachers do not count.
    """
    from coevo.analysis.composition import fractions
    from coevo.makers.populations.population import Member
    from coevo.node_store.canonical import structure_document, structure_from_document, structure_id

    names = list(elements)
    population = [m for kind in ("reference", "entry") for m in members(view, kind) if m.document["duplicate_of"] is None]  # type: ignore[arg-type]
    fresh = [Member(i, structure_from_document(r["structure"]), r["energy_per_atom"], r) for i, r in sorted(admitted.items())]
    everything = [*population, *fresh]
    hull = hull_of(names, [(m.structure, m.energy_per_atom) for m in everything])
    above = hull.energy_above_hull(fractions([m.structure for m in everything], names), [m.energy_per_atom for m in everything])
    done = _answered(view, first_principles=first_principles)
    found = HullPhases()
    order = sorted(range(len(everything)), key=lambda row: (float(above[row]), everything[row].id))
    for member in (everything[row] for row in order if above[row] <= curation.hull_window):
        frame = structure_id(member.structure)
        if frame in done or _has_label(member):
            continue
        structure = structure_document(member.structure)
        if member.document.get("kind") == "reference":
            reference = {"id": frame, "structure": structure, "family": member.id, "kind": "relaxed", "how": "reference"}
            found.references.append(reference)
        else:
            found.phases[member.id] = {"id": member.id, "structure": structure, "path": member.document.get("path", [])}
    return found


def _has_label(member: Member) -> bool:
    document = member.document
    return document.get("kind") == "entry" and "hull_status" in document and is_counted(document)


def _answered(view: StateView, *, first_principles: bool) -> set[str]:
    """Frames at their relaxed geometry that a code has given numbers for, or refused to."""
    from coevo.labelling.registry import is_first_principles

    return {
        label["frame"]
        for label in view.labels()
        if label["kind"] == "relaxed" and label["status"] != "failed" and (is_first_principles(label) or not first_principles)
    }
