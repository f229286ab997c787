"""The job that refits the generator: what it saves, and what it says when nothing was learned."""

from __future__ import annotations

from pathlib import Path

import pytest
from jobflow import run_locally
from pymatgen.core import Lattice, Structure

from coevo.configs.tree import GeneratorConfig, NodeSection
from coevo.makers.step import current_store, read_records, write_records
from coevo.makers.train_generator import TrainGeneratorMaker
from coevo.node_store.canonical import structure_document, structure_id

PARENT = {"family": "known", "format": "text", "sha256": "0" * 64, "size": 1, "parent": None, "training_set": None}


class CountingGenerator:
    """Learns how many examples there were; below ``least`` it says that it learned nothing."""

    family = "known"
    format = "text"

    def __init__(self, least: int, learned: int = 0):
        self.least, self.learned = least, learned

    def fit(self, examples, seed):
        if len(examples) < self.least:
            return self, {"fitted": False, "reason": f"{len(examples)} examples"}
        return CountingGenerator(self.least, len(examples)), {"examples": len(examples)}

    def save(self, path: Path) -> None:
        path.write_text(str(self.learned))


@pytest.fixture
def trained(monkeypatch, tmp_path):
    monkeypatch.setenv("COEVO_DATABASE", f"file:{tmp_path / 'db'}")
    monkeypatch.delenv("COEVO_ARTIFACTS", raising=False)

    def train(least: int, said=None, **generator):
        monkeypatch.setattr("coevo.makers.train_generator.load_generator", lambda *_: CountingGenerator(least))
        store = current_store()
        structures = [Structure(Lattice.cubic(3.0 + k / 10), ["Li"], [[0, 0, 0]]) for k in range(3)]
        sources = [{"id": structure_id(s), "structure": structure_document(s), "kind": "entry"} for s in structures]
        plain = {"kind": "entry", "energy_above_hull": 0.1, "duplicate_of": None}
        evaluations = [{"structure_id": s["id"], **plain} for s in sources]
        evaluations[2]["duplicate_of"] = sources[0]["id"]
        evaluations[1] |= said or {}
        maker = TrainGeneratorMaker(
            node=NodeSection(name="n", elements=("Li",), references="x"), generator=GeneratorConfig(**generator)
        )
        assessed = {"evaluations": write_records(store, evaluations)}
        made = maker.make(assessed, [write_records(store, sources)], PARENT, 1)
        return store, run_locally(made, log=False, raise_immediately=True)[made.uuid][1].output

    return train


def test_a_fit_is_saved_with_its_parent_and_the_examples_without_duplicates(trained) -> None:
    store, output = trained(2)
    assert output["fitted"]
    assert output["report"] == {"examples": 2}
    assert output["checkpoint"]["parent"] == PARENT["sha256"]
    assert store.artifacts.get_bytes(output["checkpoint"]["sha256"]) == b"2"
    assert len(list(read_records(store, {"sha256": output["checkpoint"]["training_set"], "count": 2}))) == 2


def test_where_nothing_was_learned_the_parent_stays_and_the_reason_is_told(trained) -> None:
    _, output = trained(3)
    assert (output["checkpoint"], output["fitted"]) == (PARENT, False)
    assert output["report"] == {"fitted": False, "reason": "2 examples"}


def test_a_fit_that_is_switched_off_says_so(trained) -> None:
    _, output = trained(0, fit=False)
    assert (output["checkpoint"], output["fitted"]) == (PARENT, False)
    assert "generator.fit" in output["report"]["reason"]


@pytest.mark.parametrize(
    "said", [{"hull_status": "in_doubt"}, {"electron_excess": 0.1}, {"is_sun": True, "is_confidently_sun": False}]
)
def test_what_is_no_safe_parent_is_in_no_training_set(trained, said: dict) -> None:
    for safe, examples in ((False, 2), (True, 1)):
        assert trained(1, said, safe_parents=safe)[1]["report"] == {"examples": examples}


def test_what_a_label_refuted_is_in_no_training_set_ever(trained) -> None:
    for safe in (False, True):
        assert trained(1, {"hull_status": "refuted"}, safe_parents=safe)[1]["report"] == {"examples": 1}
