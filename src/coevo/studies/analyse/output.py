"""Files that ``coevo analyse --output`` writes: the numbers as JSON, the structures as CSV."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from coevo.errors import AnalysisError
from coevo.output.files import check_directory, write_text
from coevo.output.plain_text import csv_text, json_text

if TYPE_CHECKING:
    from pathlib import Path

    from coevo.studies.analyse.summary import Analysis

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
_HEADER = ",".join((*COLUMNS, *MEASURED))


def check_output(directory: Path, force: bool) -> bool:
    """Refuse a directory that has files of these names that are no analysis, before the work.

    Returns
    -------
    bool
        Whether files may be replaced: an earlier analysis may, anything else with ``force`` only.

    Raises
    ------
    StorageError
        As :func:`coevo.output.files.check_directory`.
    """
    replace = force or _is_analysis(directory)
    check_directory(directory, (SUMMARY, STRUCTURES), replace)
    return replace


def _is_analysis(directory: Path) -> bool:
    """Whether both files are there and look like those that are written here; links do not."""
    summary, structures = directory / SUMMARY, directory / STRUCTURES
    try:
        if summary.is_symlink() or structures.is_symlink():
            return False
        numbers = json.loads(summary.read_text(encoding="utf-8"))
        with structures.open(encoding="utf-8") as file:
            header = file.readline().rstrip("\n")
    except (OSError, ValueError):
        return False
    return isinstance(numbers, dict) and numbers.keys() >= {"source", "read", "rejected", "settings"} and header == _HEADER


def write_analysis(analysis: Analysis, directory: Path, *, force: bool = False) -> list[Path]:
    """Write ``summary.json`` and ``structures.csv``, each whole or not at all; rows are in the order of the pile.

    Raises
    ------
    AnalysisError
        If the directory cannot be made.
    StorageError
        If a file cannot be written, or is there already and ``force`` does not say that it may be replaced.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise AnalysisError(f"--output {directory}: {err.strerror}; choose another place") from None
    return [
        write_text(directory / SUMMARY, json_text(analysis.numbers), force=force),
        write_text(directory / STRUCTURES, _rows(analysis), force=force),
    ]


def _rows(analysis: Analysis) -> str:
    return csv_text(
        (*COLUMNS, *MEASURED),
        (
            [*(getattr(row, column) for column in COLUMNS), *(getattr(row.validity, column, None) for column in MEASURED)]
            for row in analysis.batch.rows
        ),
    )
