"""The studies of a state on its page: what each says, how soft its force field is, and its tables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coevo.output.plain_text import counted
from coevo.report.figures.plots import DataTable
from coevo.report.tables import PageTable
from coevo.studies.study_words import cell_text, phases_text, study_lines, study_tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.node_store.study_documents import StoredStudy
    from coevo.report.gathering import ReportData
    from coevo.studies.study_words import StudyTable

MOST_STUDIES = 20
"""Studies that the page shows, the newest first."""
MOST_ROWS = 200
"""Rows of a table on the page; its CSV has all."""


@dataclass(frozen=True)
class StudySection:
    """A study on the page.

    Attributes
    ----------
    title : str
    id : str
    came : str
        With what it came; empty if it was made here.
    lines : list of str
    tables : list of StudyPageTable
    """

    title: str
    id: str
    came: str
    lines: list[str]
    tables: list[StudyPageTable]


@dataclass(frozen=True)
class StudyPageTable:
    """A table of a study, and its data.

    Attributes
    ----------
    name : str
        Stem of the CSV.
    title : str
    table : PageTable
    data : DataTable
    """

    name: str
    title: str
    table: PageTable
    data: DataTable


def study_sections(data: ReportData) -> list[StudySection]:
    """Return the studies of a state, the newest first."""
    return sections_of(data.studies)


def sections_of(studies: Sequence[StoredStudy]) -> list[StudySection]:
    """Return studies, given in the order in which they were stored, the newest first."""
    return [_section(study) for study in studies[::-1][:MOST_STUDIES]]


def studied_text(data: ReportData) -> str:
    """Say how many S.U.N. entries are dynamically stable by studies; empty if none speaks of one."""
    said = [row["dynamically_stable"] for row in data.sun_entries if "dynamically_stable" in row]
    if not said:
        return ""
    unknown = len(data.sun_entries) - len(said)
    return (
        f"Of {counted(len(data.sun_entries), 'S.U.N. entries')} the state's force field calls {sum(said)} dynamically stable and "
        f"{len(said) - sum(said)} not; of {unknown} it is not known."
    )


def _section(study: StoredStudy) -> StudySection:
    tables = [_table(study, number, table) for number, table in enumerate(study_tables(study), start=1)]
    return StudySection(f"{study.study}: {phases_text(study)}", study.id, study.origin, study_lines(study), tables)


def _table(study: StoredStudy, number: int, found: StudyTable) -> StudyPageTable:
    rows = [[cell_text(cell) for cell in row] for row in found.rows[:MOST_ROWS]]
    left_out = len(found.rows) - len(rows)
    title = found.title + (f" (the first {len(rows)} of {len(found.rows)} rows)" if left_out else "")
    kind = re.sub(r"[^a-z0-9-]", "", study.study)
    return StudyPageTable(
        f"study-{kind}-{study.id[:10]}-{number}",
        title,
        PageTable(found.columns, rows, _numeric(found.rows, len(found.columns))),
        DataTable(found.columns, list(found.rows)),
    )


def _numeric(rows: Sequence[tuple[Any, ...]], columns: int) -> frozenset[int]:
    """Columns without texts."""
    return frozenset(place for place in range(columns) if not any(isinstance(row[place], str) for row in rows))
