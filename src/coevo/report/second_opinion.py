"""The section of the page on the second opinion: its members, how far they agree, and what their spread is worth."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coevo.report.figures.plots import Plot, formula_text
from coevo.report.figures.second_opinion import agreement_plot, calibration_plot
from coevo.report.tables import DASH, Cell, PageTable, number
from coevo.studies.states.second_opinion import agreement_words, calibration_words, opinion_words, sun_words

if TYPE_CHECKING:
    from coevo.report.gathering import ReportData

MOST_DISPUTED = 20


@dataclass(frozen=True)
class OpinionSection:
    """What the page says of the second opinion.

    Attributes
    ----------
    text : list of str
        Paragraphs.
    plots : list of Plot
    members, disputed : PageTable
        Members; and the entries that they differ most about.
    """

    text: list[str]
    plots: list[Plot]
    members: PageTable
    disputed: PageTable


def opinion_section(data: ReportData) -> OpinionSection | None:
    """Make the section; None for a state of one model alone."""
    told = data.metrics.get("committee")
    if not told:
        return None
    words = (opinion_words(data.metrics), agreement_words(data.metrics), calibration_words(data.metrics))
    return OpinionSection(
        [f"{text[:1].upper()}{text[1:]}." for text in words if text],
        [agreement_plot(data), calibration_plot(data)],
        _members(data, told),
        _disputed(data, told["agreement"]["voices"][1:]),
    )


def _members(data: ReportData, told: dict[str, Any]) -> PageTable:
    agreement = told["agreement"]
    stable = dict(zip(agreement["voices"], agreement["stable"], strict=True))
    own, error = told["force_field"], number(data.metrics.get("energy_rmse_mev_per_atom"), 1)
    rows: list[list[Any]] = [
        ["the state's own force field", own["family"], own["training"], _count(stable.get("force_field")), error, ""]
    ]
    for name, member in told["members"].items():
        test = (member.get("fit") or {}).get("test") or {}
        error = number(test.get("energy_rmse_mev_per_atom"), 1)
        what = str(member["family"]) + (f"/{member['weights']}" if member["weights"] else ", fitted beside it")
        rows.append([name, what, member["training"], _count(stable.get(name)), error, member["reason"]])
    columns = ("model", "family", "trained on", "calls stable", "energy RMSE, test (meV/atom)", "why it has no say")
    return PageTable(columns, rows, frozenset({3, 4}))


def _count(value: int | None) -> str:
    return DASH if value is None else str(value)


def _disputed(data: ReportData, members: list[str]) -> PageTable:
    rows = [row for row in data.live_entries if row.get("energy_above_hull_std") is not None]
    rows.sort(key=lambda row: (-row["energy_above_hull_std"], row["structure_id"]))
    cells: list[list[Any]] = [
        [
            formula_text(row["formula"]),
            number(row["energy_above_hull"]),
            *(number((row.get("energies_above_hull") or {}).get(name)) for name in members),
            number(row["energy_above_hull_std"]),
            sun_words(row) or DASH,
            Cell(row["structure_id"][:16], code=True),
        ]
        for row in rows[:MOST_DISPUTED]
    ]
    columns = ("formula", "E_hull, own", *members, "standard deviation", "S.U.N.", "id")
    return PageTable(columns, cells, frozenset(range(1, 3 + len(members))))
