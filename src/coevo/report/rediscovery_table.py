"""Known phases that the state was not told of, and which of them came back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coevo.report.figures.plots import DataTable, formula_text
from coevo.report.gathering import SHORT_ID
from coevo.report.tables import DASH, PageTable, number

if TYPE_CHECKING:
    from coevo.analysis.comparison.rediscovery import Rediscovery
    from coevo.report.gathering import ReportData

COLUMNS = (
    "phase",
    "formula",
    "a reference of the state",
    "came back by structure",
    "first iteration",
    "entries that are it",
    "closest entry",
    "RMS displacement ((V/N)^(1/3))",
    "RMS displacement (angstrom)",
    "E_hull of the closest entry (eV/atom)",
    "all its motifs in entries",
    "entries of its formula",
)


@dataclass(frozen=True)
class RediscoverySection:
    """What the page says of known phases.

    Attributes
    ----------
    text : str
    table : PageTable
    data : DataTable or None
        None where the phases cannot be read.
    """

    text: str
    table: PageTable
    data: DataTable | None
    name: str = "rediscovery"


def rediscovery_section(data: ReportData, targets: str | None, workers: int = 1) -> RediscoverySection | None:
    """Look for known phases: those of ``targets``, or those that the node withholds; None if there are neither.

    Raises
    ------
    ReferenceDataError
        If ``targets`` cannot be read.
    """
    from coevo.errors import ReferenceDataError
    from coevo.studies.rediscovery import load_targets, rediscover, withheld_targets

    if targets is not None:
        phases, foreign = load_targets(targets, data.elements)
        origin = f"phases of {targets}" + (f" ({len(foreign)} with other elements left out)" if foreign else "")
    elif data.view.document["config"].get("references", {}).get("exclude"):
        try:
            phases = withheld_targets(data.view)
        except ReferenceDataError as error:
            # the report of a state from elsewhere need not have the files of its node
            return RediscoverySection(f"The withheld phases cannot be read here: {error}", PageTable((), []), None)
        origin = "phases that the node withholds from its references (references.exclude)"
    else:
        return None
    found = rediscover(data.view, phases, workers=workers)
    unknown = [row for row in found if row.reference is None]
    told = len(found) - len(unknown)
    text = (
        f"{len(found)} {origin}. "
        + (f"{told} of them are references of this state and cannot be rediscovered. " if told else "")
        + f"{sum(row.by_structure for row in unknown)} of {len(unknown)} came back by structure; "
        f"{sum(bool(row.by_motif) for row in unknown)} have all their motifs in entries. Structures are compared as they are, "
        "with the tolerances of the node's curation; displacements are root mean squares over paired sites."
    )
    ordered = sorted(found, key=lambda row: row.reference is not None)
    return RediscoverySection(text, _table(ordered), DataTable(COLUMNS, [_data_row(row) for row in ordered]))


def _table(found: list[Rediscovery]) -> PageTable:
    columns = (
        "phase",
        "formula",
        "by structure",
        "iteration",
        "entries",
        "RMS (Å)",
        "E_hull (eV/atom)",
        "motifs",
        "nearest miss",
    )
    return PageTable(columns, [_page_row(row) for row in found], frozenset({3, 4, 5, 6}))


def _page_row(row: Rediscovery) -> list[Any]:
    best = row.best
    verdict = "a reference" if row.reference is not None else "came back" if best else "not found"
    away = best.displacement if best else None
    return [
        row.name,
        formula_text(row.formula),
        verdict,
        DASH if row.first_iteration is None else str(row.first_iteration),
        str(row.matches),
        number(away.rms_angstrom if away else None),
        number(best.entry.energy_above_hull if best else None),
        _motifs(row),
        DASH
        if row.nearest is None
        else f"{row.nearest.id[:SHORT_ID]}: same formula, another structure, E_hull {number(row.nearest.energy_above_hull)}",
    ]


def _motifs(row: Rediscovery) -> str:
    if not row.motifs:
        return "none" if row.motifs is not None else DASH
    return "; ".join(
        f"{motif.motif}: {f'iteration {motif.first_iteration}' if motif.first_iteration is not None else 'not found'}"
        for motif in row.motifs
    )


def _data_row(row: Rediscovery) -> tuple[Any, ...]:
    best = row.best
    away = best.displacement if best else None
    return (
        row.name,
        row.formula,
        row.reference is not None,
        row.by_structure,
        row.first_iteration,
        row.matches,
        best.entry.id if best else None,
        away.rms if away else None,
        away.rms_angstrom if away else None,
        best.entry.energy_above_hull if best else None,
        row.by_motif,
        row.entries_of_formula,
    )
