"""Our hull beside a database's, as tables for the terminal and as CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.table import Table

from coevo.output.plain_text import as_csv

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coevo.studies.hull_comparison.comparison import Comparison, HullComparison, Parity, Point

COLUMNS = (
    "scale",
    "formula",
    "ours",
    "our_kind",
    "our_hull_status",
    "our_formation_energy",
    "our_energy_above_hull",
    "our_stable",
    "theirs",
    "their_formation_energy",
    "their_energy_above_hull",
    "their_stable",
    "difference",
)
SHORT_ID = 8


def comparison_table(comparison: Comparison) -> Table:
    """Return a row for each composition that is stable on a side."""
    table = Table(
        title=f"stable compositions; {comparison.scale}",
        title_justify="left",
        caption="E_form, E_hull: eV/atom, the lowest of the composition; difference: E_form, ours minus theirs; –: has none",
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("formula")
    table.add_column("stable in")
    for name in ("E_form ours", "theirs", "difference", "E_hull ours", "theirs"):
        table.add_column(name, justify="right")
    table.add_column("ours is")
    for row in comparison.rows:
        ours, theirs = row.ours is not None and row.ours.stable, row.theirs is not None and row.theirs.stable
        if not (ours or theirs):
            continue
        table.add_row(
            row.formula,
            "both" if ours and theirs else "ours" if ours else "theirs",
            _number(None if row.ours is None else row.ours.formation_energy),
            _number(None if row.theirs is None else row.theirs.formation_energy),
            _number(row.difference, sign=True),
            _number(None if row.ours is None else row.ours.energy_above_hull),
            _number(None if row.theirs is None else row.theirs.energy_above_hull),
            _kind(row.ours),
        )
    return table


def summary_lines(found: HullComparison) -> Iterator[str]:
    """What is printed below the tables."""
    for comparison in found.comparisons:
        both = comparison.stable(ours=True, theirs=True)
        ours, theirs = comparison.stable(ours=True, theirs=False), comparison.stable(ours=False, theirs=True)
        yield f"{comparison.scale}:"
        yield (
            f"  stable compounds: {len(both)} in both ({_list(both)}), {len(ours)} in ours only ({_list(ours)}), "
            f"{len(theirs)} in theirs only ({_list(theirs)})"
        )
        yield f"  formation energies, ours minus theirs, lowest of each shared composition: {_parity(comparison.by_formula)}"
        if comparison.pairs:
            yield f"  the same, of crystals that both have: {_parity(comparison.by_structure)}"
        if comparison.hull_of_table is not None:
            yield (
                f"  their E_hull as given and that on the hull of the table's energies differ by at most "
                f"{comparison.hull_of_table:.3f} eV/atom"
            )
    yield f"ours: {found.ours}"
    yield f"theirs: {found.theirs}"
    yield from found.notes


def comparison_csv(found: HullComparison) -> str:
    """Return a row for each composition and scale."""
    return as_csv(
        COLUMNS,
        (
            {
                "scale": comparison.scale,
                "formula": row.formula,
                "ours": row.ours and row.ours.id,
                "our_kind": row.ours and row.ours.kind,
                "our_hull_status": row.ours and row.ours.hull_status,
                "our_formation_energy": row.ours and row.ours.formation_energy,
                "our_energy_above_hull": row.ours and row.ours.energy_above_hull,
                "our_stable": row.ours and row.ours.stable,
                "theirs": row.theirs and row.theirs.id,
                "their_formation_energy": row.theirs and row.theirs.formation_energy,
                "their_energy_above_hull": row.theirs and row.theirs.energy_above_hull,
                "their_stable": row.theirs and row.theirs.stable,
                "difference": row.difference,
            }
            for comparison in found.comparisons
            for row in comparison.rows
        ),
    )


def _number(value: float | None, *, sign: bool = False) -> str:
    return "–" if value is None else f"{value:{'+' if sign else ''}.3f}"


def _kind(point: Point | None) -> str:
    if point is None:
        return "–"
    status = f", {point.hull_status}" if point.hull_status else ""
    return f"{point.kind} {point.id[:SHORT_ID]}{status}"


def _list(formulas: list[str]) -> str:
    return ", ".join(formulas) or "none"


def _parity(parity: Parity) -> str:
    if not parity.n:
        return "none to compare"
    return f"n {parity.n}, mean {parity.mean:+.3f}, MAE {parity.mae:.3f}, RMSE {parity.rmse:.3f} eV/atom"
