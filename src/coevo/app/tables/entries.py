"""Tables of entries and references: one of them, and what a query finds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from coevo.analysis.audit.words import BY_THE_MODEL, verdict_word
from coevo.configs.electrons import has_electron_excess
from coevo.studies.states.entry_rows import dynamics_word, entry_rows
from coevo.studies.states.exporting import COLUMNS
from coevo.studies.states.graph import SHORT_ID
from coevo.studies.states.hull_words import standing_word
from coevo.studies.states.label_scales import teacher_of
from coevo.studies.states.second_opinion import sun_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.node_store.views import StateView


def entries_table(rows: Sequence[dict[str, Any]], title: str, teacher: str = "") -> Table:
    """Return entries as a table for the terminal; ``teacher`` names who labels, where that is no first-principles code."""
    has_excess = any(has_electron_excess(row.get("electron_excess")) for row in rows)
    in_excess = ", excess of electrons in e⁻/atom" if has_excess else ""
    has_sensitive = any(row.get("scale_sensitive") for row in rows)
    uncorrected = ("uncorr.",) if has_sensitive else ()
    table = Table(
        title=title,
        title_justify="left",
        caption=f"energies in eV/atom{in_excess}; = duplicate of, ref: matches a reference (coevo show REF ID)"
        + ("; uncorr.: without the anion correction, which its stability hangs on" if has_sensitive else "")
        + (f"; {BY_THE_MODEL}" if any(row.get("is_sun") for row in rows) else "")
        + (f"; {teacher}" if teacher else ""),
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=0,
    )
    has_labels = any(row.get("energy_above_hull_dft") is not None for row in rows)
    by_labels = ("E_hull DFT",) if has_labels else ()
    has_spread = any(row.get("energy_above_hull_std") is not None for row in rows)
    spread = ("±",) if has_spread else ()
    excess = ("excess",) if has_excess else ()
    energies_of = ("E_form", "E_hull", *spread, "E_ref_hull", *by_labels, *uncorrected, *excess)
    for name in ("id", "formula", "atoms", "s.g.", *energies_of, "it.", ""):
        right = name not in {"id", "formula", ""}
        table.add_column(name, justify="right" if right else "left", no_wrap=True)
    for row in rows:
        energies = [f"{row[key]:.3f}" for key in COLUMNS[5:8]]
        if has_spread:
            deviation = row.get("energy_above_hull_std")
            energies.insert(2, "–" if deviation is None else f"{deviation:.3f}")
        if has_labels:
            labelled = row.get("energy_above_hull_dft")
            energies.append("–" if labelled is None else f"{labelled:.3f}")
        if has_sensitive:
            without = row.get("energy_above_hull_uncorrected") if row.get("scale_sensitive") else None
            energies.append("" if without is None else f"{without:.3f}")
        if has_excess:
            electrons = row.get("electron_excess")
            energies.append(f"{electrons:.2f}" if has_electron_excess(electrons) else "")
        group = "–" if row["space_group"] is None else str(row["space_group"])
        start = (row["structure_id"][:SHORT_ID], row["formula"], str(row["nsites"]), group)
        table.add_row(*start, *energies, str(row["iteration_added"]), _remark(row))
    return table


def _remark(row: dict[str, Any]) -> str:
    if row.get("duplicate_of"):
        return f"= {row['duplicate_of'][:SHORT_ID]}"
    if row.get("matched_reference"):
        return f"ref {row['matched_reference'][:SHORT_ID]}"
    if row.get("is_sun"):
        return ", ".join(filter(None, ("S.U.N.", verdict_word(row), standing_word(row), sun_words(row), dynamics_word(row))))
    return ", ".join(filter(None, ("stable" if row.get("is_stable") else "", standing_word(row), dynamics_word(row))))


def entry_table(view: StateView, evaluation: dict[str, Any], more: dict[str, Any]) -> Table:
    """Return an entry as a table for the terminal."""
    table = Table(
        title=f"{evaluation['kind']} {evaluation['structure_id'][:12]} of {view.node}@{view.id[:12]}, iteration {view.iteration}",
        show_header=False,
        title_justify="left",
        caption=teacher_of(view.document) or None,
        caption_justify="left",
    )
    table.add_column("what", style="bold")
    table.add_column("value", overflow="fold")
    for row in entry_rows(view, evaluation, more):
        table.add_row(*row)
    return table
