"""Evaluations of a state as a table of pandas and as entries of pymatgen, and its labels as ASE Atoms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

from coevo.errors import LabellingError, QueryError
from coevo.node_store.documents import EvaluationDocument
from coevo.node_store.study_documents import ENTRY_FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ase import Atoms
    from pandas import DataFrame
    from pymatgen.core import Structure
    from pymatgen.entries.computed_entries import ComputedStructureEntry

    from coevo.node_store.store import NodeStore
    from coevo.node_store.views import StateView

    EnergyPerAtom = Callable[[dict[str, Any], Structure], float]


Kind = Literal["entry", "reference", "all"]

MEMBERS = "energies_above_hull"
"""By member of the second opinion: a column each, ``energies_above_hull.NAME``."""
COLUMNS = (
    *(name for name in EvaluationDocument.model_fields if name not in {"structure_id", "relaxed", MEMBERS}),
    *ENTRY_FIELDS,
)
"""Fields that a table holds, evaluations and studies'; the geometry is :meth:`coevo.notebooks.states.State.structure`'s."""

_TYPES = {
    **dict.fromkeys(("is_stable", "is_stable_dft", "is_novel", "is_sun", "is_confidently_sun", "scale_sensitive"), "boolean"),
    **dict.fromkeys(ENTRY_FIELDS, "boolean"),
    **dict.fromkeys(("nelements", "nsites", "space_group", "iteration_added"), "Int64"),
    **dict.fromkeys(
        (
            *("kind", "formula", "chemical_formula_reduced", "chemical_formula_anonymous", "chemsys"),
            *("matched_reference", "duplicate_of", "note", "hull_status", "audit_verdict"),
        ),
        "string",
    ),
    "elements": "object",
    **dict.fromkeys(
        (
            "volume_per_atom",
            "energy_per_atom",
            "formation_energy_per_atom",
            "energy_above_hull",
            "energy_above_reference_hull",
            "energy_above_hull_dft",
            "energy_above_hull_audit",
            "energy_above_hull_std",
            "model_energy_per_atom",
            "energy_above_hull_uncorrected",
            "fmax",
            "electron_excess",
        ),
        "float64",
    ),
}
"""Types of columns: those that pandas guesses would be others in a table without rows, or where values are missing."""


def evaluations_table(view: StateView, where: str | None, kind: Kind) -> DataFrame:
    """Return evaluations as a table; see :meth:`coevo.notebooks.states.State.to_dataframe`."""
    from pandas import DataFrame

    from coevo.node_store.queries.queries import parse_filter
    from coevo.node_store.recorded import recorded_members

    _check_kind(kind)
    if where is not None and kind != "entry":
        raise QueryError(
            f"to_dataframe: a filter is asked of entries; got kind={kind!r}, allowed: 'entry'; filter the table itself"
        )
    rows = list(view.with_studied(view.entries(parse_filter(where)))) if where else list(_evaluations(view, kind))
    rows.sort(key=_stability)
    data = {name: [row.get(name) for row in rows] for name in COLUMNS}
    members = sorted({*recorded_members(view), *(name for row in rows for name in row.get(MEMBERS) or ())})
    by_member = {f"{MEMBERS}.{name}": [(row.get(MEMBERS) or {}).get(name) for row in rows] for name in members}
    table = DataFrame(data | by_member, index=[row["structure_id"] for row in rows]).rename_axis("structure_id")
    return table.astype(_TYPES | dict.fromkeys(by_member, "float64"))


def _stability(row: dict[str, Any]) -> tuple[bool, float, str]:
    above = row.get("energy_above_hull")
    return above is None, above or 0.0, row["structure_id"]


def computed_entries(view: StateView, kind: Kind) -> list[ComputedStructureEntry]:
    """Return evaluations as pymatgen's entries; see :meth:`coevo.notebooks.states.State.entries_pymatgen`."""
    from pymatgen.entries.computed_entries import ComputedStructureEntry

    _check_kind(kind)
    references = {row["_id"]: row for row in view.references()} if kind != "entry" else {}
    found = []
    for row in _evaluations(view, kind):
        identifier, energy = row["structure_id"], row["energy_per_atom"]
        if energy is None:
            continue
        structure = view.structure(identifier)
        data = {name: row[name] for name in ("structure_id", *COLUMNS, MEMBERS) if row.get(name) is not None}
        known = references.get(identifier, {}) if row["kind"] == "reference" else {}
        data |= {name: known[name] for name in ("name", "source") if known.get(name)}
        found.append(ComputedStructureEntry(structure, energy * len(structure), data=data, entry_id=identifier))
    return found


def _evaluations(view: StateView, kind: Kind) -> Iterator[dict[str, Any]]:
    return view.with_studied(view.evaluations(None if kind == "all" else kind))


def _check_kind(kind: str) -> None:
    if kind not in {"entry", "reference", "all"}:
        raise QueryError(f"kind: got {kind!r}, allowed: 'entry', 'reference', 'all'")


EnergyOf = Literal["code", "state"]
_STATUS = ("admitted", "rejected", "failed")
_SPLITS = ("train", "validation", "test")
_INFO = (
    *("frame", "family", "kind", "how", "split", "code", "functional", "anion_corrected", "settings_digest"),
    *("status", "reason"),
)
"""Fields of a label that go to the ``info`` of its Atoms."""


def chosen_labels(view: StateView, status: str | None, split: str | None) -> list[dict[str, Any]]:
    """Return the label documents of a status and a split (None: of any), in the order of ids."""
    for name, word, allowed in (("status", status, _STATUS), ("split", split, _SPLITS)):
        if word is not None and word not in allowed:
            raise QueryError(f"labels: {name}: got {word!r}, allowed: {', '.join(map(repr, allowed))} or None")
    return [row for row in view.labels() if status in {None, row.get("status")} and split in {None, row.get("split")}]


def atoms_of_labels(store: NodeStore, view: StateView, labels: Sequence[dict[str, Any]], energy: EnergyOf) -> list[Atoms]:
    """Return labels as Atoms; see :meth:`coevo.notebooks.states.State.labels`."""
    if energy not in get_args(EnergyOf):
        raise QueryError(f"labels: energy: got {energy!r}, allowed: 'code', 'state'")
    energy_of = _as_given if energy == "code" else _on_the_scale_of(store, view, labels)
    return [_atoms(label, energy_of) for label in labels if label.get("structure")]


def _atoms(label: dict[str, Any], energy_of: EnergyPerAtom) -> Atoms:
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.stress import full_3x3_to_voigt_6_stress
    from numpy import array
    from pymatgen.io.ase import AseAtomsAdaptor

    from coevo.node_store.canonical import structure_from_document

    structure = structure_from_document(label["structure"])
    atoms = AseAtomsAdaptor.get_atoms(structure, msonable=False)
    atoms.info = {"id": label["_id"], **{key: label[key] for key in _INFO if label.get(key) is not None}}
    numbers: dict[str, Any] = {}
    if label.get("energy_per_atom") is not None:
        numbers["energy"] = energy_of(label, structure) * len(atoms)
    if label.get("forces") is not None:
        numbers["forces"] = array(label["forces"], dtype=float).reshape(-1, 3)
    if label.get("stress") is not None:
        numbers["stress"] = full_3x3_to_voigt_6_stress(array(label["stress"], dtype=float))
    if numbers:
        atoms.calc = SinglePointCalculator(atoms, **numbers)
    return atoms


def _as_given(label: dict[str, Any], structure: Structure) -> float:  # noqa: ARG001
    return float(label["energy_per_atom"])


def _on_the_scale_of(store: NodeStore, view: StateView, labels: Sequence[dict[str, Any]]) -> EnergyPerAtom:
    """How the energy of a label is mapped onto the energy scale of the state's force field, eV/atom."""
    from coevo.analysis.hull.energy_scale import Offsets
    from coevo.makers.checkpoints import load_force_field
    from coevo.makers.labels.training_set import corrected_energy
    from coevo.node_store.known_fields import checkpoint_reference

    stored = view.manifest["offsets"] or {}
    offsets = {digest: Offsets.from_dict(values) for digest, values in stored.items()}
    lacking = sorted({label["settings_digest"] for label in labels if label.get("energy_per_atom") is not None} - offsets.keys())
    if lacking:
        raise LabellingError(
            f"labels: energy='state': {view.node}@{view.id[:12]} has no offsets from the energies of the settings "
            f"{', '.join(digest[:12] for digest in lacking)} to those of its force field, allowed: settings that it was trained "
            "on; take energy='code'"
        )
    force_field = load_force_field(store, checkpoint_reference(view.document["checkpoints"]["force_field"]))

    def mapped(label: dict[str, Any], structure: Structure) -> float:
        own = corrected_energy(label, structure, force_field.energy_scale)
        return own + float(offsets[label["settings_digest"]].of(structure))

    return mapped
