"""Every job of every flow has a class on purpose."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from jobflow import Flow, Maker

import coevo.flows
import coevo.makers
from coevo.app.tables.jobs import _STEPS
from coevo.configs.loading import parse_config
from coevo.configs.site_loading import example_names, example_text, parse_site
from coevo.configs.step_classes import CLASS_NAMES, CUTTING_STEPS, STEP_CLASSES, class_of, class_of_shards
from coevo.configs.studies.transport import TransportStudy
from coevo.errors import ConfigError
from coevo.flows.labelling import LabelFlowMaker
from coevo.flows.lineage import ExtendMaker, MergeMaker, StartMaker
from coevo.flows.probe import ProbeMaker
from coevo.flows.studies.flow import study_flow
from coevo.flows.studies.inputs import StudyInputs
from coevo.flows.studies.registry import KINDS
from coevo.flows.transition import CoevolutionMaker, SeedMaker
from coevo.makers.audit.audit import AuditPacketMaker
from coevo.makers.audit.code_relaxation import CodeRelaxationMaker
from coevo.makers.committee.evaluate_members import EvaluateMemberMaker
from coevo.makers.evaluate import EvaluateMaker
from coevo.makers.label import LabelPacketMaker
from coevo.makers.step import StepMaker
from coevo.makers.studies.commit import CommitStudyMaker
from coevo.makers.studies.trajectories import dynamics_maker
from coevo.makers.studies.transport import ContinueTransportMaker, TransportResultMaker
from tiny_node import TINY

CONFIG = parse_config(TINY, "tiny")
FORCE_FIELD, GENERATOR = {"sha256": "a" * 64}, {"sha256": "b" * 64}
BOTH = {"force_field": FORCE_FIELD, "generator": GENERATOR}
STATE, OTHER = "c" * 64, "d" * 64
SHARD = {"sha256": "e" * 64, "count": 1}
START = dict.fromkeys(("population", "structures", "references", "labels", "splits"), SHARD)
FLOW_MAKERS = {CoevolutionMaker, SeedMaker, MergeMaker, ExtendMaker, StartMaker, LabelFlowMaker, ProbeMaker}
SHELL = {
    "HOME": "/home/me",
    "MONGO_USER": "me",
    "MONGO_PASSWORD": "secret",
    "COEVO_DATABASE": "mongodb://host/coevo",
    "COEVO_ARTIFACTS": "file:///shared/artifacts",
    "COEVO_LOCAL_CLUSTER": "/shared",
}
"""What the bundled sites ask of the shell."""
WITHIN = {AuditPacketMaker, CodeRelaxationMaker, EvaluateMaker, EvaluateMemberMaker, LabelPacketMaker}
"""Makers of the jobs that jobs which cut work return in their place; these have the step of the one that cut."""
JUDGED = parse_config(
    TINY.replace("  structures: 5\n", "  structures: 5\n  uncertainty_fraction: 0.2\n")
    + "uncertainty: {members: 1, families: [chgnet/r2scan]}\n",
    "judged",
)
COVERAGE = parse_config(TINY.replace("  ruler_size: 4\n", "  ruler_size: 4\n  environment_signal: coverage\n"), "coverage")
AUDITED = [
    parse_config(f"{TINY}audit: {{auditor: {auditor}, force_field: {{family: chgnet, weights: r2scan}}}}\n", "audited")
    for auditor in ("force_field", "espresso")
]
MIXED = parse_config(TINY.replace("generator:\n", "generator:\n  mixture: {embedded: 0.5, mattergen: 0.5}\n"), "mixed")
RACING = parse_config(TINY.replace("generator:\n", "generator:\n  racing: 2\n  generations: 2\n"), "racing")
MEMBERS = {"chgnet_1": {"sha256": "e" * 64, "family": "chgnet"}, "chgnet_r2scan": {"sha256": "f" * 64, "family": "chgnet"}}


MOVING = TransportStudy()
STUDY = StudyInputs(
    node="tiny",
    state=STATE,
    config=CONFIG,
    force_field={"sha256": "a" * 64, "family": "chgnet", "format": "safetensors"},
    phases=({"id": "1" * 64, "formula": "Li2S", "kind": "entry", "name": None, "e_hull": 0.0, "energy_per_atom": -4.0},),
    structures=SHARD,
    hull=SHARD,
    prefix="tiny/study-cccccccc",
    workers=1,
)


def flows() -> dict[str, Flow]:
    label, start, origin = LabelFlowMaker(config=CONFIG), StartMaker(config=CONFIG), {"node": "other", "state": OTHER}
    return {
        "seed": SeedMaker(config=CONFIG).make({"sha256": "e" * 64}, FORCE_FIELD, GENERATOR),
        "transition": CoevolutionMaker(config=CONFIG).make(STATE, 1, FORCE_FIELD, GENERATOR),
        "transition by coverage": CoevolutionMaker(config=COVERAGE).make(STATE, 1, FORCE_FIELD, GENERATOR),
        "transition with races and generations": CoevolutionMaker(config=RACING).make(STATE, 1, FORCE_FIELD, GENERATOR),
        "merge": MergeMaker(config=CONFIG).make([STATE, OTHER], STATE, STATE, 2, BOTH, "merge"),
        "merge without training": MergeMaker(config=CONFIG, train=False).make([STATE, OTHER], STATE, STATE, 2, BOTH, "merge"),
        "probe": ProbeMaker(config=CONFIG).make(4, 2, GENERATOR, FORCE_FIELD),
        "extend": ExtendMaker(config=CONFIG).make(STATE, 2, {"sha256": "e" * 64}, BOTH, "extend"),
        "start": start.make(START, FORCE_FIELD, GENERATOR, origin, offsets={}, fit_generator=True, labels=True),
        "label": label.make(STATE, 2, BOTH, limit=3, competing=True, message="label"),
        "add": label.add([], STATE, 2, BOTH, "add"),
        "transition with a second opinion": CoevolutionMaker(config=JUDGED).make(STATE, 1, FORCE_FIELD, GENERATOR, MEMBERS),
        **{
            f"transition with the auditor {config.audit.auditor}": CoevolutionMaker(config=config).make(
                STATE, 1, FORCE_FIELD, GENERATOR
            )
            for config in AUDITED
        },
        "transition with two generators": CoevolutionMaker(config=MIXED).make(
            STATE, 1, FORCE_FIELD, GENERATOR, generators={"mattergen": GENERATOR}
        ),
        **{f"study {kind.name}": study_flow(kind, STUDY, kind.settings_class()(), None) for kind in KINDS.values()},
        "transport within": Flow(
            [
                ContinueTransportMaker(
                    f"{STUDY.prefix}/transport-continue", node="tiny", prefix=STUDY.prefix, settings=MOVING
                ).make([], {}, FORCE_FIELD),
                dynamics_maker(MOVING, 50, f"{STUDY.prefix}/molecular-dynamics/first-0000-0000", 1).make(SHARD, FORCE_FIELD),
                TransportResultMaker(f"{STUDY.prefix}/transport-result", settings=MOVING).make([], {}, {}),
            ]
        ),
        "study": Flow([CommitStudyMaker("tiny/phonons-cccccccc/commit-study", head={}).make({})]),
        "merge with a second opinion": MergeMaker(config=JUDGED).make([STATE, OTHER], STATE, STATE, 2, BOTH | MEMBERS, "merge"),
    }


def jobs_of(flow: Any) -> Iterator[Any]:
    for part in flow.jobs:
        if isinstance(part, Flow):
            yield from jobs_of(part)
        else:
            yield part


def makers_in(package: Any) -> set[type[Maker]]:
    """Every Maker that the modules of a package define, in its folders too."""
    modules = [importlib.import_module(found.name) for found in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
    found = {each for module in modules for _, each in inspect.getmembers(module, inspect.isclass)}
    return {each for each in found if issubclass(each, Maker) and each.__module__.startswith(package.__name__)}


def test_these_are_all_flows_and_their_jobs_are_of_all_makers() -> None:
    """Whoever adds a Maker of a flow or of a step adds it to the flows above, and so to the table."""
    assert makers_in(coevo.flows) == FLOW_MAKERS
    made = {type(job.maker) for flow in flows().values() for job in jobs_of(flow)}
    assert made | WITHIN == makers_in(coevo.makers) - {StepMaker}


@pytest.mark.parametrize("site", example_names())
@pytest.mark.parametrize("flow", flows())
def test_every_step_of_every_flow_has_resources_on_every_bundled_site(site: str, flow: str) -> None:
    loaded = parse_site(example_text(site), site, SHELL).site
    for job in jobs_of(flows()[flow]):
        for name in (class_of(job.name), class_of_shards(job.name)):
            assert loaded.resources(name).workers >= 1


def test_of_several_generators_one_that_needs_no_gpu_gets_none() -> None:
    classes = {job.name.split("/", 2)[2]: class_of(job.name) for job in jobs_of(flows()["transition with two generators"])}
    assert {name: classes[name] for name in classes if name.startswith(("generate/", "train-generator"))} == {
        "generate/embedded/0000": "screen",
        "generate/mattergen/0001": "gpu",
        "train-generator/embedded": "small",
        "train-generator/mattergen": "gpu",
    }
    # of a node with one, and of a family that nobody knows here
    assert [class_of(f"n/1/{name}") for name in ("generate/0000", "train-generator", "generate/nobody/0000")] == ["gpu"] * 3


def test_the_table_of_jobs_has_every_step_in_its_place() -> None:
    assert set(_STEPS) == set(STEP_CLASSES) - {"store_inputs"}


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
    from coevo.flows.seeding import write_references

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


def test_each_job_of_a_study_is_recorded_under_its_own_name() -> None:
    phases = tuple({**STUDY.phases[0], "id": digit * 64} for digit in "123456789")
    for kind in KINDS.values():
        jobs = list(jobs_of(study_flow(kind, replace(STUDY, phases=phases), kind.settings_class()(), None)))
        assert [job.maker.name for job in jobs] == [job.name for job in jobs]


def test_a_study_whose_result_is_too_large_to_keep_is_refused_before_anything_is_computed() -> None:
    kind = KINDS["stability"]
    settings = kind.settings_class()(temperatures=tuple(range(200)), pressures=tuple(range(40)))
    with pytest.raises(ConfigError, match="got 4 phases at 200 temperatures and 40 pressures"):
        study_flow(kind, replace(STUDY, phases=STUDY.phases * 4), settings, None)
