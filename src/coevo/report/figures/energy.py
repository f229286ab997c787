"""Panel (c): energies above hull of each iteration's sample, on one ruler and as they were measured at the time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.node_store.documents import is_refuted
from coevo.report.figures.plots import BLUE, GREY, VERMILION, DataTable, Plot, whole_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from coevo.report.figures.plots import Part
    from coevo.report.gathering import ReportData


QUANTILES = ("q05", "q25", "q50", "q75", "q95")
COLUMNS = (
    "iteration",
    "structures in the sample",
    *(f"ruler {name} of E_hull (eV/atom)" for name in QUANTILES),
    "median E_hull of all relaxed candidates at that time (eV/atom)",
)
_FEWEST_FOR_A_SHAPE = 8
_ROOM = 1.3
"""Times the largest 95 % quantile: higher values are counted at the end of the axis."""
_MOST_COUNTS = 10
_BESIDE = 0.2
"""Iterations by which the medians of the time stand to the right of the ruler's, so that neither hides the other."""


def energy_plot(data: ReportData) -> Plot:
    """Return the distributions of E_hull per iteration."""
    ruler = {int(since): found for since, found in (data.metrics.get("ruler") or {}).items() if found}
    then = {
        view.iteration: view.document["metrics"]["iteration"]["energy_above_hull"].get("q50")
        for view in data.line
        if "iteration" in view.document["metrics"]
    }
    iterations = sorted(set(ruler) | {iteration for iteration, value in then.items() if value is not None})
    rows = [
        (
            iteration,
            ruler.get(iteration, {}).get("n"),
            *(ruler.get(iteration, {}).get(name) for name in QUANTILES),
            then.get(iteration),
        )
        for iteration in iterations
    ]
    values = [(iteration, value) for iteration in sorted(ruler) for value in ruler[iteration].get("values", [])]
    medians = ", ".join(f"{iteration}: {found['q50']:.3f}" for iteration, found in sorted(ruler.items()))
    missing = "" if iterations else "no iteration has generated structures yet"
    refuted = ", refuted entries with the energies of their labels" if any(map(is_refuted, data.entries)) else ""
    return Plot(
        name="energy-above-hull",
        title="Energy above hull",
        caption=(
            "A random sample of each iteration's relaxed candidates, evaluated again by this state's force field on this state's "
            f"hull{refuted} (one ruler: a trend is the generator's). Thick bar: half of the sample; thin bar: 5 to 95 %; white "
            "dot: median; shape and points: the values, where the state keeps them (those beyond the axis are counted). "
            "Diamonds: medians of all relaxed candidates, as "
            "measured in that iteration with its own force field and hull."
        ),
        alt=missing or f"Distributions of E_hull. Medians on the ruler by iteration, eV/atom: {medians or 'none'}.",
        tables={
            "energy-above-hull": DataTable(COLUMNS, rows),
            "energy-above-hull-values": DataTable(("iteration", "ruler E_hull of one structure (eV/atom)"), values),
        },
        draw=lambda figure: _draw(figure, ruler, then, data.stable_threshold),
        missing=missing,
    )


def _draw(figure: Part, ruler: dict[int, Any], then: dict[int, Any], threshold: float) -> None:
    axes = figure.subplots()
    upper = _upper_end(ruler, then, threshold)
    for iteration, found in sorted(ruler.items()):
        _distribution(axes, iteration, found, upper)
    at_that_time = [(iteration, value) for iteration, value in sorted(then.items()) if value is not None]
    if at_that_time:
        axes.plot(
            [iteration + _BESIDE for iteration, _ in at_that_time],
            [value for _, value in at_that_time],
            marker="D",
            markerfacecolor="white",
            color=VERMILION,
            linestyle="--",
            linewidth=1.0,
            label="median at that time",
            zorder=6,
        )
    axes.axhline(threshold, color=GREY, linewidth=0.8, linestyle=":", label=f"stable up to {threshold:g}")
    axes.plot([], [], marker="o", markerfacecolor="white", color=BLUE, linewidth=4, label="ruler: median and quartiles")
    axes.set_ylim(min(-0.02 * upper, *(found["q05"] for found in ruler.values()), 0.0), upper)
    everything = sorted(set(ruler) | set(dict(at_that_time)))
    axes.set_xlim(everything[0] - 0.6, everything[-1] + 0.6)
    if len(everything) <= _MOST_COUNTS and any("n" in found for found in ruler.values()):
        axes.set_xticks(everything, [_tick(iteration, ruler.get(iteration, {})) for iteration in everything])
    else:
        whole_numbers(axes)
    axes.set_xlabel("iteration")
    axes.set_ylabel("energy above hull (eV/atom)")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, columnspacing=1.2)


def _upper_end(ruler: dict[int, Any], then: dict[int, Any], threshold: float) -> float:
    """End of the axis: a few wrecks far above all others must not press the distributions flat; they are counted instead."""
    highest = max((max(found.get("values") or [found["q95"]]) for found in ruler.values()), default=0.0)
    shown = min(highest, _ROOM * max((found["q95"] for found in ruler.values()), default=0.0))
    return 1.06 * max(shown, threshold, *(value for value in then.values() if value is not None))


def _tick(iteration: int, found: dict[str, Any]) -> str:
    return f"{iteration}\nn={found['n']}" if "n" in found else str(iteration)


def _distribution(axes: Axes, iteration: int, found: dict[str, Any], upper: float) -> None:
    import numpy as np

    everything = found.get("values", [])
    values = [value for value in everything if value <= upper]
    if len(values) < len(everything):
        words = f"{len(everything) - len(values)} above"
        axes.annotate(words, (iteration, upper), xytext=(0, -1), textcoords="offset points", ha="center", va="top", fontsize=6)
    if len(values) >= _FEWEST_FOR_A_SHAPE and len(set(values)) > 1:
        parts = axes.violinplot([values], [iteration], widths=0.8, showextrema=False, points=200)
        for body in parts["bodies"]:  # type: ignore[attr-defined]
            body.set(facecolor=BLUE, alpha=0.22, edgecolor=BLUE, linewidth=0.6)
    if values and len(values) <= 200:
        # Spread by rank, not at random: the same data give the same figure.
        offsets = 0.28 * (((np.arange(len(values)) * 0.618034) % 1.0) - 0.5)
        axes.plot(iteration + offsets, sorted(values), ".", color=BLUE, markersize=1.8, alpha=0.7, zorder=3)
    axes.plot([iteration] * 2, [found["q05"], found["q95"]], color=BLUE, linewidth=1.0, zorder=4, solid_capstyle="butt")
    axes.plot([iteration] * 2, [found["q25"], found["q75"]], color=BLUE, linewidth=4.0, zorder=4, solid_capstyle="butt")
    axes.plot(iteration, found["q50"], "o", color="white", markeredgecolor=BLUE, markersize=4, zorder=5)
