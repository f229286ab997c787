"""Signals computed again from a state alone are those that it records; a number that was changed is found."""

from __future__ import annotations

from copy import deepcopy

import pytest

from coevo.configs.tree import NodeConfig
from coevo.makers.signals.recomputation import compare_signals
from coevo.node_store.store import open_store
from coevo.settings import Settings
from tiny_node import Coevo


@pytest.fixture
def store(finished: Coevo, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COEVO_DATABASE", f"file:{finished.database}")
    with open_store(Settings(database=f"file:{finished.database}")) as store:
        yield store


@pytest.mark.parametrize("ref", ["tiny", "tiny~1", "tiny~2"])
def test_all_signals_come_out_again(store, ref) -> None:
    view = store.state(ref)
    rows = compare_signals(store, view, NodeConfig.model_validate(view.document["config"]), 1)
    assert [row.name for row in rows if not row.agrees] == []
    names = {row.name for row in rows if row.stored is not None}
    if view.iteration == 2:
        assert {
            "entropy",
            "entropy about S",
            "share of new environments",
            "E_hull q50 of iteration 1",
            "test RMSE, force",
        } <= names


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (("entropy", "mean"), "entropy"),
        (("entropy_multicomponent", "per_species", "S", "mean"), "entropy, neighbours' species seen about S"),
        (("new_environments", "fraction"), "share of new environments"),
        (("ruler", "1", "q50"), "E_hull q50 of iteration 1"),
        (("energy_rmse_mev_per_atom",), "test RMSE, energy"),
        (("held_out", "errors", "stress_rmse_gpa"), "held-out RMSE, stress"),
    ],
)
def test_a_changed_number_is_found(store, monkeypatch: pytest.MonkeyPatch, path, name) -> None:
    view = store.state("tiny")
    document = deepcopy(view.document)
    place = document["metrics"]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] += 0.05 if path[-1] != "energy_rmse_mev_per_atom" else 0.5
    monkeypatch.setattr(view, "document", document)
    rows = compare_signals(store, view, NodeConfig.model_validate(document["config"]), 1)
    assert [row.name for row in rows if not row.agrees] == [name]


def test_errors_on_the_held_out_set_are_told_of_a_state_of_before(store, monkeypatch: pytest.MonkeyPatch) -> None:
    view = store.state("tiny")
    document = deepcopy(view.document)
    recorded = document["metrics"].pop("held_out")["errors"]
    monkeypatch.setattr(view, "document", document)
    rows = {row.name: row for row in compare_signals(store, view, NodeConfig.model_validate(view.document["config"]), 1)}
    row = rows["held-out RMSE, force"]
    assert (row.stored, row.recorded, row.agrees) == (None, False, True)
    assert row.found == pytest.approx(recorded["force_rmse_mev_per_angstrom"], rel=1e-3)
