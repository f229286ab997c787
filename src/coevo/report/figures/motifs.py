"""Panel (f): motifs by the iteration in which an entry first had them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.report.figures.labels_on_axes import place_labels
from coevo.report.figures.plots import BLUE, ORANGE, VERMILION, DataTable, Plot, whole_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from coevo.analysis.motifs.census import CensusRow
    from coevo.report.figures.plots import Part
    from coevo.report.gathering import ReportData


COLUMNS = ("iteration of first appearance", "motif", "group", "lowest E_hull of an entry with it (eV/atom)", "entries with it")
GROUPS: dict[str, dict[str, Any]] = {
    "references have it": {"color": BLUE, "marker": "s", "hatch": ""},
    "new, with a name": {"color": VERMILION, "marker": "^", "hatch": "////"},
    "new, without a name": {"color": ORANGE, "marker": "o", "hatch": "...."},
}
_MOST_LABELS = 14


def motif_plot(data: ReportData, rows: Sequence[CensusRow]) -> Plot:
    """Return when motifs appeared, and how stable the best entry with each is."""
    found = sorted(
        (row.first_iteration, row.motif.name, _group(row), row.best_e_hull, row.carriers)
        for row in rows
        if row.carriers and row.first_iteration is not None and row.best_e_hull is not None
    )
    counts = {group: sum(row[2] == group for row in found) for group in GROUPS}
    missing = ""
    if not found:
        missing = "the state has no entries yet" if not data.entries else "no entry has bonded or bare non-metal atoms"
    return Plot(
        name="motif-appearance",
        title="Motifs",
        caption=(
            "Motifs (pieces of the bond graph of non-metal atoms) by the iteration that first admitted an entry with them. "
            "Above: how "
            "many; below: E_hull of the best entry with each. New: no reference has it. Names are written where there is "
            "room, those of low E_hull first; all are in the CSV."
        ),
        alt=missing
        or f"Bar chart and scatter plot of {len(found)} motifs: {', '.join(f'{n} {group}' for group, n in counts.items())}.",
        tables={"motif-appearance": DataTable(COLUMNS, found)},
        draw=lambda figure: _draw(figure, found, data.stable_threshold),
        missing=missing,
    )


def _group(row: CensusRow) -> str:
    if row.in_references:
        return "references have it"
    return "new, with a name" if row.motif.known else "new, without a name"


def _draw(figure: Part, found: list[tuple[Any, ...]], threshold: float) -> None:
    from matplotlib.ticker import MaxNLocator

    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1, 2.2))
    iterations = sorted({row[0] for row in found})
    floor = dict.fromkeys(iterations, 0)
    for group, style in GROUPS.items():
        counts = [sum(row[0] == iteration and row[2] == group for row in found) for iteration in iterations]
        above.bar(
            iterations,
            counts,
            bottom=[floor[i] for i in iterations],
            width=0.6,
            label=group,
            color=style["color"],
            hatch=style["hatch"],
            edgecolor="white",
            linewidth=0.4,
        )
        floor = {i: floor[i] + count for i, count in zip(iterations, counts, strict=True)}
    above.set_ylabel("first seen")
    above.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=3))
    _scatter(below, found)
    below.axhline(threshold, color="#8a8a8a", linestyle=":", linewidth=0.8)
    below.set_xlim(iterations[0] - 0.6, iterations[-1] + 0.75)
    top = max(*(row[3] for row in found), threshold)
    below.set_ylim(-0.06 * top, 1.12 * top)
    below.set_xlabel("iteration of first appearance")
    below.set_ylabel("best E_hull\n(eV/atom)")
    whole_numbers(below)
    figure.align_ylabels([above, below])
    figure.legend(*below.get_legend_handles_labels(), loc="outside lower center", ncols=3, columnspacing=1.0, handletextpad=0.3)
    lowest = sorted((row for row in found if not row[1].count("#")), key=lambda row: (row[3], row[1]))[:_MOST_LABELS]
    places = _places(found)
    place_labels(below, [(places[row], row[1]) for row in lowest], list(places.values()), reach=10.0, cover=0)


def _places(found: list[tuple[Any, ...]]) -> dict[tuple[Any, ...], tuple[float, float]]:
    """Where each motif stands: those of one iteration side by side, in the order of E_hull."""
    places = {}
    for iteration in {row[0] for row in found}:
        own = sorted((row for row in found if row[0] == iteration), key=lambda row: (row[3], row[1]))
        for rank, row in enumerate(own):
            places[row] = (iteration + 0.34 * (((rank + 0.5) * 0.618034) % 1.0 - 0.5), row[3])
    return places


def _scatter(axes: Axes, found: list[tuple[Any, ...]]) -> None:
    places = _places(found)
    for group, style in GROUPS.items():
        own = [places[row] for row in found if row[2] == group]
        if own:
            axes.plot(
                *zip(*own, strict=True),
                style["marker"],
                color=style["color"],
                markersize=3.6,
                label=group,
                markeredgecolor="white",
                markeredgewidth=0.3,
            )
