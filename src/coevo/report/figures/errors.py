"""Panel (e): errors of the force field against the number of labelled frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.report.figures.plots import BLACK, BLUE, VERMILION, DataTable, Plot, series, whole_numbers

if TYPE_CHECKING:
    from coevo.report.figures.plots import Part
    from coevo.report.gathering import ReportData


WHEN: dict[str, dict[str, Any]] = {
    "prequential": {"label": "prequential", "color": VERMILION, "marker": "^", "linestyle": ":"},
    "test_before": {
        "label": "test, before training",
        "color": BLUE,
        "marker": "s",
        "linestyle": "--",
        "markerfacecolor": "white",
    },
    "test_after": {"label": "test, after training", "color": BLACK, "marker": "o", "linestyle": "-"},
}
QUANTITIES = (
    ("energy_rmse_mev_per_atom", "energy RMSE (meV/atom)"),
    ("force_rmse_mev_per_angstrom", "force RMSE (meV/Å)"),
    ("stress_rmse_gpa", "stress RMSE (GPa)"),
)
COLUMNS = (
    "iteration",
    "labelled frames",
    "errors of",
    "frames compared",
    "energy RMSE (meV/atom)",
    "force RMSE (meV/angstrom)",
    "stress RMSE (GPa)",
    "energy MAE (meV/atom)",
    "force MAE (meV/angstrom)",
    "stress MAE (GPa)",
)
_ABSOLUTE = ("energy_mae_mev_per_atom", "force_mae_mev_per_angstrom")
GPA_PER_MEV_PER_CUBIC_ANGSTROM = 0.1602176634
"""Exact: states of before have their stress errors in meV/Å³."""


def error_plot(data: ReportData) -> Plot:
    """Return the errors of the force field, state by state."""
    rows = error_rows(data)
    missing = "" if rows else "no state has labelled frames to compare with yet"
    last = [row for row in rows if row[2] == "test_after"]
    spoken = (
        f"After {last[-1][1]} frames: {last[-1][4]:.1f} meV/atom and {last[-1][5]:.0f} meV/Å on the test split." if last else ""
    )
    return Plot(
        name="force-field-errors",
        title="Force-field errors",
        caption=(
            "Root mean square errors against labels (mean absolute ones: in the CSV). Prequential: of the model before it saw "
            "an iteration's labels, on these labels (out of sample). Test: on the frames of families that are never trained on, "
            "before and after the fine-tuning of that iteration. A model that is worse on the test split is not adopted; the "
            "table of states says so."
        ),
        alt=missing or f"Line charts of energy, force and stress errors against labelled frames. {spoken}",
        tables={"force-field-errors": DataTable(COLUMNS, rows)},
        draw=lambda figure: _draw(figure, rows),
        missing=missing,
    )


def error_rows(data: ReportData) -> list[tuple[Any, ...]]:
    """Errors over the states of the line; columns as in :data:`COLUMNS`."""
    rows = []
    for view in data.line:
        for when in WHEN:
            errors = (view.document["metrics"].get("force_field", {}).get(when) or {}).get("all")
            if errors and errors["n"]:
                squared = (errors.get(QUANTITIES[0][0]), errors.get(QUANTITIES[1][0]), _stress(errors, "rmse"))
                numbers = (*squared, *(errors.get(name) for name in _ABSOLUTE), _stress(errors, "mae"))
                rows.append((view.iteration, view.document["counts"].get("labels", 0), when, errors["n"], *numbers))
    return rows


def _stress(errors: dict[str, Any], kind: str) -> float | None:
    """Error of the stress in GPa: its ``"rmse"`` or ``"mae"``."""
    if errors.get(f"stress_{kind}_gpa") is not None:
        return float(errors[f"stress_{kind}_gpa"])
    older = errors.get(f"stress_{kind}_mev_per_cubic_angstrom")
    return None if older is None else older * GPA_PER_MEV_PER_CUBIC_ANGSTROM


def _draw(figure: Part, rows: list[tuple[Any, ...]]) -> None:
    axes = figure.subplots(3, 1, sharex=True)
    for place, ((_, label), one) in enumerate(zip(QUANTITIES, axes, strict=True)):
        for when, style in WHEN.items():
            own = [row for row in rows if row[2] == when]
            series(one, [row[1] for row in own], [row[4 + place] for row in own], **style)
        values = [row[4 + place] for row in rows if row[4 + place] is not None]
        one.set_ylim(0, 1.15 * max(values, default=1.0) or 1.0)
        one.set_title(label, loc="left", fontsize=7, pad=2)
    axes[-1].set_xlabel("labelled frames")
    whole_numbers(axes[-1])
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, columnspacing=1.2)
