"""Where a node stands: its branches, its head's population and signals, and its campaigns.

Also here: what a node needs next, in one sentence, from the signals of its last state.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from coevo.node_store.recorded import readable
from coevo.output.counts import counted
from coevo.studies.states.signal_rows import signal_rows, sparkline
from coevo.studies.states.summaries import reference_set_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coevo.node_store.store import NodeStore


_ORDER = ("collapse", "few frames", "few environments", "ceiling", "noise", "narrowing", "short", "moving")
"""What to see to first: what no number of further iterations would mend."""


def run_command(node: str, branch: str = "main", iterations: int | None = None) -> str:
    """Return the command that goes on with a branch, as it can be typed."""
    where = "" if branch == "main" else f" --branch {shlex.quote(branch)}"
    return f"coevo run {node}{where}" + (f" -n {iterations}" if iterations else "")


def next_step(node: str, metrics: Mapping[str, Any], config: Mapping[str, Any], branch: str = "main") -> str:
    """Say what to do next.

    Parameters
    ----------
    node : str
        Name of the node, for the command.
    metrics : mapping
        Of the last state.
    config : mapping
        Configuration of the node, as a document.
    branch : str
        That the state is the head of.

    Returns
    -------
    str
        One sentence.
    """
    maturity = metrics["maturity"]
    if maturity["mature"]:
        where = node if branch == "main" else f"{node}@{branch}"
        use = f"coevo query {where}, coevo report {where}"
        return f"{where} is mature: use it ({use}), extend it by an element, or tighten its tolerances"
    if "iteration" not in metrics and not metrics.get("ruler"):
        return f"no candidate was generated yet: {run_command(node, branch, config['maturity']['patience'] + 1)}"
    causes = {signal.get("cause"): signal for signal in maturity["signals"] if signal.get("cause")}
    for cause in _ORDER:
        if cause in causes:
            return _sentence(
                cause, causes[cause]["name"], run_command(node, branch, config["maturity"]["patience"] + 1), metrics, config
            )
    return f"go on: {run_command(node, branch, 1)}"


def _sentence(cause: str, signal: str, more: str, metrics: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    settings = config["maturity"]
    frames = sum(((metrics.get("force_field") or {}).get("frames") or {}).values())
    size = min((sample["n"] for sample in (metrics.get("ruler") or {}).values() if "n" in sample), default=0)
    sentences = {
        "collapse": (
            "the generator repeats itself: widen it (a lower generator.variation_fraction or guidance_factor, more "
            "compositions), or branch from a state before the collapse"
        ),
        "narrowing": (
            "look at the formulas of the last candidates (coevo query): fewer than before, because these are the stable ones, or "
            f"because the generator has narrowed; then {more}, or widen it (generator.compositions, a lower variation_fraction)"
        ),
        "few frames": (
            f"more labels: {frames} labelled frames so far, maturity.min_frames is {settings['min_frames']} and "
            f"min_test_frames {settings['min_test_frames']}; {more}, or raise selection.structures"
        ),
        "few environments": (
            f"more entries: they have fewer than the {settings['environments']} environments that an entropy is of; {more}"
        ),
        "ceiling": (
            f"more environments per entropy estimate: {settings['environments']} are nearly all different, so raise "
            f"maturity.environments towards the number that the state has ({_environments(metrics)}), and go on: {more}"
        ),
        "noise": (
            f"a larger ruler: the median of {size} candidates is too uncertain for the tolerance, so raise maturity.ruler_size "
            "(it holds for the iterations to come)"
        ),
        "short": f"more iterations, to see whether the signals settle: {more}",
        "moving": f"more iterations, the {signal} signal still moves: {more}",
    }
    return sentences[cause]


def _environments(metrics: Mapping[str, Any]) -> int | str:
    entropy = metrics.get("entropy")
    return entropy["environments"] if entropy else "unknown"


_MOST_BARS = 24
"""Iterations that a sparkline shows, the last ones."""


def node_status(store: NodeStore, name: str) -> dict[str, Any]:
    """Return the status of a node as JSON."""
    node = store.node(name)
    campaigns = [
        campaign.model_dump(include={"id", "branch", "start", "iterations", "status", "created", "ended"})
        for campaign in store.campaigns(name)
    ]
    status: dict[str, Any] = {
        "node": name,
        "elements": list(node.elements),
        "branches": dict(node.branches),
        "campaigns": campaigns,
        "head": None,
    }
    if node.branches.get("main"):
        view = store.state(name)
        with readable(view):
            metrics = view.document["metrics"]
            status["head"] = {
                "id": view.id,
                "iteration": view.iteration,
                "counts": view.document["counts"],
                "population": metrics["population"],
                "reference_set": metrics["reference_set"],
                "references": reference_set_of(view.document),
                "maturity": metrics["maturity"],
                "ln_n": metrics["entropy"]["ln_n"] if metrics["entropy"] else None,
                "signals": [row.to_dict() for row in signal_rows(view)],
                "next": next_step(name, metrics, view.document["config"]),
            }
    return status


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
        return [status_table(status), *([signals_table(head), verdict_table(head)] if whole else [])]


def status_table(status: dict[str, Any]) -> Table:
    """Return the status as a table."""
    table = Table(title=f"{status['node']}  {'-'.join(status['elements'])}", show_header=False, title_justify="left")
    table.add_column("what", style="bold")
    table.add_column("value", overflow="fold")
    for branch, state in status["branches"].items():
        table.add_row(f"branch {branch}", state[:12] if state else "no state yet; run coevo init again to finish it")
    head = status["head"]
    if head:
        population = head["population"]
        table.add_row("iteration", str(head["iteration"]))
        table.add_row("entries", f"{population['entries']} ({population['stable']} stable, {population['sun']} S.U.N.)")
        table.add_row("references", f"{head['references']}, {head['reference_set']['size']} structures")
        table.add_row("labels", str(head["counts"].get("labels", 0)))
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
    ceiling = f"; entropies cannot exceed ln N = {head['ln_n']:.3f}" if head["ln_n"] else ""
    table = Table(
        title=f"signals, from the oldest iteration (left) to iteration {head['iteration']}; a dot: not known",
        caption=f"E_hull and shares: the kept candidates of each iteration, all by this state's model on its hull{ceiling}",
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
