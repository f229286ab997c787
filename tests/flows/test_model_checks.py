"""Stiffness of real states: asked for in the configuration, labelled once, recorded, computed again and told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from coevo.configs.tree import NodeConfig
from coevo.makers.labels.stiffness import is_stiffness
from coevo.makers.signals.recomputation import compare_signals
from coevo.makers.step import read_records
from coevo.node_store.store import open_store
from coevo.settings import Settings
from tiny_node import Coevo


@pytest.fixture
def stiff(fresh: Coevo) -> Coevo:
    """The tiny node, whose stiffness is asked for before its first transition."""
    live = fresh.database / "tiny" / "node.yaml"
    text = live.read_text()
    assert "maturity:\n" in text
    live.write_text(text.replace("maturity:\n", "maturity:\n  stiffness: 1\n", 1))
    return fresh


@pytest.mark.long
def test_a_transition_labels_and_records_stiffness(stiff: Coevo, monkeypatch: pytest.MonkeyPatch) -> None:
    stiff("run", "tiny", "-n", "1")
    monkeypatch.setenv("COEVO_DATABASE", f"file:{stiff.database}")
    with open_store(Settings(database=f"file:{stiff.database}")) as store:
        view = store.state("tiny")
        metrics = view.document["metrics"]
        (compound,) = metrics["stiffness"]["compounds"]
        assert (compound["formula"], compound["labels"]["functional"]) == ("Li2S", "r2SCAN")
        for whose in ("model", "labels"):
            assert 15.0 < compound[whose]["bulk_modulus_gpa"] < 60.0
            assert len(compound[whose]["frequencies_cm1"]) == 6
        assert metrics["stiffness"]["bulk_modulus_ratio"] == pytest.approx(
            compound["model"]["bulk_modulus_gpa"] / compound["labels"]["bulk_modulus_gpa"]
        )
        labels = list(view.labels())
        own = [label for label in labels if is_stiffness(label)]
        assert len(own) == 7
        assert {label["split"] for label in own} == {"test"}
        compared = metrics["force_field"]["prequential"]["all"]["n"]
        assert compared == sum(label["status"] == "admitted" for label in labels) - 7
        assert sum(metrics["force_field"]["frames"].values()) == compared
        assert "stiffness" not in metrics["force_field"]["prequential"]["how"]
        training_set = view.document["checkpoints"]["force_field"].get("training_set")
        trained = {row["id"] for row in read_records(store, {"sha256": training_set})} if training_set else set()
        assert not trained & {label["_id"] for label in own}
        rows = compare_signals(store, view, NodeConfig.model_validate(view.document["config"]), 1)
        assert [row.name for row in rows if not row.agrees] == []
        assert "bulk modulus of Li2S by the labels" in {row.name for row in rows}
    status = json.loads(stiff("status", "tiny", "--format", "json").stdout)
    values = {row["name"]: row["values"] for row in status["head"]["signals"]}
    assert values["bulk modulus, model over labels"] == [None, metrics["stiffness"]["bulk_modulus_ratio"]]
    stiff("run", "tiny", "-n", "1")
    with open_store(Settings(database=f"file:{stiff.database}")) as store:
        again = [label for label in store.state("tiny").labels() if is_stiffness(label)]
        assert [label["_id"] for label in again] == [label["_id"] for label in own], "labelled once"


def test_keys_and_ids_are_as_before_where_it_is_not_asked_for() -> None:
    plain: dict[str, Any] = {"node": {"name": "n", "elements": ["Li"], "references": "li-p-s"}}
    assert "stiffness" not in NodeConfig.model_validate(plain).identity()["maturity"]
    asked = NodeConfig.model_validate({**plain, "maturity": {"stiffness": 2}})
    assert asked.identity()["maturity"]["stiffness"] == 2
