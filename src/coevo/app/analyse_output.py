"""Files that ``coevo analyse --output`` writes: the numbers as JSON, the structures as CSV."""

from __future__ import annotations

import csv
import json
from typing import IO, TYPE_CHECKING

from coevo.app.output_files import write_file
from coevo.errors import AnalysisError

if TYPE_CHECKING:
    from pathlib import Path

    from coevo.app.analyse_summary import Analysis

SUMMARY, STRUCTURES = "summary.json", "structures.csv"
COLUMNS = (
    "id",
    "reason",
    "detail",
    "content",
    "formula",
    "atoms",
    "space_group",
    "energy_per_atom",
    "energy_above_hull",
    "energy_above_reference_hull",
    "representative",
    "matched_reference",
)
MEASURED = ("shortest_distance", "shortest_ratio", "volume_per_atom", "structure_valid", "composition_valid")
"""Fields of :class:`coevo.analysis.validity.Validity` that are columns too."""


def write_analysis(analysis: Analysis, directory: Path) -> list[Path]:
    """Write ``summary.json`` and ``structures.csv``, each whole or not at all; rows are in the order of the pile.

    Raises
    ------
    AnalysisError
        If the directory cannot be written to.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise AnalysisError(f"--output {directory}: {err.strerror}; choose another place") from None
    return [
        write_file(directory / SUMMARY, lambda file: file.write(json.dumps(analysis.numbers, indent=2, allow_nan=False) + "\n")),
        write_file(directory / STRUCTURES, lambda file: _write_rows(analysis, file)),
    ]


def _write_rows(analysis: Analysis, file: IO[str]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*COLUMNS, *MEASURED])
    for row in analysis.batch.rows:
        measured = [getattr(row.validity, column, None) for column in MEASURED]
        writer.writerow([*(getattr(row, column) for column in COLUMNS), *measured])
