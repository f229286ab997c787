"""The pages of all nodes, of a node and of a state."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from coevo.errors import CoevoError
from coevo.node_store.recorded import force_field_change, readable
from coevo.report import tables
from coevo.report.figures.plots import formula_text
from coevo.report.tables import DASH, number
from coevo.serve.figures import FIGURES, title_of
from coevo.serve.pages.rendering import rendered, state_path
from coevo.serve.served import node_and_name
from coevo.serve.studies import studied_sun, study_blocks
from coevo.studies.states.label_scales import teacher_of
from coevo.studies.states.signal_rows import signal_rows, sparkline

if TYPE_CHECKING:
    from coevo.node_store.views import StateView
    from coevo.serve.served import Served


_ON_THE_HULL = 1e-8
"""eV/atom."""
_MOST_STABLE = 200


def home_page(served: Served, optimade: StateView | None) -> str:
    """All nodes that are served."""
    nodes: list[dict[str, Any]] = []
    for name in served.nodes():
        try:
            branches = served.branches(name)
            heads = {branch: served.state(name, state) for branch, state in branches.items()}
        except CoevoError as error:  # of another version of coevo
            nodes.append({"name": name, "error": str(error), "heads": {}})
            continue
        nodes.append({"name": name, "error": "", "heads": heads})
    return rendered(
        "home.html.j2", nodes=nodes, refs=[_named(ref) for ref in served.refs], optimade=optimade, state_row=state_row
    )


def _named(ref: str) -> tuple[str, str]:
    """A state that was named when the server was started, and its address."""
    return ref, state_path(*node_and_name(ref))


def state_row(view: StateView) -> dict[str, Any]:
    """What a table of states says of one."""
    document = view.document
    population = document["metrics"].get("population", {})
    maturity = document["metrics"].get("maturity", {})
    return {
        "iteration": view.iteration,
        "entries": document["counts"]["entries"],
        "sun": population.get("sun", DASH),
        "labels": document["counts"].get("labels", 0),
        "mature": {True: "mature", False: "not mature"}.get(maturity.get("mature"), DASH),
        "force_field": "parent's kept" if (change := force_field_change(view)) == "parent's" else change,
        "made": document["created"][:16].replace("T", " "),
        "message": document["message"],
    }


def node_page(served: Served, node: str) -> str:
    """The branches of a node, and all states that they hold."""
    with served.lock:
        branches = served.branches(node)
        heads = {name: served.state(node, state) for name, state in sorted(branches.items())}
        found = {view.id: view for head in heads.values() for view in served.outline(head).states}
        names: dict[str, list[str]] = {}
        for name, state in branches.items():
            names.setdefault(state, []).append(name)
        ordered = sorted(found.values(), key=lambda view: (-view.iteration, view.document["created"], view.id))
        return rendered("node.html.j2", node=node, heads=heads, states=ordered, names=names, state_row=state_row)


def state_page(served: Served, view: StateView, asked: str) -> str:
    """A state: what it holds, its signals, hull, lineage, models and studies.

    Raises
    ------
    CorruptArtifactError
        If its numbers are not those that this coevo writes.
    """
    with served.lock, readable(view):
        data = served.outline(view)
        short = f"{view.node}@{view.id[:16]}"
        names = {state.id: ", ".join(data.branches.get(state.id, [])) for state in data.states}
        return rendered(
            "state.html.j2",
            view=view,
            asked=asked,
            permanent=asked == view.id,
            header=tables.header_rows(data),
            maturity=data.metrics["maturity"],
            verdict=data.metrics["maturity"]["reason"].removeprefix("not mature: ").removeprefix("mature: "),
            signals=[_signal(row) for row in signal_rows(view)],
            stable=_stable(served, view),
            figures=[(name, title_of(name)) for name in FIGURES],
            threshold=f"{data.stable_threshold:g}",
            states=list(reversed(data.states)),
            names=names,
            state_row=state_row,
            checkpoints=view.document["checkpoints"],
            teacher=teacher_of(view.document),
            studies=study_blocks(view, data.studies),
            studied=studied_sun(view) if data.studies else [],
            commands=[
                ("look at it", f"coevo show {short}"),
                (
                    "its S.U.N. entries as CIF",
                    f"coevo query {short} {shlex.quote('is_sun = TRUE')} --format cif --output sun.zip",
                ),
                ("a report in a folder", f"coevo report {short} --output report"),
                ("a bundle to pass on", f"coevo export {short} {view.node}.coevo"),
                ("go on from it on a branch", f"coevo branch {short} mine && coevo run {view.node} --branch mine"),
            ],
        )


def _stable(served: Served, view: StateView) -> list[dict[str, Any]]:
    """Phases on the hull: references first, then entries, by formation energy."""
    fields = ("structure_id", "kind", "formula", "formation_energy_per_atom", "space_group", "duplicate_of")
    entries = view.entries({"energy_above_hull": {"$lte": _ON_THE_HULL}}, fields, limit=_MOST_STABLE)
    references = (row for row in view.evaluations("reference") if row["energy_above_hull"] <= _ON_THE_HULL)
    names = served.reference_names(view)
    found = [*references, *(row for row in entries if not row.get("duplicate_of"))]
    found.sort(key=lambda row: (row["kind"] != "reference", row["formation_energy_per_atom"], row["structure_id"]))
    return [
        {
            "id": row["structure_id"],
            "formula": formula_text(row["formula"]),
            "what": names.get(row["structure_id"]) or row["kind"],
            "energy": number(row["formation_energy_per_atom"]),
            "group": tables.group_text(row["space_group"]),
        }
        for row in found[:_MOST_STABLE]
    ]


def _signal(row: Any) -> dict[str, str]:
    last = next((value for value in reversed(row.values) if value is not None), None)
    return {
        "name": row.name,
        "course": sparkline(row.values),
        "last": number(last, row.digits)
        + (f" ± {number(row.error, row.digits)}" if row.error is not None and last is not None else ""),
        "unit": row.unit,
    }
