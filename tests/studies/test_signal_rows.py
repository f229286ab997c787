"""Signals as rows, sparklines and a sentence, of metrics by hand; real ones are in test_command_line.py."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coevo.analysis.signals.maturity import maturity
from coevo.configs.tree import MaturityConfig
from coevo.studies.states.signal_rows import signal_rows, sparkline
from coevo.studies.states.summaries import next_step

CONFIG = MaturityConfig(environments=100, min_frames=10, min_test_frames=2, ruler_size=32)


@dataclass
class State:
    iteration: int
    metrics: dict[str, Any]
    parents: list[State] = field(default_factory=list)
    model: str = ""

    @property
    def document(self) -> dict[str, Any]:
        return {"metrics": self.metrics, "checkpoints": {"force_field": {"sha256": self.model or f"model {self.iteration}"}}}

    def first_parents(self) -> list[State]:
        return list(reversed(self.parents))


def sample(median=0.1, distinct=30, error=0.01, formulas=12.5):
    diversity = {"n": 32, "distinct": distinct, "effective_formulas": formulas, "effective_space_groups": 3.0}
    shares = {"stable": 0.5, "unique": 1.0, "novel": 0.9, "sun": 0.4}
    return {"n": 32, "q50": median, "standard_error": error, "values": [median] * 32, "diversity": diversity, **shares}


def metrics(iterations, entropy=3.0, frames=50, **more):
    estimate = {"mean": entropy, "standard_error": 0.02, "n": 100, "ln_n": 4.605, "environments": 400}
    return {
        "iteration": {},
        "ruler": {str(i): sample() for i in range(1, iterations + 1)},
        "entropy": {**estimate, "per_species": {"Li": estimate, "S": None}},
        "entropy_multicomponent": None,
        "new_environments": {"fraction": 0.25, "standard_error": 0.03, "n": 100},
        "environment_entropy": entropy,
        "energy_rmse_mev_per_atom": 20.0,
        "force_rmse_mev_per_angstrom": 100.0,
        "force_field": {
            "frames": {"train": frames, "validation": 5, "test": 5},
            "prequential": {
                "all": {"energy_rmse_mev_per_atom": 30.0, "force_rmse_mev_per_angstrom": 150.0, "stress_rmse_gpa": 0.5}
            },
        },
        **more,
    }


def test_rows_have_a_value_for_each_iteration():
    first = {"ruler": {}, "entropy": None, "environment_entropy": None, "energy_rmse_mev_per_atom": None}
    parents = [State(0, first), State(1, metrics(1)), State(2, metrics(2, entropy=3.2))]
    rows = {row.name: row for row in signal_rows(State(3, metrics(3, entropy=3.1), parents))}
    assert rows["median E_hull of candidates"].iterations == (1, 2, 3)
    assert rows["entropy of environments"].iterations == (0, 1, 2, 3)
    assert rows["entropy of environments"].values == (None, 3.0, 3.2, 3.1)
    assert rows["entropy of environments"].error == 0.02
    assert rows["… about S"].values == (None,) * 4
    assert rows["share of new environments"].values == (None, 0.25, 0.25, 0.25)
    assert rows["labelled frames"].values == (None, 60.0, 60.0, 60.0)
    assert rows["prequential RMSE, stress"].values[-1] == 0.5
    assert rows["distinct per candidate"].values == (30 / 32,) * 3


def held_out(digest: str, energy: float, **more: Any) -> dict[str, Any]:
    return {"held_out": {"digest": digest, "errors": {"energy_rmse_mev_per_atom": energy}, **more}}


def test_errors_on_the_held_out_set_are_of_one_set():
    """Also those of a force field that several states share, and of the ones before the state that fixed the set."""
    before = [{"model": "model 0", "errors": {"energy_rmse_mev_per_atom": 50.0}}]
    parents = [
        State(0, metrics(0)),
        State(1, metrics(1, **held_out("another", 9.0))),
        State(2, metrics(2, **held_out("one", 40.0, before=before, ids=["a"]))),
        State(3, metrics(3), model="model 2"),
    ]
    last = State(4, metrics(4, **held_out("one", 30.0), stiffness={"bulk_modulus_ratio": 0.7, "frequency_ratio": None}), parents)
    rows = {row.name: row for row in signal_rows(last)}
    assert rows["held-out RMSE, energy"].values == (50.0, None, 40.0, 40.0, 30.0)
    assert rows["held-out RMSE, force"].values == (None,) * 5
    assert rows["bulk modulus, model over labels"].values == (None, None, None, None, 0.7)
    assert "held-out frames not evaluated" not in rows
    last.metrics["held_out"]["errors"]["failed"] = 3
    rows = {row.name: row for row in signal_rows(last)}
    assert rows["held-out frames not evaluated"].values == (None, None, None, None, 3.0)
    older = {row.name: row for row in signal_rows(State(1, metrics(1), [State(0, metrics(0))]))}
    assert older["held-out RMSE, energy"].values == (None, None)


def test_sparkline():
    assert sparkline([0.0, 1.0, 2.0, 3.0, 7.0]) == "▁▂▃▄█"
    assert sparkline([2.0, 2.0]) == "▄▄"
    assert sparkline([None, 1.0, None, 0.0]) == "·█·▁"
    assert sparkline([]) == ""


@given(st.lists(st.none() | st.floats(-1e6, 1e6), max_size=20))
def test_a_sparkline_has_a_character_for_each_value(values):
    line = sparkline(values)
    assert len(line) == len(values)
    assert [mark == "·" for mark in line] == [value is None for value in values]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, "n is mature"),
        ({"ruler": {"1": sample(), "2": sample(), "3": sample(distinct=9)}}, "the generator repeats itself"),
        ({"ruler": {"1": sample(formulas=20.0), "2": sample(), "3": sample()}}, "look at the formulas of the last candidates"),
        ({"frames": 1}, "more labels: 11 labelled frames so far, maturity.min_frames is 20"),
        ({"environment_entropy": None}, "more entries"),
        ({"environment_entropy": 4.6}, "raise maturity.environments towards the number that the state has (400)"),
        ({"ruler": {str(i): sample(error=0.03) for i in (1, 2, 3)}}, "the median of 32 candidates is too uncertain"),
        ({"ruler": {"1": sample(), "2": sample()}}, "more iterations, to see whether the signals settle: coevo run n -n 3"),
        ({"energy_rmse_mev_per_atom": 40.0}, "the force field signal still moves"),
    ],
)
def test_the_sentence_names_what_is_missing(change, expected):
    config = CONFIG.model_copy(update={"min_frames": 20})
    last = metrics(3, **{k: v for k, v in change.items() if k != "entropy"})
    found = {**last, "maturity": maturity([metrics(1), metrics(2), last], config).to_dict()}
    assert expected in next_step("n", found, {"maturity": config.model_dump()})


def test_a_new_node_is_to_be_run():
    found = {"ruler": {}, "maturity": maturity([{}], CONFIG).to_dict()}
    assert next_step("n", found, {"maturity": CONFIG.model_dump()}) == "no candidate was generated yet: coevo run n -n 3"
