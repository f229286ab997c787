"""Print or write query results: table, CSV, JSON, CIF, extended XYZ."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.node_store.views import StateView

FORMATS = ("table", "csv", "json", "cif", "extxyz")
COLUMNS = {
    "structure_id": "id",
    "formula": "formula",
    "nsites": "atoms",
    "space_group": "space group",
    "energy_per_atom": "E (eV/atom)",
    "formation_energy_per_atom": "E_form (eV/atom)",
    "energy_above_hull": "E_hull (eV/atom)",
    "energy_above_reference_hull": "E_ref_hull (eV/atom)",
    "is_stable": "stable",
    "is_novel": "novel",
    "is_sun": "S.U.N.",
    "iteration_added": "iteration",
    "matched_reference": "matches",
    "duplicate_of": "duplicate of",
}


def _cell(key: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else ""
    if isinstance(value, float):
        return f"{value:.4f}"
    return str(value)[:12] if key in {"structure_id", "matched_reference", "duplicate_of"} else str(value)


def entries_table(rows: Sequence[dict[str, Any]], title: str) -> Table:
    """Return entries as a table for the terminal."""
    table = Table(title=title, title_justify="left")
    shown = [key for key in COLUMNS if key not in {"energy_per_atom", "formation_energy_per_atom"}]
    for key in shown:
        justify = "left" if key in {"structure_id", "formula"} else "right"
        table.add_column(COLUMNS[key], justify=justify)  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*[_cell(key, row.get(key)) for key in shown])
    return table


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Return entries as CSV with the field names of the documents (units: docs/data.md)."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(COLUMNS), extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def as_json(rows: Sequence[dict[str, Any]]) -> str:
    """Return whole evaluation documents as a JSON list."""
    return json.dumps(list(rows), indent=2, allow_nan=False) + "\n"


def as_cif(view: StateView, rows: Sequence[dict[str, Any]]) -> str:
    """Return structures at the state's geometry as one CIF with a block for each entry."""
    from pymatgen.io.cif import CifWriter

    blocks = []
    for row in rows:
        text = str(CifWriter(view.structure(row["structure_id"]), significant_figures=12))
        # CifWriter names the block after the formula; two blocks of one name would make one of them unreadable.
        lines = ["data_" + row["structure_id"][:16] if line.startswith("data_") else line for line in text.splitlines()]
        blocks.append("\n".join(lines))
    return "\n".join(blocks) + "\n"


def as_extxyz(view: StateView, rows: Sequence[dict[str, Any]]) -> str:
    """Return structures at the state's geometry as extended XYZ; scalar fields go to the comment line."""
    from ase.io import write
    from pymatgen.io.ase import AseAtomsAdaptor

    frames = []
    for row in rows:
        atoms = AseAtomsAdaptor.get_atoms(view.structure(row["structure_id"]), msonable=False)
        atoms.info = {key: row[key] for key in COLUMNS if row.get(key) is not None}
        frames.append(atoms)
    if not frames:
        return ""
    buffer = io.StringIO()
    write(buffer, frames, format="extxyz")
    return buffer.getvalue()
