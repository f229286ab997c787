"""Panel (a): the loop, with the counts of the state's own iteration.

The states that led to a state, as a graph: iterations from left to right, merged histories below.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.node_store.recorded import force_field_change
from coevo.report.figures.plots import BLACK, BLUE, VERMILION, DataTable, Plot
from coevo.report.gathering import SHORT_ID

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from coevo.node_store.views import StateView
    from coevo.report.figures.plots import Part
    from coevo.report.gathering import ReportData


# Centres of the boxes, clockwise from the upper left, in units of a drawing of 100 by 74.
_PLACES = ((16, 62), (50, 62), (84, 62), (84, 37), (84, 12), (50, 12), (16, 12), (16, 37))
_WIDTH, _HEIGHT = 29.0, 20.0
_SPLITS = {"train": "training frames", "validation": "validation", "test": "test"}


def loop_plot(data: ReportData) -> Plot:
    """Return the schematic of the loop with what went through each step."""
    steps = loop_steps(data)
    missing = "" if steps else _why_nothing(data)
    rows = [(step, what, count) for step, counts in steps for what, count in counts.items()]
    table = DataTable(("step", "what", "count"), rows)
    spoken = "; ".join(f"{step}: {', '.join(f'{count} {what}' for what, count in counts.items())}" for step, counts in steps)
    return Plot(
        name="loop",
        title="The loop",
        caption="Steps of the iteration that made this state, with what went through each.",
        alt=f"Schematic of the loop. {spoken or missing}.",
        tables={"loop": table},
        draw=lambda figure: _draw(figure, data, steps),
        missing=missing,
    )


def _why_nothing(data: ReportData) -> str:
    if "union" in data.metrics:
        return "this state was made by a merge or an extension, which generates nothing"
    if data.view.parents:
        return "this state was made by labels that were added to its parent, outside an iteration, which generates nothing"
    if data.view.started_from is not None:
        return "this is the first state of the node, made from a state of another node; no iteration has run"
    return "this is the first state of the node; no iteration has run"


def loop_steps(data: ReportData) -> list[tuple[str, dict[str, Any]]]:
    """List the steps of the state's iteration with their counts; empty for a state that no iteration made."""
    metrics = data.metrics
    if "iteration" not in metrics:
        return []
    counts, field, chosen = metrics["iteration"], metrics.get("force_field", {}), metrics.get("selection", {})
    labelled = metrics.get("labels", {}).get("status", {})
    frames = field.get("frames", {})
    return [
        (
            "generate",
            {"candidates": counts["candidates"], "draws rejected": sum(counts.get("rejected_by_generator", {}).values())},
        ),
        ("screen", {"relaxed": counts["relaxed"], "rejected": sum(counts.get("rejected", {}).values())}),
        ("curate", {"unique": counts["unique"], "S.U.N.": counts["sun"], "admitted": counts["admitted"]}),
        (
            "select",
            {"structures": sum(chosen.get("structures", {}).values()), "frames": sum(chosen.get("frames", {}).values())},
        ),
        ("label", {name: labelled[name] for name in sorted(labelled)} or {"admitted": 0}),
        ("train", {what: frames[name] for name, what in _SPLITS.items() if name in frames}),
        ("re-evaluate", {"entries": metrics["population"]["entries"], "references": metrics["population"]["references"]}),
        ("measure", {"S.U.N. in all": metrics["population"]["sun"]}),
    ]


def _draw(figure: Part, data: ReportData, steps: list[tuple[str, dict[str, Any]]]) -> None:
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set_xlim(0, 100)
    axes.set_ylim(0, 74)
    notes = _notes(data)
    for index, ((name, counts), place) in enumerate(zip(steps, _PLACES, strict=True)):
        lines = [f"{count:,} {what}" for what, count in counts.items()] + notes.get(name, [])
        _box(axes, place, name, lines[:4])
        _arrow(axes, place, _PLACES[(index + 1) % len(_PLACES)])
    view = data.view
    # a long name is written smaller, so that it stays between the boxes
    axes.text(50, 43, view.node, ha="center", va="center", fontsize=min(8.0, 8.0 * 18 / len(view.node)), fontweight="bold")
    lines = [f"iteration {view.iteration}", f"state {view.id[:SHORT_ID]}"]
    change = force_field_change(view)
    if "force_field" in data.metrics:
        lines.append("parent's force field kept" if change == "parent's" else f"{change} force field")
    axes.text(50, 35, "\n".join(lines), ha="center", va="center", fontsize=7, linespacing=1.4)


def _notes(data: ReportData) -> dict[str, list[str]]:
    code = data.view.document["config"]["labelling"]["code"]
    mature = data.metrics["maturity"]["mature"]
    return {"label": [f"by {code}"], "measure": ["mature" if mature else "not mature", "commit"]}


def _box(axes: Axes, place: tuple[float, float], name: str, lines: list[str]) -> None:
    from matplotlib.patches import FancyBboxPatch

    x, y = place
    axes.add_patch(
        FancyBboxPatch(
            (x - _WIDTH / 2, y - _HEIGHT / 2),
            _WIDTH,
            _HEIGHT,
            boxstyle="round,pad=0,rounding_size=2",
            facecolor="#eef3f8",
            edgecolor="#30506e",
            linewidth=0.8,
        )
    )
    axes.text(x, y + _HEIGHT / 2 - 3.4, name, ha="center", va="center", fontsize=7.5, fontweight="bold")
    axes.text(x, y - 2.4, "\n".join(lines), ha="center", va="center", fontsize=6.2, linespacing=1.25)


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float]) -> None:
    dx, dy = end[0] - start[0], end[1] - start[1]
    reach_x, reach_y = (_WIDTH / 2 if dx else 0.0), (_HEIGHT / 2 if dy else 0.0)
    sign_x, sign_y = (dx > 0) - (dx < 0), (dy > 0) - (dy < 0)
    axes.annotate(
        "",
        xy=(end[0] - sign_x * reach_x, end[1] - sign_y * reach_y),
        xytext=(start[0] + sign_x * reach_x, start[1] + sign_y * reach_y),
        arrowprops={"arrowstyle": "-|>", "linewidth": 1.0, "color": "#30506e", "shrinkA": 0, "shrinkB": 0, "mutation_scale": 8},
    )


_COLUMN = 21.0
"""mm between iterations."""
_WIDEST = 400.0
"""mm; longer histories stand closer."""
_LONGEST_NAME = 16
"""Letters of a branch in the drawing; the table has all of them."""


def lineage_plot(data: ReportData) -> Plot:
    """Return the graph of all states that led to the state."""
    lanes = lanes_of(data)
    rows = [
        (view.id, view.iteration, lanes[view.id], " ".join(view.parents), " ".join(data.branches.get(view.id, [])))
        for view in data.states
    ]
    span = max(view.iteration for view in data.states) + 1
    merges = sum(len(view.parents) > 1 for view in data.states)
    return Plot(
        name="lineage",
        title="Lineage",
        caption=(
            "Each circle is a state, with the beginning of its id, its iteration and the branches at it; lines lead from parents "
            "(left) to the states made from them. Dashed: merged in. On the page each state links to its row in the table."
        ),
        alt=f"Graph of {len(data.states)} states, {merges} of them merges, ending at {data.view.id[:SHORT_ID]}.",
        tables={"lineage": DataTable(("state", "iteration", "line in the drawing", "parents", "branches"), rows)},
        draw=lambda figure: _draw_lineage(figure, data, lanes),
        size=(min(max(90.0, 24.0 + _COLUMN * span), _WIDEST), 26.0 + 17.0 * max(lanes.values())),
    )


def lanes_of(data: ReportData) -> dict[str, int]:
    """Line of the drawing for each state: 0 for the state and what it continued, further ones for merged histories."""
    known = {view.id: view for view in data.states}
    lanes: dict[str, int] = {}
    count = 0
    waiting = [data.view.id]
    while waiting:
        start = waiting.pop(0)
        if start in lanes:
            continue
        state: str | None = start
        while state is not None and state not in lanes:
            lanes[state] = count
            parents = known[state].parents
            waiting.extend(parents[1:])
            state = parents[0] if parents else None
        count += 1
    return lanes


def row_anchor(view: StateView) -> str:
    """Name of a state's row in the table of states."""
    return f"state-{view.id[:16]}"


def _draw_lineage(figure: Part, data: ReportData, lanes: dict[str, int]) -> None:
    axes = figure.subplots()
    axes.set_axis_off()
    known = {view.id: view for view in data.states}
    crowded = _COLUMN * len({view.iteration for view in data.states}) > _WIDEST
    for view in data.states:
        for place, parent in enumerate(view.parents):
            start, end = (known[parent].iteration, -lanes[parent]), (view.iteration, -lanes[view.id])
            style: dict[str, Any] = {"linestyle": "--", "color": VERMILION} if place else {"color": "#555555"}
            axes.plot(*zip(start, end, strict=True), linewidth=1.2, zorder=1, **style)
    for view in data.states:
        x, y = view.iteration, -lanes[view.id]
        is_head = view.id == data.view.id
        point = axes.scatter([x], [y], s=70 if is_head else 42, color=BLUE if is_head else "white", edgecolors=BLACK, zorder=3)
        point.set_urls([f"#{row_anchor(view)}"])
        names = "\n".join([f"it. {view.iteration}", *map(_shortened, data.branches.get(view.id, []))])
        note = axes.annotate(names, (x, y), xytext=(0, 7), textcoords="offset points", ha="center", va="bottom", fontsize=6)
        note.set_in_layout(False)
        if not crowded:
            text = axes.annotate(
                view.id[:SHORT_ID],
                (x, y),
                xytext=(0, -7),
                textcoords="offset points",
                ha="center",
                va="top",
                fontsize=6,
                family="DejaVu Sans Mono",
            )
            text.set_in_layout(False)
            text.set_url(f"#{row_anchor(view)}")
    axes.set_xlim(min(view.iteration for view in data.states) - 0.6, data.view.iteration + 0.6)
    axes.set_ylim(-max(lanes.values()) - 0.7, 0.8)


def _shortened(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 1]}…"
