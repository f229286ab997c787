"""Panel (b): how the node grew, and how much of the space of compositions its entries cover."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.report.figures.plots import STYLES, DataTable, Plot, series, whole_numbers

if TYPE_CHECKING:
    from coevo.report.figures.plots import Part
    from coevo.report.gathering import ReportData


DIVISIONS = 10
"""Of each edge of the composition simplex: the grid has steps of 10 % of the atoms."""
COLUMNS = (
    "iteration",
    "candidates (cumulative)",
    "entries",
    "S.U.N. entries",
    "labels",
    "compositions of entries",
    "covered cells of the composition grid (fraction)",
)


def growth_plot(data: ReportData) -> Plot:
    """Return the growth of the node, state by state."""
    rows = growth_rows(data)
    missing = "" if len(rows) > 1 else "the node has one state so far; growth needs an iteration"
    last = rows[-1]
    return Plot(
        name="growth",
        title="Growth",
        caption=(
            "Above: candidates generated so far, and entries, S.U.N. entries and labels of each state, as counted in that state. "
            f"Below: share of the cells of a grid over compositions (steps of {100 // DIVISIONS} % of the atoms) that hold an "
            "entry of this state admitted by then. Linear axes."
        ),
        alt=missing
        or (
            f"Line chart over {len(rows)} states: at iteration {last[0]} {last[1]} candidates, {last[2]} entries, {last[3]} "
            f"S.U.N. entries, {last[4]} labels; {100 * last[6]:.0f} % of the composition grid covered."
        ),
        tables={"growth": DataTable(COLUMNS, rows)},
        draw=lambda figure: _draw(figure, rows),
        missing=missing,
    )


def growth_rows(data: ReportData) -> list[tuple[Any, ...]]:
    """One row per state of the line, oldest first; columns as in :data:`COLUMNS`."""
    from coevo.analysis.composition import fractions
    from coevo.analysis.signals.coverage import composition_coverage

    added = [row["iteration_added"] for row in data.entries]
    shares = fractions([row["formula"] for row in data.entries], data.elements)
    rows = []
    for view in data.line:
        counts = view.document["counts"]
        there = [index for index, iteration in enumerate(added) if iteration is not None and iteration <= view.iteration]
        cover = composition_coverage(data.elements, shares[there], DIVISIONS)
        rows.append(
            (
                view.iteration,
                data.candidates_until(view),
                counts["entries"],
                view.document["metrics"].get("population", {}).get("sun"),
                counts.get("labels", 0),
                cover.compositions,
                cover.grid_coverage,
            )
        )
    return rows


def _draw(figure: Part, rows: list[tuple[Any, ...]]) -> None:
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2.2, 1))
    x = [row[0] for row in rows]
    for column, name, style in zip(range(1, 5), ("candidates", "entries", "S.U.N.", "labels"), STYLES, strict=False):
        series(above, x, [row[column] for row in rows], label=name, **style)
    above.set_ylabel("count")
    above.set_ylim(bottom=0)
    above.legend(loc="upper left")
    series(below, x, [100 * row[6] for row in rows], color="#000000", marker="o")
    below.set_ylabel("composition\ngrid (%)")
    below.set_ylim(0, None)
    below.margins(y=0.2)
    below.set_xlabel("iteration")
    whole_numbers(below)
    figure.align_ylabels([above, below])
