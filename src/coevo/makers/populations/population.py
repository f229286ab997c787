"""The population of a state: its references and entries at their present geometry and energy, as the steps need them.

Also here: the documents that a commit writes for entries and references, built from evaluated structures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from coevo.analysis.comparison.matching import Matching
from coevo.analysis.comparison.uniqueness import Item
from coevo.analysis.composition import fractions
from coevo.analysis.hull.hull import Hull
from coevo.configs.electrons import electron_excess

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pymatgen.core import Structure

    from coevo.configs.tree import CurationConfig
    from coevo.node_store.store import NodeStore
    from coevo.node_store.views import StateView


@dataclass(frozen=True)
class Member:
    """One reference or entry of a state.

    Attributes
    ----------
    id : str
        Content id of the structure as admitted.
    structure : Structure
        Present geometry, relaxed by the state's force field.
    energy_per_atom : float
        eV/atom.
    document : dict
        The evaluation document.
    """

    id: str
    structure: Structure
    energy_per_atom: float
    document: dict[str, Any]

    @property
    def item(self) -> Item:
        """The member as the uniqueness and novelty tests take it."""
        return Item(self.id, self.structure, self.energy_per_atom)


def open_state(store: NodeStore, node: str, state: str) -> StateView:
    """Open a state by its id."""
    return store.state(f"{node}@{state}")


def members(view: StateView, kind: Literal["reference", "entry"]) -> list[Member]:
    """Read the references (``kind="reference"``) or entries (``kind="entry"``) of a state, sorted by id."""
    documents = sorted(view.evaluations(kind), key=lambda document: document["structure_id"])
    return [
        Member(d["structure_id"], view.structure(d["structure_id"], relaxed=True), d["energy_per_atom"], d) for d in documents
    ]


def model_energy(evaluation: Mapping[str, Any]) -> float:
    """Energy of an entry or reference by the state's force field, eV/atom, whatever energy it has in the state."""
    said = evaluation.get("model_energy_per_atom")
    return float(evaluation["energy_per_atom"] if said is None else said)


def population_records(view: StateView) -> list[dict[str, Any]]:
    """Records of all references and entries of a state, as jobs pass them.

    Returns
    -------
    list of dict
        ``id, kind, structure, energy_per_atom`` (by the force field), ``fmax, note``, ``since`` (iteration) and ``model`` (sha256
        of the force field that evaluated it).
    """
    from coevo.node_store.canonical import structure_document

    model = view.document["checkpoints"]["force_field"]["sha256"]
    return [
        {
            "id": m.id,
            "kind": kind,
            "structure": structure_document(m.structure),
            "energy_per_atom": model_energy(m.document),
            "fmax": m.document["fmax"],
            "note": m.document["note"],
            "since": m.document["iteration_added"],
            "model": model,
        }
        for kind, group in (("reference", members(view, "reference")), ("entry", members(view, "entry")))
        for m in group
    ]


def hull_of(elements: Sequence[str], points: Iterable[tuple[Structure, float]]) -> Hull:
    """Convex hull of (structure, energy per atom in eV) points."""
    rows = list(points)
    return Hull.from_points(elements, fractions([s for s, _ in rows], elements), [energy for _, energy in rows])


def matching_of(curation: CurationConfig) -> Matching:
    """Tolerances of the uniqueness and novelty tests."""
    return Matching(
        ltol=curation.ltol,
        stol=curation.stol,
        angle_tol=curation.angle_tol,
        fragment_veto=curation.fragment_veto,
        kind=curation.matcher,
    )


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


def excess_of(structure: Structure) -> float | None:
    """Electrons beyond what the elements of a structure can take, e-/atom (:mod:`coevo.configs.electrons`)."""
    return electron_excess(structure.composition.get_el_amt_dict())


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
        "electron_excess": excess_of(member.structure),
        "is_stable": bool(is_stable),
        "is_novel": bool(is_novel),
        "is_sun": bool(is_stable and is_novel and duplicate_of is None),
        "duplicate_of": duplicate_of,
        "matched_reference": matched_reference,
        "relaxed": structure_document(member.structure) if moved else None,
        "note": member.document["note"],
    }
