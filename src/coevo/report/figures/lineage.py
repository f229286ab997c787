"""The states that led to a state, as a graph: iterations from left to right, merged histories below."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.report.figures.plots import BLACK, BLUE, VERMILION, DataTable, Plot
from coevo.report.gathering import SHORT_ID

if TYPE_CHECKING:
    from coevo.node_store.views import StateView
    from coevo.report.figures.plots import Part
    from coevo.report.gathering import ReportData


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
        draw=lambda figure: _draw(figure, data, lanes),
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


def _draw(figure: Part, data: ReportData, lanes: dict[str, int]) -> None:
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
