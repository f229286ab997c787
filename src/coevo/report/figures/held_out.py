"""All checkpoints of a node on one set of labelled frames that none of them was trained on: Fig. 1(e) without a moving target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.report.figures.plots import BLACK, BLUE, DataTable, Plot, series, whole_numbers
from coevo.studies.states.held_out import held_out_course

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.node_store.views import StateView
    from coevo.report.figures.plots import Part
    from coevo.report.gathering import ReportData

COLUMNS = (
    "iteration",
    "state",
    "force field",
    "frames compared",
    "energy RMSE (meV/atom)",
    "energy MAE (meV/atom)",
    "force RMSE (meV/angstrom)",
    "force MAE (meV/angstrom)",
    "stress RMSE (GPa)",
    "stress MAE (GPa)",
    "frames not evaluated",
)
_KEYS = (
    "n",
    "energy_rmse_mev_per_atom",
    "energy_mae_mev_per_atom",
    "force_rmse_mev_per_angstrom",
    "force_mae_mev_per_angstrom",
    "stress_rmse_gpa",
    "stress_mae_gpa",
    "failed",
)
_QUANTITIES = ("energy (meV/atom)", "force (meV/Å)", "stress (GPa)")
_RMSE: dict[str, Any] = {"label": "RMSE", "color": BLACK, "marker": "o", "linestyle": "-"}
_MAE: dict[str, Any] = {"label": "MAE", "color": BLUE, "marker": "s", "linestyle": "--", "markerfacecolor": "white"}


def held_out_plot(data: ReportData) -> Plot:
    """Return the errors of the force field of each state of the line on the held-out set."""
    course = held_out_course(data.line)
    rows = [
        (view.iteration, view.id, _model(view), *((found or {}).get(key) for key in _KEYS))
        for view, found in zip(data.line, course.errors, strict=True)
    ]
    missing = "" if course.about else "no state has labels that are held out yet, or none has recorded errors on them"
    about = course.about or {}
    without = [str(row[0]) for row in rows if row[3] is None]
    left_out = (
        f" Not there: the {_models(without)} of {_iterations(without)}, of which no errors on this set were recorded."
        if without and not missing
        else ""
    )
    failed = ", ".join(f"{row[10]} of iteration {row[0]}" for row in rows if row[10])
    left_out += f" Frames that the force field did not evaluate, and that are in no error of it: {failed}." if failed else ""
    last = next((row for row in reversed(rows) if row[3] is not None), None)
    spoken = f"Last: {last[4]:.1f} meV/atom and {last[6]:.0f} meV/Å." if last and last[4] is not None else ""
    held = (
        f"{about['frames']} labelled frames of {about['structures']} structures ({about['code']}, {about['functional']}), fixed "
        f"in iteration {about['since']}: the same for all points. "
        if about
        else ""
    )
    return Plot(
        name="held-out-errors",
        title="All force fields on one held-out set",
        caption=f"{held}None of the force fields was trained on them. Root mean square and mean absolute errors.{left_out}",
        alt=missing or f"Line charts of energy, force and stress errors of each iteration's force field. {spoken}{left_out}",
        tables={"held-out-errors": DataTable(COLUMNS, rows)},
        draw=lambda figure: _draw(figure, rows),
        missing=missing,
    )


def _model(view: StateView) -> str:
    return str(view.document["checkpoints"]["force_field"]["sha256"])


def _models(without: Sequence[str]) -> str:
    return "force field" if len(without) == 1 else "force fields"


def _iterations(without: Sequence[str]) -> str:
    if len(without) == 1:
        return f"iteration {without[0]}"
    return f"iterations {', '.join(without[:-1])} and {without[-1]}"


def _draw(figure: Part, rows: Sequence[tuple[Any, ...]]) -> None:
    axes = figure.subplots(3, 1, sharex=True)
    x = [row[0] for row in rows]
    for place, (name, one) in enumerate(zip(_QUANTITIES, axes, strict=True)):
        columns = [[row[4 + 2 * place + which] for row in rows] for which in (0, 1)]
        for values, style in zip(columns, (_RMSE, _MAE), strict=True):
            series(one, x, values, **style)
        known = [value for values in columns for value in values if value is not None]
        one.set_ylim(0, 1.15 * max(known, default=1.0) or 1.0)
        one.set_xlim(min(x) - 0.3, max(x) + 0.3)
        one.set_title(name, loc="left", fontsize=7, pad=2)
    axes[-1].set_xlabel("iteration")
    whole_numbers(axes[-1])
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, columnspacing=1.2)
