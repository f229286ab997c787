"""Parity plots and crystal systems, on numbers made by hand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from coevo.node_store.store import open_store
from coevo.report.figures.crystal_systems import systems_plot
from coevo.report.figures.parity import element_errors, parity_plots
from coevo.report.figures.plots import Plot, write_plot
from coevo.report.parity import Parity, parity_of
from coevo.report.tables import group_text
from coevo.settings import Settings
from tiny_node import Coevo


def made() -> Parity:
    forces = np.zeros((3, 3, 2))
    forces[0, :, 1] = 0.1, 0.0, 0.0  # Li: off by 100 meV/Å in one of three components
    forces[1, :, 0] = 0.0, 0.2, 0.0
    forces[1, :, 1] = 0.0, 0.2, 0.0
    forces[2, :, 1] = 0.1, 0.1, -0.1  # S: in all of them
    energies = np.array([[-4.0, -4.003], [-3.0, -2.996]])
    return Parity(["a", "b"], ["Li", "LiS"], energies, [0, 1, 1], ["Li", "Li", "S"], forces, 5, 0)


def test_errors_are_told_by_element() -> None:
    by_name = {name: (atoms, rmse, mae) for name, atoms, rmse, mae in element_errors(made())}
    assert by_name["Li"] == (2, pytest.approx(100 / 6**0.5), pytest.approx(100 / 6))
    assert by_name["S"] == (1, pytest.approx(100.0), pytest.approx(100.0))
    assert by_name["all"] == (3, pytest.approx((4e4 / 9) ** 0.5), pytest.approx(400 / 9))


def drawn(plot: Plot, folder: Path) -> str:
    for name in ("figures", "data"):
        (folder / name).mkdir(exist_ok=True)
    write_plot(plot, folder)
    return (folder / "figures" / f"{plot.name}.svg").read_text()


def test_the_plots_say_what_they_show(tmp_path: Path) -> None:
    energy, force = parity_plots(made(), "somebody")
    assert "2 of 5 frames of the test split" in energy.caption
    assert "labelled by somebody" in energy.caption
    assert "RMSE 3.5 meV/atom" in energy.caption  # of 3 and 4
    assert "Li 41, S 100, all 67" in force.caption
    for plot in (energy, force):
        assert "<path" in drawn(plot, tmp_path)
    assert (tmp_path / "data" / "parity-force.csv").read_text().count("\n") == 1 + 9
    none = parity_plots(Parity([], [], np.zeros((0, 2)), [], [], np.zeros((0, 3, 2)), 0, 0), "nobody")
    assert {plot.missing for plot in none} == {"the state has no admitted label in its test split"}


def test_systems_are_counted(tmp_path: Path) -> None:
    rows = [{"space_group": number} for number in (1, 2, 14, 225)] + [{"space_group": None}]
    data: Any = SimpleNamespace(references=rows[:1], live_entries=rows, sun_entries=rows[3:4])
    plot = systems_plot(data)
    table = {row[0]: row[1:] for row in plot.tables["crystal-systems"].rows}
    assert table["triclinic"] == (1, 2, 0)
    assert table["monoclinic"] == (0, 1, 0)
    assert table["cubic"] == (0, 1, 1)
    assert table["not found"] == (0, 1, 0)
    assert "most entries, 2 of 5, are triclinic" in plot.alt
    drawn(plot, tmp_path)


def test_space_groups_have_symbols_where_they_are_numbers() -> None:
    assert [group_text(found) for found in (14, 0, 231, "P 1", None)] == ["P2_1/c (14)", "0", "231", "P 1", "–"]


@pytest.mark.long
def test_the_errors_are_those_that_the_state_records(finished: Coevo, tmp_path: Path) -> None:
    with open_store(Settings(database=f"file:{finished.database}")) as store:
        view = store.state("tiny")
        parity = parity_of(store, view)
    told = view.document["metrics"]["force_field"]["test_after"]["all"]
    assert len(parity.ids) == told["n"] > 0
    assert 1000 * np.sqrt(np.mean(np.diff(parity.energies) ** 2)) == pytest.approx(told["energy_rmse_mev_per_atom"], rel=1e-3)
    assert element_errors(parity)[-1][2] == pytest.approx(told["force_rmse_mev_per_angstrom"], rel=1e-3)
    finished("report", "tiny", "--without-map", "--parity", "--output", str(tmp_path / "out"))
    assert (tmp_path / "out" / "figures" / "parity-force.svg").is_file()
