"""The census of motifs, and the report on cut-offs, as tables, CSV and JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from coevo.output.plain_text import as_csv
from coevo.studies.states.graph import SHORT_ID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.analysis.motifs.bond_tolerance import Tolerance
    from coevo.analysis.motifs.census import CensusRow, Survey

COLUMNS = (
    "name",
    "label",
    "formula",
    "charge",
    "kind",
    "known",
    "rings",
    "bridges",
    "carriers",
    "atoms_share",
    "first_iteration",
    "by_iteration",
    "best_e_hull",
    "best_carrier",
    "in_references",
    "references",
)
"""Columns of the CSV: atoms_share is a fraction, best_e_hull eV/atom; lists are separated by semicolons."""

TOLERANCE_COLUMNS = ("pair", "cutoff", "bonds", "longest_bond", "shortest_other", "within_5_percent", "within_10_percent")


def charge_text(charge: int | None) -> str:
    """A charge as chemists write it: ``3-``, ``1-``, ``0``; ``?`` if it is unknown."""
    if charge is None:
        return "?"
    return f"{abs(charge)}{'-' if charge < 0 else '+'}" if charge else "0"


def census_table(survey: Survey, source: str, rows: Sequence[CensusRow]) -> Table:
    """Return the table that ``coevo motifs`` prints.

    Parameters
    ----------
    survey : Survey
    source : str
        What was looked at.
    rows : sequence of CensusRow
        Those to show.
    """
    table = Table(
        title=f"{source}: {len(survey.rows)} motifs in {survey.structures} structures and {survey.references} references",
        title_justify="left",
        caption=_caption(survey, len(survey.rows) - len(rows)),
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=0,
    )
    for name in ("motif", "charge", "in", "atoms", "since", "E_hull", "best", "ref.", "rings", "bridges"):
        wraps = name in {"motif", "bridges"}
        right = name in {"charge", "in", "atoms", "since", "E_hull"}
        table.add_column(name, justify="right" if right else "left", no_wrap=not wraps, overflow="fold")
    for row in rows:
        motif = row.motif
        cells = (
            motif.name,
            charge_text(motif.charge),
            str(row.carriers),
            f"{100 * row.atoms_share:.1f} %",
            "–" if row.first_iteration is None else str(row.first_iteration),
            "–" if row.best_e_hull is None else f"{row.best_e_hull:.3f}",
            "–" if row.best_carrier is None else row.best_carrier[:SHORT_ID],
            str(len(row.references)) if row.in_references else "",
            " ".join(str(size) for size in motif.rings),
            _bridges(motif.bridges),
        )
        table.add_row(*cells)
    return table


def _caption(survey: Survey, left_out: int) -> str:
    found = survey.charges
    known = found.balanced + len(found.unbalanced)
    sums = f"charges add up to zero in {found.balanced} of the {known} structures where all are known"
    more = f"{left_out} motifs are not shown. " if left_out else ""
    return (
        f"{more}in: structures, references left out; atoms: share of all atoms; since: first iteration; E_hull of the best "
        f"carrier, eV/atom; ref.: references with it; ?: not certain. {sums}"
    )


def _bridges(counts: dict[str, float]) -> str:
    return ", ".join(f"{count:.3g} {name}" for name, count in counts.items())


def census_csv(rows: Sequence[CensusRow]) -> str:
    """Return the rows as CSV with the columns of :data:`COLUMNS`."""
    return as_csv(COLUMNS, [{key: _flat(value) for key, value in row.to_dict().items()} for row in rows])


def census_document(survey: Survey, source: str, rows: Sequence[CensusRow], rule: dict[str, Any]) -> dict[str, Any]:
    """Return the census as a JSON document."""
    return {
        "source": source,
        "structures": survey.structures,
        "references": survey.references,
        "bonds": rule,
        "charges": survey.charges.to_dict(),
        "motifs": [row.to_dict() for row in rows],
    }


def tolerance_table(found: Tolerance, source: str) -> Table:
    """Return the table that ``coevo motifs --tolerance`` prints."""
    table = Table(
        title=f"{source}: distances near the cut-offs in {found.structures} structures",
        title_justify="left",
        caption=(
            f"Å; with all cut-offs 5 % shorter the motifs of {found.changed_shorter} structures change, 5 % longer those of "
            f"{found.changed_longer}"
        ),
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=0,
    )
    for name in ("pair", "cut-off", "bonds", "longest bond", "shortest other", "within 5 %", "within 10 %"):
        table.add_column(name, justify="left" if name == "pair" else "right", no_wrap=True)
    for pair in found.pairs:
        table.add_row(
            pair.pair,
            f"{pair.cutoff:.3f}",
            str(pair.bonds),
            "–" if pair.longest_bond is None else f"{pair.longest_bond:.3f}",
            "–" if pair.shortest_other is None else f"{pair.shortest_other:.3f}",
            str(pair.within_5_percent),
            str(pair.within_10_percent),
        )
    return table


def tolerance_csv(found: Tolerance) -> str:
    """Return the report's pairs as CSV."""
    return as_csv(TOLERANCE_COLUMNS, found.to_dict()["pairs"])


def _flat(value: Any) -> Any:
    if isinstance(value, dict):
        return ";".join(f"{key}={number:g}" for key, number in value.items())
    if isinstance(value, list):
        return ";".join(str(item) for item in value)
    return value
