"""Evaluations of a state as a table of pandas, and as entries of pymatgen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from coevo.errors import QueryError
from coevo.node_store.documents import EvaluationDocument

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pandas import DataFrame
    from pymatgen.entries.computed_entries import ComputedStructureEntry

    from coevo.node_store.views import StateView

Kind = Literal["entry", "reference", "all"]

MEMBERS = "energies_above_hull"
"""By member of the second opinion: a column each, ``energies_above_hull.NAME``."""
COLUMNS = tuple(name for name in EvaluationDocument.model_fields if name not in {"structure_id", "relaxed", MEMBERS})
"""Fields of an evaluation that a table holds; the geometry is :meth:`coevo.notebooks.states.State.structure`'s."""

_TYPES = {
    **dict.fromkeys(("is_stable", "is_stable_dft", "is_novel", "is_sun", "is_confidently_sun"), "boolean"),
    **dict.fromkeys(("nelements", "nsites", "space_group", "iteration_added"), "Int64"),
    **dict.fromkeys(
        (
            *("kind", "formula", "chemical_formula_reduced", "chemical_formula_anonymous", "chemsys"),
            *("matched_reference", "duplicate_of", "note"),
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
            "energy_above_hull_std",
            "fmax",
        ),
        "float64",
    ),
}
"""Types of columns: those that pandas guesses would be others in a table without rows, or where values are missing."""


def evaluations_table(view: StateView, where: str | None, kind: Kind) -> DataFrame:
    """Return evaluations as a table; see :meth:`coevo.notebooks.states.State.to_dataframe`."""
    from pandas import DataFrame

    from coevo.node_store.queries.queries import parse_filter

    _check_kind(kind)
    if where is not None and kind != "entry":
        raise QueryError(
            f"to_dataframe: a filter is asked of entries; got kind={kind!r}, allowed: 'entry'; filter the table itself"
        )
    rows = list(view.entries(parse_filter(where))) if where else list(_evaluations(view, kind))
    rows.sort(key=_stability)
    data = {name: [row.get(name) for row in rows] for name in COLUMNS}
    told = (view.document["metrics"].get("committee") or {}).get("members") or ()
    members = sorted({*told, *(name for row in rows for name in row.get(MEMBERS) or ())})
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
    return view.evaluations(None if kind == "all" else kind)


def _check_kind(kind: str) -> None:
    if kind not in {"entry", "reference", "all"}:
        raise QueryError(f"kind: got {kind!r}, allowed: 'entry', 'reference', 'all'")
