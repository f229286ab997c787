"""Phases without a label on the hull, or within a window above it: what labels are asked of first; then entries in doubt.

The hull is the one that there would be if all were believed: references, entries at the energies that they have in the parent
state, and this iteration's admitted candidates. So what labels refuted no longer hides what is below it.

What is answered is not asked for again: a frame with a label that says its energy on the scale of the node
(:func:`coevo.makers.labels.standing.says_energy`), and one with a label of this iteration's settings, admitted or rejected,
because the same would come out. A rejection by other settings, and a label whose settings have no offsets, answer nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from coevo.makers.labels.standing import says_energy
from coevo.makers.populations.hull_members import IN_DOUBT, is_counted
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
    doubted : dict of str to dict
        Entries in doubt that are further above it, likewise.
    references : list of dict
        Frames of references: ``{id, structure, family, kind, how}``.
    """

    phases: dict[str, Record] = field(default_factory=dict)
    doubted: dict[str, Record] = field(default_factory=dict)
    references: list[Record] = field(default_factory=list)


def unlabelled_on_hull(
    view: StateView,
    admitted: Mapping[str, Record],
    elements: Iterable[str],
    curation: CurationConfig,
    *,
    first_principles: bool = False,
    settings_digest: str = "",
) -> HullPhases:
    """Return phases without a label up to ``curation.hull_window`` above the hull, and entries in doubt.

    A reference is labelled once, whatever geometry it has by a later force field.

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
    settings_digest : str
        Of the labels that this iteration makes. Empty: it is not known, and a rejection by any settings is an answer.
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
    done, settled = _answered(view, settings_digest, first_principles=first_principles)
    found = HullPhases()
    for row in sorted(range(len(everything)), key=lambda row: (float(above[row]), everything[row].id)):
        member, is_near = everything[row], above[row] <= curation.hull_window
        if not is_near and member.document.get("hull_status") != IN_DOUBT:
            continue
        frame = structure_id(member.structure)
        if frame in done or _has_label(member):
            continue
        structure = structure_document(member.structure)
        if member.document.get("kind") == "reference":
            if member.id not in settled:
                reference = {"id": frame, "structure": structure, "family": member.id, "kind": "relaxed", "how": "reference"}
                found.references.append(reference)
            continue
        wanted = found.phases if is_near else found.doubted
        wanted[member.id] = {"id": member.id, "structure": structure, "path": member.document.get("path", [])}
    return found


def _has_label(member: Member) -> bool:
    document = member.document
    return document.get("kind") == "entry" and "hull_status" in document and is_counted(document)


def _answered(view: StateView, settings_digest: str, *, first_principles: bool) -> tuple[set[str], set[str]]:
    """Frames at their relaxed geometry that labels say all of that they are going to, and the families of these labels."""
    offsets = view.manifest["offsets"]
    answers = [
        label
        for label in view.labels()
        if label["kind"] == "relaxed"
        and (
            (label["status"] != "failed" and label["settings_digest"] == settings_digest)
            or (label["status"] == "rejected" and not settings_digest)
            or says_energy(label, offsets, first_principles=first_principles)
        )
    ]
    return {label["frame"] for label in answers}, {label["family"] for label in answers}
