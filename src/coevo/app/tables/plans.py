"""A plan as a table that fits the terminal: no cell is cut or broken; what does not fit is left out and named."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.measure import measure_renderables
from rich.table import Table

from coevo.app.terminal import PlainConsole

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.campaigns.planning import PlannedStep

COLUMNS = ("it.", "step", "jobs", "items", "class", "one job", "all jobs", "GPU-hours", "disk")
_LEFT_OUT = (
    (),
    ("items",),
    ("items", "class"),
    ("items", "class", "GPU-hours"),
    ("items", "class", "GPU-hours", "disk", "one job"),
)
"""Columns that are left out, the first choice first, where the terminal is too narrow for all."""
_LATE = "!"


def plan_table(rows: Sequence[PlannedStep], *, measured: bool, width: int = 80) -> Table:
    """Return a plan as a table.

    Parameters
    ----------
    rows : sequence of PlannedStep
    measured : bool
        Whether the rates are the node's own.
    width : int
        Columns of the terminal.
    """
    console = PlainConsole(width=1000)
    for left_out in _LEFT_OUT:
        table = _table(rows, measured, left_out)
        if measure_renderables(console, console.options, [table]).maximum <= width:
            break
    return table


def _table(rows: Sequence[PlannedStep], measured: bool, left_out: Sequence[str]) -> Table:
    source = "rates measured in this node's last iteration" if measured else "default rates; no iteration of this node yet"
    table = Table(
        title=f"plan ({source})",
        caption=_caption(rows, left_out),
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=0,
        show_footer=True,
    )
    names = [name for name in COLUMNS if name not in left_out]
    totals = {
        "step": "total",
        "jobs": str(sum(row.jobs for row in rows)),
        "all jobs": duration(sum(row.seconds for row in rows)),
        "GPU-hours": _hours(sum(row.gpu_seconds for row in rows)),
        "disk": _size(sum(row.megabytes for row in rows)),
    }
    for name in names:
        table.add_column(name, totals.get(name, ""), justify="left" if name in {"step", "class"} else "right", no_wrap=True)
    before = None
    for row in rows:
        if before not in (None, row.iteration):
            table.add_section()
        cells = _cells(row)
        if row.iteration == before:
            cells["it."] = ""
        before = row.iteration
        table.add_row(*(cells[name] for name in names))
    return table


def _cells(row: PlannedStep) -> dict[str, str]:
    return {
        "it.": str(row.iteration),
        "step": row.step,
        "jobs": str(row.jobs),
        "items": str(row.items),
        "class": row.resources,
        "one job": duration(row.seconds / max(row.jobs, 1)) + (_LATE if row.too_long else ""),
        "all jobs": duration(row.seconds),
        "GPU-hours": _hours(row.gpu_seconds),
        "disk": _size(row.megabytes),
    }


def _caption(rows: Sequence[PlannedStep], left_out: Sequence[str]) -> str | None:
    parts = []
    walltimes = {row.resources: row.walltime for row in rows if row.walltime}
    if walltimes:
        parts.append("walltime of a job: " + ", ".join(f"{name} {limit}" for name, limit in walltimes.items()))
    if any(row.too_long for row in rows):
        parts.append(f"{_LATE}: longer than the walltime: smaller shards, or a longer walltime in the site's file")
    if left_out:
        parts.append(f"left out: {', '.join(left_out)} (--format json has all)")
    return "; ".join(parts) or None


def duration(seconds: float) -> str:
    """Write an expected time with two digits at least: ``0.4 s``, ``12 s``, ``3.5 min``, ``20.0 h``."""
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} h"
    if seconds >= 60:
        return f"{seconds / 60:.1f} min"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:.1f}" if seconds else "–"


def _size(megabytes: float) -> str:
    return f"{megabytes / 1000:.1f} GB" if megabytes >= 1000 else f"{megabytes:.1f} MB"
