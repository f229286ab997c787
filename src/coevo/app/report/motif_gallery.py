"""Motifs of the state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coevo.app.report.plots import DataTable, Plot

if TYPE_CHECKING:
    from coevo.app.report.gathering import ReportData


@dataclass(frozen=True)
class MotifSection:
    text: str
    plot: Plot
    cards: list[Any]
    data: DataTable
    of_entry: dict[str, str]
    name: str = "motifs"


def motif_section(data: ReportData) -> MotifSection:
    """Return the section."""
    table = DataTable((), [])
    plot = Plot("motif-appearance", "Motifs", "", "", {}, lambda figure: None, missing="not yet")
    return MotifSection("", plot, [], table, {})
