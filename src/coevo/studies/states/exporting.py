"""Print or write query results: table, CSV, JSON, CIF, extended XYZ."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from coevo.output import plain_text
from coevo.output.plain_text import json_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.node_store.views import StateView

COLUMNS = (
    "structure_id",
    "formula",
    "nsites",
    "space_group",
    "energy_per_atom",
    "formation_energy_per_atom",
    "energy_above_hull",
    "energy_above_reference_hull",
    "fmax",
    "is_stable",
    "is_novel",
    "is_sun",
    "iteration_added",
    "matched_reference",
    "duplicate_of",
    "energy_above_hull_dft",
    "is_stable_dft",
)
"""Fields of an entry that CSV and extended XYZ hold."""

SHORT_ID = 8


def _remark(row: dict[str, Any]) -> str:
    if row.get("duplicate_of"):
        return f"= {row['duplicate_of'][:SHORT_ID]}"
    if row.get("matched_reference"):
        return f"ref {row['matched_reference'][:SHORT_ID]}"
    return "S.U.N." if row.get("is_sun") else ("stable" if row.get("is_stable") else "")


def entries_table(rows: Sequence[dict[str, Any]], title: str) -> Table:
    """Return entries as a table for the terminal."""
    table = Table(
        title=title,
        title_justify="left",
        caption="energies in eV/atom; = duplicate of, ref: matches a reference (coevo show REF ID)",
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=0,
    )
    has_labels = any(row.get("energy_above_hull_dft") is not None for row in rows)
    by_labels = ("E_hull DFT",) if has_labels else ()
    for name in ("id", "formula", "atoms", "s.g.", "E_form", "E_hull", "E_ref_hull", *by_labels, "it.", ""):
        right = name not in {"id", "formula", ""}
        table.add_column(name, justify="right" if right else "left", no_wrap=True)
    for row in rows:
        energies = [f"{row[key]:.3f}" for key in COLUMNS[5:8]]
        if has_labels:
            labelled = row.get("energy_above_hull_dft")
            energies.append("–" if labelled is None else f"{labelled:.3f}")
        group = "–" if row["space_group"] is None else str(row["space_group"])
        start = (row["structure_id"][:SHORT_ID], row["formula"], str(row["nsites"]), group)
        table.add_row(*start, *energies, str(row["iteration_added"]), _remark(row))
    return table


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Return entries as CSV with the field names of the documents (units: docs/data.md)."""
    return plain_text.as_csv(COLUMNS, rows)


def as_json(rows: Sequence[dict[str, Any]]) -> str:
    """Return whole evaluation documents as a JSON list."""
    return json_text(list(rows))


def as_cif(view: StateView, rows: Sequence[dict[str, Any]]) -> str:
    """Return structures at the state's geometry as one CIF with a block for each entry, in conventional standard cells."""
    from coevo.studies.states.structure_texts import entry_text

    return "".join(entry_text(view, row, "cif", "conventional")[0] for row in rows)


def as_extxyz(view: StateView, rows: Sequence[dict[str, Any]]) -> str:
    """Return structures at the state's geometry as extended XYZ; scalar fields go to the comment line."""
    from ase.io import write
    from pymatgen.io.ase import AseAtomsAdaptor

    frames = []
    for row in rows:
        atoms = AseAtomsAdaptor.get_atoms(view.structure(row["structure_id"]), msonable=False)
        atoms.info = {key: _comment_value(row[key]) for key in COLUMNS if row.get(key) is not None}
        frames.append(atoms)
    if not frames:
        return ""
    buffer = io.StringIO()
    write(buffer, frames, format="extxyz")
    return buffer.getvalue()


def _comment_value(value: Any) -> Any:
    """Return a value as the comment line of extended XYZ can hold it: a word of letters, so that no text ends the line."""
    return re.sub(r"[^\w.,:;/()+-]", "_", value, flags=re.ASCII) if isinstance(value, str) else value
