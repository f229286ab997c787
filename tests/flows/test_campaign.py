"""What a campaign does next follows from the branch head alone."""

from __future__ import annotations

import pytest

from coevo.configs.loading import parse_config
from coevo.configs.tree import NodeConfig
from coevo.flows.campaign import next_transition

CHECKPOINT = {"family": "chgnet", "format": "safetensors", "sha256": "0" * 64, "size": 1, "parent": None, "training_set": None}


@pytest.fixture
def config(tiny_text: str) -> NodeConfig:
    return parse_config(tiny_text, "tiny")


def head(iteration: int, *, mature: bool = False) -> dict:
    return {
        "_id": "e" * 64,
        "iteration": iteration,
        "checkpoints": {"force_field": {**CHECKPOINT, "uri": "file:///here"}, "generator": {**CHECKPOINT, "uri": "file:///here"}},
        "metrics": {"maturity": {"mature": mature}},
    }


@pytest.mark.parametrize(
    ("iteration", "mature", "verdict", "done"),
    [
        (5, False, "continue", 0),
        (6, False, "continue", 1),
        (7, False, "finished", 2),
        (8, False, "finished", 3),
        (6, True, "mature", 1),
    ],
)
def test_verdicts(config: NodeConfig, iteration: int, mature: bool, verdict: str, done: int) -> None:
    decision = next_transition(config, head(iteration, mature=mature), branch="main", start_iteration=5, iterations=2)
    assert (decision.verdict, decision.done) == (verdict, done)
    assert (decision.flow is not None) == (verdict == "continue")


def test_a_mature_node_goes_on_when_it_is_asked_to(config: NodeConfig) -> None:
    """Maturity ends the campaign that reaches it, not one that a user starts afterwards."""
    assert next_transition(config, head(5, mature=True), branch="main", start_iteration=5, iterations=1).verdict == "continue"


def test_the_same_head_gives_the_same_jobs(config: NodeConfig) -> None:
    flows = [next_transition(config, head(5), branch="main", start_iteration=5, iterations=2).flow for _ in range(2)]
    first, second = ([(job.name, job.maker, job.function_args) for job in flow.jobs if "generate" in job.name] for flow in flows)
    assert first == second


def test_where_a_checkpoint_lies_is_no_input(config: NodeConfig) -> None:
    flow = next_transition(config, head(5), branch="main", start_iteration=5, iterations=2).flow
    assert "file:///here" not in str([job.as_dict() for job in flow.jobs])
