"""Query results as texts: CSV, JSON, CIF, extended XYZ.

Also here: structures as texts of CIF and POSCAR, in the cell that is asked for; and what the files of many are called.
"""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from typing import TYPE_CHECKING, Any

from coevo.analysis.standard_cells import ANGLE_TOLERANCE, IDEAL, StandardCell, standard_cell
from coevo.errors import QueryError
from coevo.output import plain_text
from coevo.output.plain_text import json_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pymatgen.core import Structure

    from coevo.analysis.standard_cells import Setting
    from coevo.node_store.views import StateView


SUFFIXES = {"cif": ".cif", "poscar": ".vasp"}
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time of a zip archive: the same structures give the same bytes."""


def setting_of(
    format: str,  # noqa: A002
    *,
    primitive: bool = False,
    conventional: bool = False,
    as_is: bool = False,
) -> Setting:
    """Return the cell that options ask for; by default conventional for CIF, and as stored for all else.

    Raises
    ------
    QueryError
        If several are asked for, or one for a format that has no structures of its own cell.
    """
    asked: list[Setting] = []
    asked += ["primitive"] if primitive else []
    asked += ["conventional"] if conventional else []
    asked += ["as-is"] if as_is else []
    options = " and ".join(f"--{name}" for name in asked)
    if len(asked) > 1:
        raise QueryError(f"{options}: a structure has one cell; give one of --primitive, --conventional, --as-is")
    if asked and format not in SUFFIXES:
        raise QueryError(f"{options}: says which cell of a structure is written; add --format cif or --format poscar")
    if asked:
        return asked[0]
    return "conventional" if format == "cif" else "as-is"


def cif_text(structure: Structure, block: str, setting: Setting = "conventional") -> tuple[str, str]:
    """Return a structure as a CIF of one data block, and why it is not in the setting asked for (empty if it is).

    Space group, tolerance and cell stand in comments under the block's name, so that they travel with it.
    """
    from pymatgen.io.cif import CifWriter

    cell = standard_cell(structure, setting)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if cell.setting == "as-is":
            writer = CifWriter(cell.structure, significant_figures=12)
        else:
            writer = CifWriter(
                cell.structure, symprec=IDEAL, angle_tolerance=ANGLE_TOLERANCE, refine_struct=False, significant_figures=12
            )
    lines = str(writer).splitlines()
    # CifWriter names the block after the formula; two blocks of one name would make one of them unreadable.
    start = next(number for number, line in enumerate(lines) if line.startswith("data_"))
    return "\n".join([*lines[:start], f"data_{block}", *_remarks(cell), *lines[start + 1 :]]) + "\n", cell.remark


def _remarks(cell: StandardCell) -> list[str]:
    """Comment lines; CIF is ASCII."""
    found = f"{cell.symbol} ({cell.number})" if cell.number is not None else "none found"
    tolerances = f"symprec {cell.symprec:g} Angstrom, angle tolerance {ANGLE_TOLERANCE:g} degrees"
    settings = {
        "conventional": "conventional standard cell (International Tables), idealised",
        "primitive": "primitive standard cell (Setyawan and Curtarolo 2010), idealised",
        "as-is": "cell as stored, listed in P 1",
    }
    lines = [f"space group {found} by spglib, {tolerances}", settings[cell.setting]]
    if cell.remark:
        lines.append(f"not idealised: {cell.remark}")
    return ["# " + line.encode("ascii", "replace").decode() for line in lines]


def poscar_text(structure: Structure, title: str, setting: Setting = "as-is") -> tuple[str, str]:
    """Return a structure as a POSCAR, its elements grouped, and why it is not in the setting asked for (empty if it is)."""
    from pymatgen.io.vasp import Poscar

    cell = standard_cell(structure, setting) if setting != "as-is" else None
    chosen = cell.structure if cell else structure
    words = f"{title} {cell.setting} cell, {cell.group}" if cell else title
    comment = words.replace("Å", "Angstrom").encode("ascii", "replace").decode()
    text = Poscar(chosen.get_sorted_structure(), comment=comment).get_str(significant_figures=12)
    return text, cell.remark if cell else ""


def entry_text(view: StateView, row: dict[str, Any], format: str, setting: Setting) -> tuple[str, str]:  # noqa: A002
    """Return an entry or reference at the state's geometry as ``cif`` or ``poscar``, and the remark of :func:`cif_text`."""
    structure = view.structure(row["structure_id"])
    if format == "cif":
        return cif_text(structure, row["structure_id"][:16], setting)
    return poscar_text(structure, f"{structure.composition.reduced_formula} {row['structure_id'][:16]}", setting)


def entry_texts(
    view: StateView,
    rows: Sequence[dict[str, Any]],
    format: str,  # noqa: A002
    setting: Setting,
) -> tuple[dict[str, str], list[str]]:
    """Return texts by file name, and a line for each structure that is not in the setting asked for."""
    texts, remarks = {}, []
    for row in rows:
        structure_id = row["structure_id"]
        formula = view.structure(structure_id).composition.reduced_formula
        text, remark = entry_text(view, row, format, setting)
        # of the geometry's own formula and id, which a stranger cannot choose
        texts[f"{formula}-{structure_id[:16]}{SUFFIXES[format]}"] = text
        if remark:
            remarks.append(f"{formula} {structure_id[:8]} is written as it is stored: {remark}")
    return texts, remarks


def as_zip(texts: Iterable[tuple[str, str]]) -> bytes:
    """Return files as a zip; the same texts give the same bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in texts:
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), text, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


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
    "electron_excess",
    "is_stable",
    "is_novel",
    "is_sun",
    "iteration_added",
    "matched_reference",
    "duplicate_of",
    "energy_above_hull_dft",
    "is_stable_dft",
    "hull_status",
    "model_energy_per_atom",
    "scale_sensitive",
    "energy_above_hull_uncorrected",
    "audit_verdict",
    "energy_above_hull_audit",
    "energy_above_hull_std",
    "is_confidently_sun",
    "dynamically_stable",
)
"""Fields of an entry that CSV and extended XYZ hold."""


def as_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Return entries as CSV with the field names of the documents (units: docs/data.md)."""
    members = sorted({name for row in rows for name in row.get("energies_above_hull") or ()})
    flat = [
        {**row, **{f"energies_above_hull.{name}": value for name, value in (row.get("energies_above_hull") or {}).items()}}
        for row in rows
    ]
    return plain_text.as_csv((*COLUMNS, *(f"energies_above_hull.{name}" for name in members)), flat)


def as_json(rows: Sequence[dict[str, Any]]) -> str:
    """Return whole evaluation documents as a JSON list."""
    return json_text(list(rows))


def as_cif(view: StateView, rows: Sequence[dict[str, Any]]) -> str:
    """Return structures at the state's geometry as one CIF with a block for each entry, in conventional standard cells."""
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
