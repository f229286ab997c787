"""Tables of studies for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table

from coevo.output.plain_text import counted
from coevo.studies.states.graph import SHORT_ID
from coevo.studies.study_words import SHORT_ID as SHORT_STUDY
from coevo.studies.study_words import StudyTable, cell_text, phases_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.node_store.study_documents import StoredStudy


def studies_table(studies: Sequence[StoredStudy], node: str) -> Table:
    """Return one row a study, the newest first."""
    table = Table(
        title=f"{node}: {counted(len(studies), 'studies')}, newest first",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for name in ("study", "kind", "state", "phases", "says of", "stored"):
        table.add_column(name, overflow="fold", no_wrap=name in {"study", "kind", "state"})
    for study in studies:
        table.add_row(
            study.id[:SHORT_STUDY],
            study.study,
            study.state[:SHORT_ID],
            phases_text(study),
            counted(len(study.document["entries"]), "entries") if study.document["entries"] else "",
            study.stored[:16].replace("T", " "),
        )
    return table


def study_table(table: StudyTable) -> Table:
    """Return a table of a study."""
    shown = Table(title=table.title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for place, name in enumerate(table.columns):
        texts = any(isinstance(row[place], str) for row in table.rows if place < len(row))
        shown.add_column(name, justify="left" if texts else "right", overflow="fold")
    for row in table.rows:
        shown.add_row(*map(cell_text, row))
    return shown
