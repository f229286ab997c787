"""Structures of the report: a CIF for each of the best S.U.N. entries, and all of these in one archive and one file."""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, Any

from coevo.studies.states.exporting import as_cif, as_extxyz

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from coevo.node_store.views import StateView

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time of a zip archive: the same structures give the same bytes."""


def cif_name(row: dict[str, Any]) -> str:
    """File name of an entry; of its id alone, which a stranger cannot choose."""
    return f"{row['structure_id'][:16]}.cif"


def write_structures(folder: Path, view: StateView, rows: Sequence[dict[str, Any]]) -> None:
    """Write the structures of entries: ``ID.cif`` each, ``sun.zip`` of them, ``sun.extxyz``."""
    with zipfile.ZipFile(folder / "sun.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for row in rows:
            text = as_cif(view, [row])
            (folder / cif_name(row)).write_text(text, encoding="utf-8")
            archive.writestr(zipfile.ZipInfo(cif_name(row), _EPOCH), text, zipfile.ZIP_DEFLATED)
    (folder / "sun.extxyz").write_text(as_extxyz(view, rows), encoding="utf-8")
