"""Every job of every flow has a class on purpose."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from jobflow import Flow

from coevo.configs.loading import parse_config
from coevo.configs.step_classes import CLASS_NAMES, CUTTING_STEPS, STEP_CLASSES, class_of, class_of_shards
from coevo.errors import ConfigError
from coevo.flows.labelling import LabelFlowMaker
from coevo.flows.lineage import ExtendMaker, MergeMaker
from coevo.flows.transition import CoevolutionMaker, SeedMaker
from tiny_node import TINY

CONFIG = parse_config(TINY, "tiny")
FORCE_FIELD, GENERATOR = {"sha256": "a" * 64}, {"sha256": "b" * 64}
BOTH = {"force_field": FORCE_FIELD, "generator": GENERATOR}
STATE, OTHER = "c" * 64, "d" * 64
JUDGED = parse_config(
    TINY.replace("  structures: 5\n", "  structures: 5\n  uncertainty_fraction: 0.2\n")
    + "uncertainty: {members: 1, families: [chgnet/r2scan]}\n",
    "judged",
)
MEMBERS = {"chgnet_1": {"sha256": "e" * 64, "family": "chgnet"}, "chgnet_r2scan": {"sha256": "f" * 64, "family": "chgnet"}}


def flows() -> dict[str, Flow]:
    label = LabelFlowMaker(config=CONFIG)
    return {
        "seed": SeedMaker(config=CONFIG).make({"sha256": "e" * 64}, FORCE_FIELD, GENERATOR),
        "transition": CoevolutionMaker(config=CONFIG).make(STATE, 1, FORCE_FIELD, GENERATOR),
        "merge": MergeMaker(config=CONFIG).make([STATE, OTHER], STATE, STATE, 2, BOTH, "merge"),
        "merge without training": MergeMaker(config=CONFIG, train=False).make([STATE, OTHER], STATE, STATE, 2, BOTH, "merge"),
        "extend": ExtendMaker(config=CONFIG).make(STATE, 2, {"sha256": "e" * 64}, BOTH, "extend"),
        "label": label.make(STATE, 2, BOTH, limit=3, competing=True, message="label"),
        "add": label.add([], STATE, 2, BOTH, "add"),
        "transition with a second opinion": CoevolutionMaker(config=JUDGED).make(STATE, 1, FORCE_FIELD, GENERATOR, MEMBERS),
        "merge with a second opinion": MergeMaker(config=JUDGED).make([STATE, OTHER], STATE, STATE, 2, BOTH | MEMBERS, "merge"),
    }


def jobs_of(flow: Any) -> Iterator[Any]:
    for part in flow.jobs:
        if isinstance(part, Flow):
            yield from jobs_of(part)
        else:
            yield part


def steps_of(flow: Flow) -> set[str]:
    return {job.name.split("/")[2] for job in jobs_of(flow)}


@pytest.mark.parametrize("name", flows())
def test_every_job_of_a_flow_has_a_class(name: str) -> None:
    for job in jobs_of(flows()[name]):
        assert class_of(job.name) in CLASS_NAMES


def test_the_table_has_no_step_that_no_flow_makes() -> None:
    made = set().union(*(steps_of(flow) for flow in flows().values()))
    assert made | {"store_inputs", "continue"} == set(STEP_CLASSES)


def test_a_second_opinion_adds_its_steps_and_changes_no_other_name() -> None:
    plain, judged = (steps_of(flows()[name]) for name in ("transition", "transition with a second opinion"))
    assert judged - plain == {"spread", "calibrate", "train-member", "re-evaluate-member", "opinions"}
    assert plain <= judged


def test_a_flow_that_lacks_a_published_member_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"uncertainty.families wants chgnet_r2scan, and the flow was not given"):
        CoevolutionMaker(config=JUDGED).make(STATE, 1, FORCE_FIELD, GENERATOR)


def test_the_classes_of_a_transition() -> None:
    classes = {job.name: class_of(job.name) for job in jobs_of(flows()["transition"])}
    assert classes["tiny/1/generate/0000"] == classes["tiny/1/train-force-field"] == classes["tiny/1/train-generator"] == "gpu"
    assert classes["tiny/1/screen/0000"] == "screen"
    assert classes["tiny/1/label"] == class_of("tiny/1/label/0003") == "label"
    assert {classes[f"tiny/1/{step}"] for step in ("curate", "select", "assess", "measure", "commit")} == {"small"}


def test_jobs_that_only_cut_work_are_small_and_their_shards_are_not(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The names are those that the cutting job itself gives, not ones made up here."""
    from coevo.configs.references import load_references
    from coevo.makers.seeding import write_references

    monkeypatch.setenv("COEVO_DATABASE", f"file:{tmp_path}")
    references = write_references(load_references(CONFIG.node.references, CONFIG.node.elements))
    (cutting,) = [job for job in jobs_of(flows()["seed"]) if job.name == "tiny/0/evaluate-references"]
    replacement = cutting.maker.make.original(cutting.maker, references, FORCE_FIELD).replace
    shards = [job.name for job in jobs_of(replacement)]
    assert shards == ["tiny/0/evaluate-references/0000"]
    assert class_of(cutting.name) == "small"
    assert {class_of(name) for name in shards} == {"screen"} == {class_of_shards(cutting.name)}
    assert steps_of(flows()["seed"]) & CUTTING_STEPS == {"evaluate-references"}


@pytest.mark.parametrize("job", ["tiny/1/invent", "invent", "", "tiny/1/"])
def test_a_step_without_a_class_is_an_error(job: str) -> None:
    with pytest.raises(ConfigError, match="no class for the step"):
        class_of(job)
