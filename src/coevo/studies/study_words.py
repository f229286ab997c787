"""What a study says, in words and tables: for the terminal, the report and files.

A document may come from a stranger, and of a kind that this version does not know: what the words of its kind cannot read is said
to be so, and the rest is shown.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coevo.analysis.stiffness.softness import softness_lines
from coevo.flows.studies.registry import KINDS, part
from coevo.output import plain_text
from coevo.output.plain_text import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.node_store.study_documents import StoredStudy

SHORT_ID = 10
"""Digits of an id that are shown."""
MOST_FORMULAS = 4
MOST_ROWS = 5000
"""Rows of a table that are shown, at most."""


@dataclass(frozen=True)
class StudyTable:
    """A table of a study.

    Attributes
    ----------
    title : str
    columns : tuple of str
        With units.
    rows : tuple of tuple
        Texts, numbers, booleans or None.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]


def described(study: StoredStudy) -> dict[str, Any]:
    """Return a study for programs: its document with its id, when it was stored, and with what it came."""
    return {"id": study.id, "stored": study.stored, "origin": study.origin, **study.document}


def head_of(study: StoredStudy) -> dict[str, Any]:
    """Return what a list of studies says of one, for programs: all but what it found."""
    return {key: value for key, value in described(study).items() if key not in {"results", "entries"}}


def title_of(study: StoredStudy) -> str:
    """Name a study: kind, phases, state, id."""
    return f"{study.study} of {phases_text(study)}, state {study.state[:8]}, study {study.id[:SHORT_ID]}"


def phases_text(study: StoredStudy) -> str:
    """Say which phases a study is of, in few words: ``3 Li3PS4, Li2S``."""
    counts = Counter(str(phase["formula"]) for phase in study.document["phases"])
    named = [f"{number} {formula}" if number > 1 else formula for formula, number in counts.most_common(MOST_FORMULAS)]
    more = len(counts) - len(named)
    return ", ".join(named) + (f" and {counted(more, 'formulas')} more" if more > 0 else "") if named else "no phase"


def study_lines(study: StoredStudy) -> list[str]:
    """Return what a study says, by the words of its kind, then how soft its force field is, and what made its numbers."""
    document = study.document
    packages = ", ".join(f"{name} {version}" for name, version in sorted(document["packages"].items()))
    models = ", ".join(f"{role} {sha256[:12]}" for role, sha256 in sorted(document["checkpoints"].items()))
    return [
        *_summary(study),
        *softness_lines(document["softness"]),
        f"made by {models}" + (f"; {packages}" if packages else ""),
    ]


def _summary(study: StoredStudy) -> list[str]:
    if study.study not in KINDS:
        return [f"this coevo knows no study {study.study!r}; its results are shown as they are by --format json"]
    try:
        return [str(line) for line in part(KINDS[study.study].summary)(study.document)]
    except Exception as err:  # noqa: BLE001 - of a document that this version did not write
        return [f"its results cannot be read by this coevo ({type(err).__name__}); --format json shows them as they are"]


def study_tables(study: StoredStudy) -> list[StudyTable]:
    """Return the tables of a study; none of one that this version cannot read (the lines say so)."""
    if study.study not in KINDS:
        return []
    try:
        found = part(KINDS[study.study].tables)(study.document)
        return [_table(*table) for table in found]
    except Exception:  # noqa: BLE001 - as above
        return []


def _table(title: Any, columns: Sequence[Any], rows: Sequence[Sequence[Any]]) -> StudyTable:
    if any(len(row) != len(columns) for row in rows):
        raise ValueError("a row has another number of cells than the table has columns")
    return StudyTable(str(title), tuple(map(str, columns)), tuple(tuple(map(_cell, row)) for row in rows[:MOST_ROWS]))


def _cell(value: Any) -> Any:
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)


def cell_text(value: Any) -> str:
    """Return a cell as text: numbers with five digits, a dash for None."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.5g}" if isinstance(value, float) else str(value)


def tables_csv(tables: Sequence[StudyTable]) -> str:
    """Return tables as CSV, each after a line with its title, with an empty line between them."""
    return "\n".join(_csv(table, titled=len(tables) > 1) for table in tables)


def _csv(table: StudyTable, *, titled: bool) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if titled:
        writer.writerow([f"# {plain_text.plain(table.title)}"])
    writer.writerow([plain_text.plain(column) for column in table.columns])
    for row in table.rows:
        writer.writerow(["" if cell is None else plain_text.plain(cell) if isinstance(cell, str) else cell for cell in row])
    return text.getvalue()
