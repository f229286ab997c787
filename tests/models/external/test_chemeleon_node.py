"""A node with Chemeleon-DNG from an untrained network on, run on the command line: candidates, a chain of checkpoints, a move."""

from __future__ import annotations

import os
import shutil
from itertools import pairwise

import pytest
from generator_contract import LI_P_S

from coevo.configs.tree import GeneratorConfig
from coevo.models.contracts import Conditions
from tiny_node import TINY, Coevo

ITERATIONS, CANDIDATES = 2, 10

GENERATOR = f"""
generator:
  family: chemeleon-dng
  candidates: {CANDIDATES}
  shard_size: {CANDIDATES}
  max_atoms: 8
  chemeleon_dng:
    hidden: 32
    layers: 2
    steps: 20
    epochs: 40
    learning_rate: 2e-3
    train_batch_size: 8
    validation_fraction: 0.2
"""


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
    """The store of a node that went through its iterations, after its directory was moved."""
    from coevo.makers.step import current_store

    assert os.environ.get("COEVO_ENVIRONMENTS"), "run `make test-models`"
    directory = tmp_path_factory.mktemp("node")
    coevo = Coevo(directory, COEVO_ENVIRONMENTS=os.environ["COEVO_ENVIRONMENTS"], COEVO_SCRATCH=str(directory / "scratch"))
    head, _, rest = TINY.partition("generator:")
    (directory / "node.yaml").write_text(head + GENERATOR + "screening:" + rest.partition("screening:")[2])
    coevo("init", "node.yaml")
    coevo("run", "tiny", "-n", str(ITERATIONS))
    place = tmp_path_factory.mktemp("elsewhere") / "database"
    shutil.move(coevo.database, place)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COEVO_DATABASE", f"file:{place}")
        patch.delenv("COEVO_ARTIFACTS", raising=False)
        yield current_store()


@pytest.mark.models
class TestChemeleonNode:
    def test_candidates_were_relaxed_and_what_was_lost_is_counted(self, moved, record_property):
        for iteration in range(1, ITERATIONS + 1):
            metrics = moved.state(f"tiny@main~{ITERATIONS - iteration}").document["metrics"]["iteration"]
            assert metrics["candidates"] <= CANDIDATES
            assert metrics["candidates"] + sum(metrics["rejected_by_generator"].values()) >= CANDIDATES
            record_property(f"iteration {iteration}", str(metrics))
        assert metrics["relaxed"] > 0

    def test_each_checkpoint_names_its_parent_and_is_read_without_trust(self, moved):
        from coevo.makers.checkpoints import load_generator

        chain = [moved.state(f"tiny@main~{back}").document["checkpoints"]["generator"] for back in range(ITERATIONS, -1, -1)]
        assert len({checkpoint["sha256"] for checkpoint in chain}) == ITERATIONS + 1
        for parent, child in pairwise(chain):
            assert child["parent"] == parent["sha256"]
        configuration = GeneratorConfig(family="chemeleon-dng", chemeleon_dng={"batch_size": 4})
        for checkpoint in chain:
            generator = load_generator(moved, checkpoint, configuration)
            sample = generator.sample(2, Conditions(LI_P_S, max_atoms=8, compositions=("Li3P",)), 5)
            assert len(sample.candidates) + sum(sample.rejected.values()) >= 2
        assert sample.candidates, "the last generation draws crystals"
