"""The documents that a commit writes for entries and references, built from evaluated structures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from coevo.makers.populations.population import Member


def describe(structure: Structure) -> dict[str, Any]:
    """Fields that describe a structure in every collection, so that a query reads one collection only."""
    from coevo.analysis.signals.diversity import space_group_number

    composition = structure.composition
    return {
        "formula": composition.reduced_formula,
        "chemsys": composition.chemical_system,
        "elements": sorted(element.symbol for element in composition.elements),
        "nsites": len(structure),
        "space_group": space_group_number(structure),
        "volume_per_atom": structure.volume / len(structure),
    }


def evaluation_document(
    member: Member,
    *,
    energy_above_hull: float,
    energy_above_reference_hull: float,
    formation_energy_per_atom: float,
    stable_threshold: float,
    duplicate_of: str | None,
    matched_reference: str | None,
) -> dict[str, Any]:
    """Return the evaluation document of one entry or reference; energies in eV/atom, forces in eV/Å.

    Parameters
    ----------
    member : Member
        Structure at its present geometry, with the evaluated record as its document.
    energy_above_hull, energy_above_reference_hull, formation_energy_per_atom, stable_threshold : float
        eV/atom.
    duplicate_of : str or None
        Id of the entry that this one has become equal to.
    matched_reference : str or None
        Id of the reference that this entry matches.
    """
    from coevo.node_store.canonical import structure_document, structure_id

    is_entry = member.document["kind"] == "entry"
    is_stable = energy_above_hull <= stable_threshold
    is_novel = is_entry and matched_reference is None
    moved = structure_id(member.structure) != member.id
    return {
        "structure_id": member.id,
        "kind": member.document["kind"],
        "iteration_added": member.document["since"],
        **describe(member.structure),
        "energy_per_atom": member.energy_per_atom,
        "formation_energy_per_atom": formation_energy_per_atom,
        "energy_above_hull": energy_above_hull,
        "energy_above_reference_hull": energy_above_reference_hull,
        "fmax": member.document["fmax"],
        "is_stable": bool(is_stable),
        "is_novel": bool(is_novel),
        "is_sun": bool(is_stable and is_novel and duplicate_of is None),
        "duplicate_of": duplicate_of,
        "matched_reference": matched_reference,
        "relaxed": structure_document(member.structure) if moved else None,
        "note": member.document["note"],
    }
