"""The second opinion in a figure: who calls what stable, and what the members' spread says of errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.report.figures.plots import BLACK, BLUE, GREY, VERMILION, DataTable, Plot

if TYPE_CHECKING:
    from coevo.report.figures.plots import Part
    from coevo.report.gathering import ReportData

QUANTITIES = {"energy": "meV/atom", "force": "meV/Å"}


def agreement_plot(data: ReportData) -> Plot:
    """Return the share of entries on which each two voices agree."""
    agreement = data.metrics["committee"]["agreement"]
    names, pairs = agreement["voices"], agreement["pairs"]
    missing = "" if len(names) > 1 and agreement["compared"] else "fewer than two voices have a say, or there is no entry yet"
    shown = [_shown(data, name) for name in names]
    rows = [(one, other, pairs[i][j]) for i, one in enumerate(names) for j, other in enumerate(names)]
    counts = [(name, count) for name, count in zip(names, agreement["stable"], strict=True)]
    return Plot(
        name="agreement",
        title="Who calls what stable",
        caption=(
            f"Share of the {agreement['compared']} entries (duplicates left out) on which two models agree whether they are "
            "stable, each on its own hull; beside each, how many it calls stable."
        ),
        alt=missing
        or f"Matrix of agreement. All call {agreement['all']} of {agreement['compared']} entries stable, any {agreement['any']}.",
        tables={
            "agreement": DataTable(("model", "other model", "share of entries on which they agree"), rows),
            "stable-by-model": DataTable(("model", "entries that it calls stable"), counts),
        },
        draw=lambda figure: _draw_agreement(figure, shown, pairs, agreement["stable"]),
        missing=missing,
    )


def _shown(data: ReportData, name: str) -> str:
    return f"{data.metrics['committee']['force_field']['family']} (own)" if name == "force_field" else name.replace("_", " ")


def _draw_agreement(figure: Part, names: list[str], pairs: list[list[float]], stable: list[int]) -> None:
    axes = figure.subplots()
    image = axes.imshow(pairs, vmin=0.0, vmax=1.0, cmap="cividis", aspect="auto")
    for i, row in enumerate(pairs):
        for j, value in enumerate(row):
            axes.text(
                j, i, f"{100 * value:.0f}", ha="center", va="center", color="black" if value > 0.6 else "white", fontsize=6.5
            )
    axes.set_yticks(range(len(names)), [f"{name}: {count}" for name, count in zip(names, stable, strict=True)], fontsize=6.5)
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right", fontsize=6.5)
    axes.tick_params(length=0)
    figure.colorbar(image, ax=axes, shrink=0.8, label="share that two agree on")


def calibration_plot(data: ReportData) -> Plot:
    """Return errors on new labels against the spread of the members that had not seen them, of all states of the line."""
    rows, bins = calibration_rows(data)
    missing = "" if rows else "no state has new labels that members of its parent could have judged"
    last = next((each for each in reversed(list(_calibrations(data))) if each[1].get("energy")), None)
    rank = last[1]["energy"]["spearman"] if last else None
    spoken = f" Iteration {last[0]}: rank correlation of energies {rank:.2f}." if last and rank is not None else ""
    return Plot(
        name="calibration",
        title="Is the spread worth something",
        caption=(
            "Error of the force field on labels that neither it nor its members had seen, against the standard deviation of what "
            "they said of these frames: one point a frame (at most 120 of an iteration), and root mean squares of groups of "
            "equal size. On the dashed line the error is as large as the spread; above it the members are too sure."
        ),
        alt=missing or f"Scatter plots of errors against predicted spreads, for energies and forces.{spoken}",
        tables={
            "calibration": DataTable(("iteration", "quantity", "spread", "error", "unit"), rows),
            "calibration-groups": DataTable(("iteration", "quantity", "frames", "spread", "error", "unit"), bins),
        },
        draw=lambda figure: _draw_calibration(figure, rows, bins),
        missing=missing,
        size=(90.0, 110.0),
    )


def _calibrations(data: ReportData) -> list[tuple[int, dict[str, Any]]]:
    found = [(view.iteration, (view.document["metrics"].get("committee") or {}).get("calibration")) for view in data.line]
    return [(iteration, each) for iteration, each in found if each]


def calibration_rows(data: ReportData) -> tuple[list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Points and groups of all states of the line."""
    rows: list[tuple[Any, ...]] = []
    bins: list[tuple[Any, ...]] = []
    for iteration, each in _calibrations(data):
        for quantity, unit in QUANTITIES.items():
            found = each.get(quantity) or {"points": [], "bins": []}
            rows += [(iteration, quantity, spread, error, unit) for spread, error in found["points"]]
            bins += [(iteration, quantity, group["n"], group["spread"], group["error"], unit) for group in found["bins"]]
    return rows, bins


def _draw_calibration(figure: Part, rows: list[tuple[Any, ...]], bins: list[tuple[Any, ...]]) -> None:
    columns = figure.subplots(2, 1)
    latest = max((row[0] for row in rows), default=0)
    for axes, (quantity, unit) in zip(columns, QUANTITIES.items(), strict=True):
        own = [row for row in rows if row[1] == quantity]
        for older, colour, label in ((True, GREY, "earlier iterations"), (False, BLUE, f"iteration {latest}")):
            points = [row for row in own if (row[0] < latest) == older]
            if points:
                axes.plot([p[2] for p in points], [p[3] for p in points], ".", color=colour, markersize=3, label=label)
        groups = [row for row in bins if row[1] == quantity and row[0] == latest]
        axes.plot([g[3] for g in groups], [g[4] for g in groups], "s-", color=VERMILION, markersize=4, label="groups (rms)")
        axes.axline((0.0, 0.0), slope=1.0, linestyle="--", color=BLACK, linewidth=0.8)
        axes.set_xlabel(f"spread of the members ({unit})")
        axes.set_ylabel(f"error on new labels ({unit})")
        axes.set_title(quantity, loc="left", fontsize=7, pad=2)
        axes.set_xlim(0, 1.1 * max((row[2] for row in own), default=1.0) or 1.0)
        axes.set_ylim(0, 1.1 * max((row[3] for row in own), default=1.0) or 1.0)
    figure.legend(*columns[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
