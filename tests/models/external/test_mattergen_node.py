"""A node with MatterGen, run on the command line: conditions, CHGNet, commits, and a chain of checkpoints that can be moved."""

from __future__ import annotations

import os
import shutil

import pytest
from small_mattergen import MOST_ATOMS

from tiny_node import TINY, Coevo

ITERATIONS = 3
CANDIDATES = 12

GENERATOR = f"""
generator:
  family: mattergen
  candidates: {CANDIDATES}
  shard_size: 6
  max_atoms: {MOST_ATOMS}
  mattergen:
    weights: WEIGHTS
    guidance_factor: 1.0
    batch_size: 6
    epochs: 3
    learning_rate: 1e-4
    train_batch_size: 8
    validation_fraction: 0.3
"""


@pytest.fixture(scope="module")
def campaign(small_model, tmp_path_factory) -> Coevo:
    """A node that was started from the small model and went through three iterations."""
    directory = tmp_path_factory.mktemp("node")
    coevo = Coevo(directory, COEVO_ENVIRONMENTS=os.environ["COEVO_ENVIRONMENTS"], COEVO_SCRATCH=str(directory / "scratch"))
    head, _, rest = TINY.partition("generator:")
    text = head + GENERATOR.replace("WEIGHTS", str(small_model)) + "screening:" + rest.partition("screening:")[2]
    (directory / "node.yaml").write_text(text)
    coevo("init", "node.yaml")
    coevo("run", "tiny", "-n", str(ITERATIONS))
    return coevo


@pytest.fixture(scope="module")
def moved(campaign, tmp_path_factory):
    """The store after its directory went to another place; nothing is left at the first."""
    from coevo.makers.step import current_store

    place = tmp_path_factory.mktemp("elsewhere") / "database"
    shutil.move(campaign.database, place)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COEVO_DATABASE", f"file:{place}")
        patch.delenv("COEVO_ARTIFACTS", raising=False)
        yield current_store()


@pytest.mark.models
class TestMatterGenNode:
    def test_candidates_were_relaxed_and_what_was_lost_is_counted(self, moved, record_property):
        """The numbers go into the report of the tests: a small model's crystals are poor, and none is hidden."""
        for iteration in range(1, ITERATIONS + 1):
            metrics = moved.state(f"tiny@main~{ITERATIONS - iteration}").document["metrics"]["iteration"]
            rejected = metrics["rejected_by_generator"]
            assert metrics["candidates"] + sum(rejected.values()) >= CANDIDATES
            assert metrics["candidates"] <= CANDIDATES
            record_property(f"iteration {iteration}", str(metrics))
        assert metrics["relaxed"] > 0

    def test_a_chain_of_three_generations_each_naming_its_parent_and_its_data(self, moved):
        from generator_contract import LI_P_S

        from coevo.configs.tree import GeneratorConfig
        from coevo.makers.checkpoints import load_generator
        from coevo.makers.step import read_records
        from coevo.models.contracts import Conditions

        chain = [moved.state(f"tiny@main~{back}").document["checkpoints"]["generator"] for back in range(ITERATIONS, -1, -1)]
        assert len({checkpoint["sha256"] for checkpoint in chain}) == ITERATIONS + 1
        assert moved.artifacts.has(chain[0]["parent"]), (
            "the weights that the node began with; the first state fits the references"
        )
        configuration = GeneratorConfig(family="mattergen", mattergen={"batch_size": 4, "guidance_factor": 1.0})
        generators, last = [load_generator(moved, checkpoint, configuration) for checkpoint in chain], set()
        parents = [chain[0]["parent"], *(checkpoint["sha256"] for checkpoint in chain)]
        for parent, child, generator in zip(parents, chain, generators, strict=False):
            assert child["parent"] == parent
            data = {r["id"] for r in read_records(moved, [{"sha256": child["training_set"]}])}
            assert last < data, "full replay: what was learned from once is learned from again"
            assert generator.document["scaler"] == generators[0].document["scaler"]
            last = data
        assert len({generator.document["training_set"] for generator in generators}) == ITERATIONS + 1
        for generator in generators:
            sample = generator.sample(2, Conditions(LI_P_S, max_atoms=MOST_ATOMS), 5)
            assert len(sample.candidates) + sum(sample.rejected.values()) >= 2
        assert sample.candidates, "the last generation draws crystals"
