"""A probe as a Flow: its settings, its seeds, and that a larger one begins with the jobs of a smaller one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from coevo.configs.loading import config_from_dict, parse_config
from coevo.errors import ConfigError
from coevo.flows.probe import ProbeMaker, can_draw, probe_config
from coevo.makers.generate import GenerateMaker, conditions_of
from coevo.makers.step import job_key
from coevo.models.random_crystals.generator import EmbeddedGenerator
from coevo.node_store.seeds import seed_for

if TYPE_CHECKING:
    from coevo.configs.tree import NodeConfig

CHECKPOINT = {"family": "embedded", "format": "json", "sha256": "0" * 64, "size": 1, "parent": None, "training_set": None}


@pytest.fixture
def config(tiny_text: str) -> NodeConfig:
    return parse_config(tiny_text, "tiny")


def generate_keys(config: NodeConfig, draws: int, batches: int) -> set[str]:
    flow = ProbeMaker(config=probe_config(config)).make(draws, batches, CHECKPOINT, CHECKPOINT)  # type: ignore[arg-type]
    keys = set()
    for job, _ in flow.iterflow():
        if isinstance(job.maker, GenerateMaker):
            checkpoint, iteration, shard, count = job.function_args
            inputs = {"checkpoint": checkpoint, "iteration": iteration, "shard": shard, "count": count}
            keys.add(job_key(job.maker, inputs))
    return keys


@pytest.mark.filterwarnings("ignore:Some jobs are not connected")
def test_a_larger_probe_begins_with_the_jobs_of_a_smaller_one(config: NodeConfig) -> None:
    small, large = generate_keys(config, 200, 2), generate_keys(config, 420, 2)
    assert (len(small), len(large)) == (4, 10)
    assert small < large


@pytest.mark.parametrize(("draws", "batches"), [(1, 2), (0, 1), (4, 0)])
def test_a_batch_has_a_draw(config: NodeConfig, draws: int, batches: int) -> None:
    with pytest.raises(ConfigError, match=r"got \d draws in \d batches"):
        ProbeMaker(config=config).make(draws, batches, CHECKPOINT, CHECKPOINT)  # type: ignore[arg-type]


def test_the_draws_are_no_iterations(config: NodeConfig) -> None:
    inputs = {"iteration": 1, "shard": 0, "count": 4}
    probe, iteration = (GenerateMaker(node=config.node, purpose=purpose) for purpose in ("probe", "generate"))
    assert job_key(iteration, inputs) == job_key(GenerateMaker(node=config.node), inputs)
    assert job_key(probe, inputs) != job_key(iteration, inputs)
    assert seed_for(config.node, 1, "probe", 0) != seed_for(config.node, 1, "generate", 0)


def test_what_a_probe_takes_of_a_node(config: NodeConfig) -> None:
    plain = config.model_dump(mode="json")
    other: dict[str, Any] = {
        **plain,
        "generator": {**plain["generator"], "candidates": 99, "fit": False, "family": "mattergen"},
        "node": {**plain["node"], "branch_seed": 5},
    }
    assert probe_config(config_from_dict(other, "other")) == probe_config(config)
    found = probe_config(config, max_atoms=5, formulas=["Li2S"], seed=3)
    assert (found.generator.max_atoms, found.generator.compositions, found.node.seed) == (5, ("Li2S",), 3)
    assert found.screening.fmax == config.screening.fmax


def test_an_unfitted_generator_hangs_on_no_other_setting(config: NodeConfig) -> None:
    drawn = []
    for generator in (
        probe_config(config).generator,
        config.generator.model_copy(update={"unit_fraction": 1.0, "variation_fraction": 1.0, "target_energy_above_hull": 0.3}),
    ):
        conditions = conditions_of(config.node, generator)
        sample = EmbeddedGenerator.initial(generator).sample(4, conditions, 3)
        assert not any("parents" in candidate.origin for candidate in sample.candidates)
        drawn.append([candidate.structure for candidate in sample.candidates])
    assert drawn[0] == drawn[1]


def test_what_a_probe_can_draw(config: NodeConfig) -> None:
    assert can_draw(config, "Li4S2")
    assert not can_draw(config, "Li2S", atoms=9)
    assert not can_draw(config, "Li7PS6")
    assert not can_draw(config, "S8")
    whole = config.model_copy(update={"generator": config.generator.model_copy(update={"subsystem_fraction": 0.0})})
    assert not can_draw(whole, "Li2S")
    for formula in ("S", "Li7PS6", "Na2S", "Qq"):
        with pytest.raises(ConfigError, match="probe: "):
            probe_config(config, formulas=[formula])
