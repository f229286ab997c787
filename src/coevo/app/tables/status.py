"""Tables of the status of a node: where its branches are, its signals and what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from coevo.app.tables.generators import generators_table
from coevo.node_store.recorded import readable
from coevo.output.plain_text import counted
from coevo.studies.states.signal_rows import sparkline
from coevo.studies.states.summaries import run_command

if TYPE_CHECKING:
    from coevo.node_store.store import NodeStore

_MOST_BARS = 24
"""Iterations that a sparkline shows, the last ones."""


def status_tables(store: NodeStore, status: dict[str, Any], *, whole: bool) -> list[Table]:
    """Return the tables of a status: that of the node and, if ``whole``, those of its signals and their verdicts.

    Raises
    ------
    CorruptArtifactError
        If the metrics of its head are not those that this coevo writes.
    """
    head = status["head"]
    if not head:
        return [status_table(status)]
    with readable(store.state(f"{status['node']}@{head['id']}")):
        generators = [generators_table(head["generators"])] if head["generators"] else []
        return [status_table(status), *generators, *([signals_table(head), verdict_table(head)] if whole else [])]


def status_table(status: dict[str, Any]) -> Table:
    """Return the status as a table."""
    head = status["head"]
    table = Table(
        title=f"{status['node']}  {'-'.join(status['elements'])}",
        caption=(head or {}).get("teacher") or None,
        show_header=False,
        title_justify="left",
        caption_justify="left",
    )
    table.add_column("what", style="bold")
    table.add_column("value", overflow="fold")
    for branch, state in status["branches"].items():
        table.add_row(f"branch {branch}", state[:12] if state else "no state yet; run coevo init again to finish it")
    if head:
        population = head["population"]
        table.add_row("iteration", str(head["iteration"]))
        for row in head["audit"]:
            table.add_row(row["what"], row["words"])
        table.add_row(
            "entries", f"{population['entries']} ({population['stable']} stable, {population['sun']} S.U.N. {head['sun']})"
        )
        table.add_row("references", f"{head['references']}, {head['reference_set']['size']} structures")
        table.add_row("labels", str(head["counts"].get("labels", 0)))
        for words in head["label_scales"]:
            table.add_row("label scale", words)
        for key in (
            "hull",
            "phases_on_it",
            "electron_excess",
            "scale",
            "second_opinion",
            "agreement",
            "calibration",
            "environments",
            "environments_of_a_probe",
            "studies",
        ):
            if head[key]:
                table.add_row(key.replace("_", " "), head[key])
    unfinished = [c for c in status["campaigns"] if c["status"] == "running"]
    for campaign in unfinished:
        table.add_row(
            "unfinished campaign",
            f"{counted(campaign['iterations'], 'transitions')} from {campaign['start'][:12]}; finish it: "
            + run_command(status["node"], campaign["branch"]),
        )
    return table


def signals_table(head: dict[str, Any]) -> Table:
    """Return the numbers behind the signals, each with its course over the iterations."""
    rows = [row for row in head["signals"] if any(value is not None for value in row["values"])]
    more = f"; entropies cannot exceed ln N = {head['ln_n']:.3f}" if head["ln_n"] else ""
    more += f"; {head['teacher']}" if head["teacher"] else ""
    table = Table(
        title=f"signals, from the oldest iteration (left) to iteration {head['iteration']}; a dot: not known",
        caption=f"E_hull and shares: the kept candidates of each iteration, all by this state's model on its hull{more}",
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=0,
    )
    for title in ("", "course", "first", "last", "±", "unit"):
        table.add_column(title, no_wrap=True, justify="right" if title in {"first", "last"} else "left")
    section = ""
    for row in rows:
        if section and row["signal"] != section:
            table.add_section()
        section = row["signal"]
        first = next(value for value in row["values"] if value is not None)
        table.add_row(
            row["name"],
            sparkline(row["values"][-_MOST_BARS:]),
            _number(first, row["digits"]),
            _number(row["values"][-1], row["digits"]),
            "" if row["error"] is None else f"± {row['error']:.{row['digits']}f}",
            row["unit"],
        )
    return table


def verdict_table(head: dict[str, Any]) -> Table:
    """Return each signal's verdict in words."""
    table = Table(title="mature" if head["maturity"]["mature"] else "not mature", title_justify="left", box=SIMPLE_HEAD)
    table.add_column("signal", no_wrap=True)
    table.add_column("verdict", overflow="fold")
    for signal in head["maturity"]["signals"]:
        table.add_row(signal["name"], signal["reason"])
    return table


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
