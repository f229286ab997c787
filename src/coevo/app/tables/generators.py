"""Table of the generators of a mixture: which one earns its share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Sequence


def generators_table(rows: Sequence[dict[str, Any]]) -> Table:
    """Return one row per family, over all iterations of a branch.

    Parameters
    ----------
    rows : sequence of dict
        As :meth:`coevo.studies.states.generators.GeneratorRow.to_dict` gives them.
    """
    table = Table(
        title="generators, all iterations of the branch",
        caption="S.U.N.: candidates, by the force field of their iteration, on the hull of that time; /1000: per 1,000 "
        "candidates; /h: per hour of the jobs that draw and fit; now: S.U.N. entries by this state's force field",
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=0,
    )
    for title in ("", "share", "draws", "candidates", "relaxed", "unique", "S.U.N.", "/1000", "/h", "entries", "now"):
        # the names of the families stay whole, whatever the terminal
        shortest = None if title else max((len(row["family"]) for row in rows), default=None)
        table.add_column(title, no_wrap=bool(title), justify="right" if title else "left", min_width=shortest)
    for row in rows:
        table.add_row(
            row["family"],
            "–" if row["weight"] is None else f"{100 * row['weight']:.0f} %",
            *(str(row[name]) for name in ("draws", "candidates", "relaxed", "unique", "sun")),
            _number(row["sun_per_thousand"]),
            _number(row["sun_per_hour"]),
            *("–" if row[name] is None else str(row[name]) for name in ("entries", "sun_entries")),
        )
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"
