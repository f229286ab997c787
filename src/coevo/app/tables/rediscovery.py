"""Rediscovery as tables for the terminal and as CSV."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from coevo.output.plain_text import as_csv

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.analysis.comparison.rediscovery import MotifReturn, Rediscovery
    from coevo.studies.known_sets.novelty_counts import NoveltyCount

SHORT_ID = 8
COLUMNS = (
    "name",
    "formula",
    "nsites",
    "reference",
    "by_structure",
    "matches",
    "first_iteration",
    "entry",
    "entry_iteration",
    "entry_energy_above_hull",
    "rms",
    "rms_angstrom",
    "volume_ratio",
    "energy_above_hull",
    "entries_of_formula",
    "nearest",
    "nearest_energy_above_hull",
    "by_motif",
    "motifs",
)
KNOWN_COLUMNS = ("source", "read_at", "set_size", "entry", "formula", "iteration", "energy_above_hull", "known_as")


def targets_table(rows: Sequence[Rediscovery], title: str) -> Table:
    """Return one row for each target."""
    table = Table(
        title=title,
        title_justify="left",
        caption=(
            "it.: iteration that admitted the first match; RMSD: of paired sites, Å (in units of (V/N)^(1/3)); E_hull: eV/atom; "
            "n: matching entries; (in brackets: not a match, but the entry of that formula with the lowest E_hull); "
            "motifs: iteration of the first entry that holds one, of any composition / of the phase's"
        ),
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    evaluated = any(row.energy_above_hull is not None for row in rows)
    table.add_column("phase", overflow="fold")
    table.add_column("back")
    for name in ("it.", "RMSD", "E_hull", "entry", "n"):
        table.add_column(name, justify="right", no_wrap=True)
    if evaluated:
        table.add_column("E_hull of the phase", justify="right")
    table.add_column("motifs (any / same formula)", overflow="fold")
    for row in rows:
        energy = [_number(row.energy_above_hull)] if evaluated else []
        table.add_row(row.name, *_structure_cells(row), *energy, _motif_cell(row))
    return table


def _structure_cells(row: Rediscovery) -> list[str]:
    if row.reference:
        return ["is a reference", *_match_cells(row)]
    if row.best is None:
        nearest = row.nearest
        if nearest is None:
            return ["no", "–", "–", "–", f"no {row.formula}", "0"]
        return ["no", "–", "–", f"({nearest.energy_above_hull:.3f})", f"({nearest.id[:SHORT_ID]})", "0"]
    return ["yes", *_match_cells(row)]


def _match_cells(row: Rediscovery) -> list[str]:
    if row.best is None:
        return ["–", "–", "–", "–", "0"]
    entry, moved = row.best.entry, row.best.displacement
    apart = "–" if moved is None else f"{moved.rms_angstrom:.3f} ({moved.rms:.3f})"
    return [str(row.first_iteration), apart, f"{entry.energy_above_hull:.3f}", entry.id[:SHORT_ID], str(row.matches)]


def _motif_cell(row: Rediscovery) -> str:
    if row.motifs is None:
        return "–"
    return ", ".join(f"{m.motif} {_first(m)}" for m in row.motifs) or "none (a metal)"


def _first(motif: MotifReturn) -> str:
    if motif.first_iteration is None:
        return "never"
    same = motif.first_iteration_of_formula
    return f"it. {motif.first_iteration} / {'never' if same is None else f'it. {same}'}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def known_table(count: NoveltyCount, limit: int = 20) -> Table:
    """Return the entries that a set has."""
    more = len(count.known) - limit
    table = Table(
        title=f"known in {count.against['source']}",
        title_justify="left",
        caption=f"and {more} more (--format json lists all)" if more > 0 else None,
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    for name in ("entry", "formula", "it.", "E_hull", "known as"):
        table.add_column(name, overflow="fold")
    for entry in count.known[:limit]:
        energy = f"{entry.energy_above_hull:.3f}"
        table.add_row(entry.id[:SHORT_ID], entry.formula, str(entry.iteration), energy, entry.known_as)
    return table


def targets_csv(rows: Sequence[Rediscovery]) -> str:
    """Return the targets as CSV; energies in eV/atom, ``rms`` in units of (V/N)^(1/3)."""
    return as_csv(COLUMNS, [_flat(row) for row in rows])


def _flat(row: Rediscovery) -> dict[str, Any]:
    flat = {name: getattr(row, name) for name in COLUMNS if hasattr(row, name)}
    flat["motifs"] = None if row.motifs is None else "; ".join(f"{m.motif}: {_first(m)}" for m in row.motifs)
    if row.nearest is not None:
        flat |= {"nearest": row.nearest.id, "nearest_energy_above_hull": row.nearest.energy_above_hull}
    if row.best is not None:
        entry, moved = row.best.entry, row.best.displacement
        flat |= {
            "entry": entry.id,
            "entry_iteration": entry.iteration,
            "entry_energy_above_hull": entry.energy_above_hull,
        }
        if moved is not None:
            flat |= {"rms": moved.rms, "rms_angstrom": moved.rms_angstrom, "volume_ratio": moved.volume_ratio}
    return flat


def known_csv(counts: Sequence[NoveltyCount]) -> str:
    """Return the known entries of all sets as CSV."""
    return as_csv(
        KNOWN_COLUMNS,
        [
            {
                **vars(entry),
                "entry": entry.id,
                "source": count.against["source"],
                "read_at": count.against["read_at"],
                "set_size": count.against["size"],
            }
            for count in counts
            for entry in count.known
        ],
    )
