"""Tables of the jobs of a node, for people."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table

from coevo.app.terminal import styled
from coevo.slurm.job_table import JOB_STATES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from coevo.slurm.job_table import JobRow

_STEPS = [
    "generate",
    "race",
    "screen",
    "breed",
    "evaluate-references",
    "curate",
    "spread",
    "select",
    "choose",
    "label",
    "unite",
    "train-force-field",
    "calibrate",
    "train-member",
    "fit-offsets",
    "re-evaluate",
    "re-evaluate-member",
    "assess",
    "opinions",
    "audit",
    "audit-label",
    "judge-audit",
    "train-generator",
    "calibrate-environments",
    "measure",
    "commit",
    "phonons",
    "free-energies",
    "phonon-result",
    "stability-result",
    "transport-first",
    "molecular-dynamics",
    "transport-continue",
    "transport-result",
    "commit-study",
    "continue",
]
_ORDER = {step: index for index, step in enumerate(_STEPS)}
_UNSETTLED = frozenset({"queued", "running", "fizzled", "lost", "paused"})
_COLOURS = {"completed": "green", "running": "cyan", "queued": "blue", "fizzled": "red", "lost": "red", "paused": "yellow"}


def duration(seconds: float | None) -> str:
    """Write a duration as people do: ``12 s``, ``3 min``, ``2 h 5 min``, ``3 d 4 h``."""
    if seconds is None:
        return ""
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    minutes, hours = whole // 60, whole // 3600
    if minutes < 120:
        return f"{minutes} min"
    return f"{hours} h {minutes % 60} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def jobs_view(rows: Sequence[JobRow], *, each: bool) -> RenderableType:
    """Return counts by iteration and step, then the jobs that a user may want to see.

    Parameters
    ----------
    rows : sequence of JobRow
    each : bool
        Show every job, and not only those that are queued, running, fizzled, lost or paused.
    """
    shown = [row for row in rows if each or row.state in _UNSETTLED]
    return Group(counts_table(rows), *([details_table(shown)] if shown else []))


def watched_view(rows: Sequence[JobRow]) -> RenderableType:
    """Return what fits on a screen: the jobs on their way, then the counts of iterations that are not finished."""
    shown = [row for row in rows if row.state in _UNSETTLED]
    unfinished = {row.iteration for row in rows if row.state not in {"completed", "cancelled"}}
    current = [row for row in rows if row.iteration in unfinished]
    return Group(*([details_table(shown)] if shown else []), counts_table(current or rows))


def counts_table(rows: Sequence[JobRow]) -> Table:
    """Return a table with a line for each step of each iteration and a column for each state that occurs."""
    present = [state for state in JOB_STATES if any(row.state == state for row in rows)]
    counts: dict[tuple[int, str], Counter[str]] = defaultdict(Counter)
    for row in rows:
        counts[row.iteration, row.step][row.state] += 1
    table = Table("iteration", "step")
    for state in present:
        table.add_column(styled(state, _COLOURS.get(state, "")), justify="right")
    before = None
    for (iteration, step), count in sorted(counts.items(), key=lambda item: (item[0][0], _ORDER.get(item[0][1], len(_ORDER)))):
        if before not in (None, iteration):
            table.add_section()
        table.add_row("" if before == iteration else str(iteration), step, *(str(count[state] or "") for state in present))
        before = iteration
    return table


def details_table(rows: Sequence[JobRow]) -> Table:
    """Return a table of single jobs."""
    table = Table("id", "job", "state", "SLURM", "time", "class", "reruns", "what went wrong")
    table.columns[0].justify = table.columns[4].justify = table.columns[6].justify = "right"
    table.columns[1].overflow = table.columns[7].overflow = "fold"
    for row in rows:
        table.add_row(
            str(row.fw_id),
            row.name,
            styled(row.state, _COLOURS.get(row.state, "")),
            row.slurm_id or "",
            duration(row.seconds),
            row.category,
            str(row.reruns or ""),
            row.error,
        )
    return table
