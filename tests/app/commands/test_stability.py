"""``coevo study phonons`` and ``coevo study stability`` on the command line."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from coevo.app.commands.study.stability import values
from coevo.errors import ConfigError
from tiny_node import copy_of

if TYPE_CHECKING:
    from pathlib import Path

    from tiny_node import Coevo


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0:900:300", (0, 300, 600, 900)), ("0:100:30", (0, 30, 60, 90)), ("300,600", (300, 600)), ("5", (5,)), ("0:1:0.1", None)],
)
def test_numbers_are_read(text: str, expected: tuple[float, ...] | None) -> None:
    found = values("--temperatures", text)
    assert found == (expected or tuple(round(number / 10, 9) for number in range(11)))


@pytest.mark.parametrize("text", ["", "a", "0:900", "0:900:0", "0:900:-1", "900:0:1", "0:1e9:1", "nan:1:1", "0:inf:1", "1,,2"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--temperatures: got"):
        values("--temperatures", text)


def test_phonons_of_a_node_are_joined_to_its_entries(finished: Coevo, tmp_path: Path) -> None:
    coevo = copy_of(finished.directory, tmp_path)
    asked = ("study", "phonons", "tiny", 'formula="Li2S"', "--references", "--limit", "1", "--length", "5")
    plan = coevo("study", "phonons", "tiny", 'formula="Li2S"', "--references", "--limit", "1", "--length", "5", "--plan")
    assert "supercells of up to" in plan.stdout
    shown = coevo(*asked).stdout
    assert "Li2S" in shown
    assert re.search(r"1 of 1 phases are dynamically stable|0 of 1 phases are dynamically stable", shown)
    document = json.loads(coevo("study", "show", "tiny", "phonons", "--format", "json").stdout)
    (phase,) = document["results"]["phases"]
    said = document["entries"][phase["id"]]["dynamically_stable"]
    assert said is (phase["status"] == "harmonic")
    assert document["settings"]["follow"] == 0
    assert document["packages"]["phonopy"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--temperatures", "300,200"), "ascending"),
        (("--pressures", "x"), "--pressures: got 'x'"),
        (("--plot", "figure.txt"), "allowed: a file that ends in"),
        (("--length", "1"), "--length"),
    ],
)
def test_options_that_are_none_are_refused_before_anything_is_computed(
    finished: Coevo, options: tuple[str, ...], message: str
) -> None:
    result = finished("study", "stability", "tiny", *options, code=2)
    assert message in result.stderr


@pytest.mark.long
def test_stability_of_a_node_has_hulls_a_figure_and_the_state_stays(finished: Coevo, tmp_path: Path) -> None:
    coevo = copy_of(finished.directory, tmp_path)
    figure = tmp_path / "stability.png"
    options = ("--near", "0.001", "--temperatures", "0,300", "--length", "5", "--plot", str(figure))
    where = 'elements HAS ONLY "Li","P" AND nsites<=8'
    shown = coevo("study", "stability", "tiny", where, *options, "--format", "json")
    document = json.loads(shown.stdout)
    assert figure.stat().st_size > 1000
    hulls = document["results"]["hulls"]
    assert [hull["temperature"] for hull in hulls] == [0.0, 300.0]
    state = {phase["id"]: phase["e_hull"] for phase in document["phases"]}
    at_rest = document["results"]["static"]["above"]
    assert at_rest, "some of these phases have no unstable mode"
    harmonic = [row for row in document["results"]["phases"] if row["status"] == "harmonic"]
    assert harmonic
    for row in harmonic:
        assert row["energy"] + row["shift"] == pytest.approx(row["energy_per_atom"], abs=2e-3), "as in the state, relaxed further"
    assert {name: state[name] for name in at_rest} == pytest.approx(at_rest, abs=2e-3), "the state's hull, relaxed further"
    assert {phase["status"] for phase in document["results"]["phases"]} <= {
        "harmonic",
        "followed",
        "unstable",
        "outside_volumes",
        "failed",
    }
    again = json.loads(coevo("study", "stability", "tiny", where, *options, "--format", "json").stdout)
    assert again["id"] == document["id"]
