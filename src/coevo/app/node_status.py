"""Where a node stands: its branches, its head's population and signals, and its campaigns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

from coevo.app.state_summaries import readable, reference_set_of

if TYPE_CHECKING:
    from coevo.node_store.store import NodeStore


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
                "signals": {
                    key: metrics[key]
                    for key in (
                        "ruler_median_e_hull",
                        "environment_entropy",
                        "energy_rmse_mev_per_atom",
                        "force_rmse_mev_per_angstrom",
                    )
                },
            }
    return status


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
        for key, value in head["signals"].items():
            table.add_row(key, "no signal" if value is None else f"{value:.4g}")
        for signal in head["maturity"]["signals"]:
            table.add_row(f"maturity: {signal['name']}", signal["reason"])
    unfinished = [c for c in status["campaigns"] if c["status"] == "running"]
    for campaign in unfinished:
        table.add_row(
            "unfinished campaign", f"{campaign['iterations']} transitions from {campaign['start'][:12]}; coevo run finishes it"
        )
    return table
