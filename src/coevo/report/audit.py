"""The table of the page on the audit: strata, verdicts, and the error of the energy above hull."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.analysis.audit.estimates import VERDICTS
from coevo.analysis.audit.words import STRATUM_WORDS
from coevo.report.tables import PageTable, number

if TYPE_CHECKING:
    from coevo.report.gathering import ReportData


def audit_table(data: ReportData) -> PageTable | None:
    """Make the table; None for a state that nobody looked at."""
    told = data.metrics.get("audit")
    if not told or not told.get("strata"):
        return None
    columns = ("stratum, by the model", "population", "looked at", *VERDICTS, "error, mean", "error, median")
    rows: list[list[Any]] = []
    for name, words in STRATUM_WORDS.items():
        row = told["strata"][name]
        counts = [str(row[key]) for key in ("population", "n", *VERDICTS)]
        rows.append([words, *counts, number(row["error"]["mean"]), number(row["error"]["median"])])
    return PageTable(columns, rows, frozenset(range(1, len(columns))))
