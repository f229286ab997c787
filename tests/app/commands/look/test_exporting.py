"""Tables and files of entries: what labels say of stability stands beside what the force field says."""

from __future__ import annotations

import csv
import io
from typing import Any

from rich.console import Console

from coevo.app.tables.entries import entries_table
from coevo.studies.states.exporting import as_csv

ROW: dict[str, Any] = {
    "structure_id": "ab" * 32,
    "formula": "Li2S",
    "nsites": 6,
    "space_group": 129,
    "energy_per_atom": -4.0,
    "formation_energy_per_atom": -1.481,
    "energy_above_hull": 0.051,
    "energy_above_reference_hull": 0.051,
    "iteration_added": 1,
    "is_sun": True,
}
LABELLED = {**ROW, "structure_id": "cd" * 32, "energy_above_hull_dft": 0.0834, "is_stable_dft": True}


def text_of(*rows: dict[str, Any]) -> str:
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(entries_table(rows, "entries"))
    return console.export_text()


def test_the_column_of_labels_is_there_where_there_are_labels() -> None:
    both = text_of(ROW, LABELLED)
    assert "E_hull DFT" in both
    assert "0.083" in both
    line = next(line for line in both.splitlines() if line.lstrip().startswith("abababab"))
    assert line.split()[-4:] == ["0.051", "–", "1", "S.U.N."]
    assert "DFT" not in text_of(ROW)


def test_the_excess_of_electrons_is_there_where_there_is_one() -> None:
    text = text_of({**ROW, "electron_excess": 0.0}, {**ROW, "structure_id": "ef" * 32, "electron_excess": 0.1})
    assert "excess of electrons in e⁻/atom" in text
    line = next(line for line in text.splitlines() if line.lstrip().startswith("efefefef"))
    assert line.split()[-3:] == ["0.10", "1", "S.U.N."]
    assert "excess" not in text_of({**ROW, "electron_excess": -1.0}, ROW)
    (row,) = csv.DictReader(io.StringIO(as_csv([{**ROW, "electron_excess": 0.1}])))
    assert row["electron_excess"] == "0.1"


def test_csv_has_what_labels_say() -> None:
    plain, labelled = csv.DictReader(io.StringIO(as_csv([ROW, LABELLED])))
    assert (plain["energy_above_hull_dft"], labelled["energy_above_hull_dft"]) == ("", "0.0834")
    assert labelled["is_stable_dft"] == "True"


def test_what_an_auditor_says_stands_beside_the_model_s_mark() -> None:
    text = text_of(ROW, {**ROW, "structure_id": "ef" * 32, "audit_verdict": "unstable"})
    assert "S.U.N.: by the model alone" in " ".join(text.split())
    line = next(line for line in text.splitlines() if line.lstrip().startswith("efefefef"))
    assert line.rstrip().endswith("S.U.N., auditor: unstable")
    assert "by the model alone" not in text_of({**ROW, "is_sun": False})
