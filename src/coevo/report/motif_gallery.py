"""Motifs of the state: the gallery of the page, and which entry has which."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coevo.report.figures.motifs import motif_plot
from coevo.report.figures.plots import DataTable
from coevo.report.gathering import SHORT_ID, geometries
from coevo.report.tables import number

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coevo.analysis.motifs.census import Carrier, CensusRow
    from coevo.report.figures.plots import Plot
    from coevo.report.gathering import ReportData

MOST_CARDS = 40
"""Pictures on the page; all motifs are in the CSV."""
COLUMNS = (
    "motif",
    "label",
    "kind",
    "charge (e)",
    "has a name of its own",
    "entries with it",
    "share of the atoms of entries (fraction)",
    "first iteration",
    "lowest E_hull of an entry with it (eV/atom)",
    "that entry",
    "references have it",
)


@dataclass(frozen=True)
class MotifCard:
    """One motif of the gallery.

    Attributes
    ----------
    name, alt : str
    svg : Markup
        Our own drawing.
    lines : list of str
    """

    name: str
    alt: str
    svg: Any
    lines: list[str]


@dataclass(frozen=True)
class MotifSection:
    """What the page says of motifs.

    Attributes
    ----------
    text : str
    plot : Plot
        Panel (f).
    cards : list of MotifCard
    data : DataTable
        All motifs.
    of_entry : dict of str to str
        Names of the motifs of S.U.N. entries in the table.
    """

    text: str
    plot: Plot
    cards: list[MotifCard]
    data: DataTable
    of_entry: dict[str, str]
    name: str = "motifs"


def motif_section(data: ReportData, most_entries: int, workers: int = 1) -> MotifSection:
    """Count the motifs of a state's entries and references.

    Parameters
    ----------
    data : ReportData
    most_entries : int
        Of the best S.U.N. entries the motifs are listed one by one.
    workers : int
        Processes.
    """
    from coevo.analysis.motifs.census import census

    rows = census(_carriers(data), workers=workers)
    cards = _cards(rows)
    named = sum(row.motif.known for row in rows)
    new = sum(not row.in_references for row in rows)
    text = (
        f"{len(rows)} motifs: pieces of the bond graph of the non-metal atoms (anions, molecules, chains, layers, frameworks) of "
        f"entries and references. {named} have a name of their own, the others are called by formula and label; {new} are in no "
        f"reference. {'All are shown' if len(cards) == len(rows) else f'{len(cards)} are shown'}, those with a name first."
    )
    table = DataTable(COLUMNS, [_data_row(row) for row in rows])
    return MotifSection(text, motif_plot(data, rows), cards, table, _motifs_of_best(data, most_entries))


def _carriers(data: ReportData) -> Iterator[Carrier]:
    from coevo.analysis.motifs.census import Carrier

    rows = [*data.references, *data.live_entries]
    for row, (identifier, structure) in zip(rows, geometries(data.view, [row["structure_id"] for row in rows]), strict=True):
        yield Carrier(identifier, structure, row["energy_above_hull"], row["iteration_added"], row["kind"] == "reference")


def _motifs_of_best(data: ReportData, most: int) -> dict[str, str]:
    from coevo.analysis.motifs.motifs import motifs_of

    ids = [row["structure_id"] for row in data.sun_entries[:most]]
    return {
        identifier: ", ".join(motif.name for motif in motifs_of(structure)) or "none (a metal)"
        for identifier, structure in geometries(data.view, ids)
    }


def gallery_order(row: CensusRow) -> tuple[Any, ...]:
    """Order of the gallery: named motifs first, then by when they appeared, then by the lowest E_hull."""
    appeared = -1 if row.first_iteration is None else row.first_iteration
    best = float("inf") if row.best_e_hull is None else row.best_e_hull
    return not row.motif.known, appeared, best, row.motif.name, row.motif.label


def _cards(rows: list[CensusRow]) -> list[MotifCard]:
    from markupsafe import Markup

    from coevo.report.motif_pictures import motif_svg

    cards = []
    for row in sorted(rows, key=gallery_order)[:MOST_CARDS]:
        alt = f"Balls and sticks: {row.motif.name}, a {row.motif.kind} of {row.motif.formula}"
        # our own drawing, of element symbols and numbers
        cards.append(MotifCard(row.motif.name, alt, Markup(motif_svg(row.motif)), _lines(row)))  # noqa: S704
    return cards


def charge_text(charge: int | None) -> str:
    """Charge as chemists write it."""
    if charge is None:
        return "charge not counted"
    if charge == 0:
        return "neutral"
    return f"charge {abs(charge)}" + ("+" if charge > 0 else "\u2212")


def _lines(row: CensusRow) -> list[str]:
    lines = [f"{row.motif.kind}, {charge_text(row.motif.charge)}"]
    if row.carriers:
        since = "" if row.first_iteration is None else f", first in iteration {row.first_iteration}"
        lines.append(f"in {row.carriers} {'entry' if row.carriers == 1 else 'entries'}{since}")
        lines.append(f"lowest E_hull {number(row.best_e_hull)} eV/atom ({(row.best_carrier or '')[:SHORT_ID]})")
    else:
        lines.append("in no entry")
    lines.append(
        "in references too" if row.in_references and row.carriers else "in references" if row.in_references else "in no reference"
    )
    return lines


def _data_row(row: CensusRow) -> tuple[Any, ...]:
    return (
        row.motif.name,
        row.motif.label,
        row.motif.kind,
        row.motif.charge,
        row.motif.known,
        row.carriers,
        row.atoms_share,
        row.first_iteration,
        row.best_e_hull,
        row.best_carrier,
        row.in_references,
    )
