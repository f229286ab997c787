"""What of a state document reaches jobs: known fields, each of its own type, and nothing that a decoder acts on."""

from __future__ import annotations

import pytest
from jobflow import Flow, Maker, job

from coevo.configs.loading import parse_config
from coevo.errors import CheckpointError, CorruptArtifactError
from coevo.flows.campaign import check_inputs, next_transition
from coevo.node_store.documents import CheckpointDocument
from coevo.node_store.known_fields import checkpoint_reference

CHECKPOINT = {"family": "chgnet", "format": "safetensors", "sha256": "0" * 64, "size": 1, "parent": None, "training_set": None}
HOSTILE = {"@module": "evil", "@callable": "f"}


def test_a_reference_is_what_jobs_were_always_handed():
    """Keys of jobs hash it: a field more or less would compute everything again."""
    stored = {**CHECKPOINT, "uri": "file:///here"}
    assert checkpoint_reference(stored) == CHECKPOINT
    merged = {**stored, "parents": ["1" * 64, "2" * 64]}
    assert checkpoint_reference(merged) == {**CHECKPOINT, "parents": ["1" * 64, "2" * 64]}
    short = {"family": "a", "format": "b", "sha256": "0" * 64}
    assert checkpoint_reference(short) == short


@pytest.mark.parametrize("name", ["note", "@module", "uri2", "config"])
def test_further_keys_are_left_behind(name):
    assert checkpoint_reference({**CHECKPOINT, name: HOSTILE}) == CHECKPOINT


@pytest.mark.parametrize("name", list(CheckpointDocument.model_fields))
@pytest.mark.parametrize("value", [HOSTILE, [HOSTILE], {"a": [HOSTILE]}])
def test_known_fields_have_their_own_type(name, value):
    with pytest.raises(CheckpointError, match=f"not valid: {name}"):
        checkpoint_reference({**CHECKPOINT, name: value})


def test_a_transition_is_handed_nothing_else(tiny_text):
    config = parse_config(tiny_text, "tiny")
    checkpoints = {kind: {**CHECKPOINT, "uri": "x", "note": HOSTILE} for kind in ("force_field", "generator")}
    metrics = {"maturity": {"mature": False}, "more": HOSTILE}
    head = {"_id": "e" * 64, "iteration": 0, "checkpoints": checkpoints, "metrics": metrics}
    flow = next_transition(config, head, branch="main", start_iteration=0, iterations=1).flow
    check_inputs(flow)
    assert "evil" not in str([one.as_dict() for one in flow.jobs])


class _Step(Maker):
    name = "step"

    @job
    def make(self, *args, **kwargs):
        return {"args": args, "kwargs": kwargs}


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([{"a": [HOSTILE]}], {}),
        ([], {"checkpoint": {"x": HOSTILE}}),
        ([[({"$oid": "0" * 24},)]], {}),
        ([{"_fw_name": "{{os.system}}"}], {}),
    ],
)
def test_a_flow_with_anything_else_is_not_run(arguments, named):
    first = _Step().make(1, [2], more={"a": "b"})
    check_inputs(Flow([first, _Step().make(first.output, outputs=[first.output["args"]])]))
    with pytest.raises(CorruptArtifactError, match=r"arguments.*nothing was run"):
        check_inputs(Flow([Flow([_Step().make(*arguments, **named)])]))
