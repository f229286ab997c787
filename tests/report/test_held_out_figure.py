"""Frames of the held-out set that a force field does not evaluate are named, not left out silently."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from coevo.report.figures.held_out import held_out_plot

ABOUT = {"digest": "one", "since": 1, "frames": 9, "structures": 3, "code": "espresso", "functional": "PBE"}


def state(iteration: int, failed: int) -> Any:
    names = ("energy_rmse_mev_per_atom", "energy_mae_mev_per_atom", "force_rmse_mev_per_angstrom")
    names += ("force_mae_mev_per_angstrom", "stress_rmse_gpa", "stress_mae_gpa")
    errors = {"n": 9 - failed, **dict.fromkeys(names, 1.0), "failed": failed}
    model = {"force_field": {"sha256": f"model {iteration}"}}
    document = {"metrics": {"held_out": {**ABOUT, "errors": errors}}, "checkpoints": model}
    return SimpleNamespace(iteration=iteration, id=f"state {iteration}", document=document)


def plot_of(*failed: int) -> Any:
    line: Any = SimpleNamespace(line=[state(iteration, count) for iteration, count in enumerate(failed, start=1)])
    return held_out_plot(line)


def test_states_whose_model_fails_on_frames_are_named() -> None:
    plot = plot_of(0, 2, 1)
    (table,) = plot.tables.values()
    place = table.columns.index("frames not evaluated")
    assert [row[place] for row in table.rows] == [0, 2, 1]
    said = "Frames that the force field did not evaluate, and that are in no error of it: 2 of iteration 2, 1 of iteration 3."
    assert said in plot.caption
    assert said in plot.alt


def test_nothing_is_said_where_all_frames_were_evaluated() -> None:
    assert "did not evaluate" not in plot_of(0, 0).caption
