"""The flow of a transition: its graph, its round trip through Monty, and the state it makes, checked by independent tools."""

from __future__ import annotations

import json

import numpy as np
import pytest
from jobflow import Flow
from monty.json import MontyDecoder, MontyEncoder

from coevo.configs.loading import parse_config
from coevo.configs.step_classes import class_of_shards
from coevo.configs.tree import NodeConfig
from coevo.flows.generators import shard_counts
from coevo.flows.labelling import LabelFlowMaker
from coevo.flows.lineage import ExtendMaker, MergeMaker
from coevo.flows.transition import CoevolutionMaker, SeedMaker
from coevo.makers.populations.population import matching_of
from coevo.makers.step import job_key
from coevo.node_store.store import open_store
from coevo.settings import Settings
from tiny_node import Coevo

CHECKPOINT = {"family": "chgnet", "format": "safetensors", "sha256": "0" * 64, "size": 1, "parent": None, "training_set": None}


@pytest.fixture(scope="module")
def store(finished: Coevo):
    return open_store(Settings(database=f"file:{finished.database}"))


def transition(text: str) -> Flow:
    return CoevolutionMaker(config=parse_config(text, "tiny")).make("f" * 64, 3, CHECKPOINT, CHECKPOINT)


def test_one_job_per_shard_and_step(tiny_text: str) -> None:
    names = [job.name for job in transition(tiny_text).jobs]
    assert names == [
        "tiny/3/generate/0000",
        "tiny/3/generate/0001",
        "tiny/3/screen/0000",
        "tiny/3/screen/0001",
        "tiny/3/curate",
        "tiny/3/select",
        "tiny/3/label",
        "tiny/3/train-force-field",
        "tiny/3/re-evaluate",
        "tiny/3/assess",
        "tiny/3/train-generator",
        "tiny/3/measure",
        "tiny/3/commit",
    ]


def test_an_audit_comes_after_the_re_evaluation_and_before_the_measurement(tiny_text: str) -> None:
    for auditor, name in (("espresso", "audit-label"), ("vasp", "audit-label"), ("force_field", "audit")):
        text = f"{tiny_text}\naudit:\n  auditor: {auditor}\n  force_field: {{family: chgnet, weights: r2scan}}\n"
        plain, audited = ([job.name.removeprefix("tiny/3/") for job in transition(each).jobs] for each in (tiny_text, text))
        place = plain.index("assess") + 1
        assert audited == [*plain[:place], name, "judge-audit", *plain[place:]]
        assert class_of_shards(f"tiny/3/{name}") == ("screen" if name == "audit" else "label")


def test_where_nothing_is_generated_an_audit_is_judged_again_without_new_looks(tiny_text: str) -> None:
    checkpoints, shard = {"force_field": CHECKPOINT, "generator": CHECKPOINT}, {"sha256": "e" * 64}
    names, audited = [], f"{tiny_text}\naudit:\n  auditor: espresso\n"
    for text in (tiny_text, audited):
        config = parse_config(text, "tiny")
        flows = [
            LabelFlowMaker(config=config).add([], "f" * 64, 3, checkpoints, ""),
            ExtendMaker(config=config).make("f" * 64, 3, shard, checkpoints, ""),
            MergeMaker(config=config).make(["f" * 64, "d" * 64], "f" * 64, None, 3, checkpoints, ""),
        ]
        names.append([[job.name.removeprefix("tiny/3/") for job in flow.jobs] for flow in flows])
    for before, after in zip(*names, strict=True):
        place = before.index("assess") + 1
        assert after == [*before[:place], "audit-label", "judge-audit", *before[place:]]
    by_name = {job.name.removeprefix("tiny/3/"): job for job in flows[-1].jobs}
    audit, judge = by_name["audit-label"], by_name["judge-audit"]
    assert audit.function_kwargs["anew"] is False
    assert audit.function_args[3] == ["f" * 64, "d" * 64]
    (done,) = by_name["commit"].function_args
    assert done["assessed"].uuid == judge.uuid
    assert done["audited"]["audit"].uuid == audit.uuid


def training_makers(config: NodeConfig) -> list:
    """The Makers of the step that splits and trains, in each flow that has labels."""
    checkpoints = {"force_field": CHECKPOINT, "generator": CHECKPOINT}
    label = LabelFlowMaker(config=config)
    flows = [
        CoevolutionMaker(config=config).make("f" * 64, 3, CHECKPOINT, CHECKPOINT),
        label.make("f" * 64, 3, checkpoints, limit=3, competing=False, message=""),
        label.add([], "f" * 64, 3, checkpoints, ""),
    ]
    return [next(job.function.__self__ for job in flow.jobs if "train-force-field" in job.name) for flow in flows]


def test_labels_of_every_flow_are_split_by_crystal_and_named_by_its_tolerances_only(tiny_text: str) -> None:
    def keys(**changed: float) -> list[str]:
        config = parse_config(tiny_text, "tiny")
        curation = config.curation.model_copy(update={"stol": 0.25, **changed})
        makers = training_makers(config.model_copy(update={"curation": curation}))
        assert all(matching_of(maker.curation).stol == 0.25 for maker in makers)
        return [job_key(maker, {"parent": "f" * 64}) for maker in makers]

    plain = keys()
    assert keys(max_e_hull=0.4, stable_threshold=0.05) == plain
    assert all(one != other for one, other in zip(keys(ltol=0.3), plain, strict=True))


def test_every_input_must_be_there(tiny_text: str) -> None:
    """A tolerated missing input would let a rerun build an iteration twice."""
    from jobflow import OnMissing

    assert {job.config.on_missing_references for job in transition(tiny_text).jobs} == {OnMissing.ERROR}


@pytest.mark.parametrize("total", [1, 4, 9, 10_000])
def test_shards_hold_all_candidates(total: int) -> None:
    counts = shard_counts(total, 4)
    assert sum(counts) == total
    assert max(counts) <= 4


def test_makers_and_flows_survive_monty(tiny_text: str) -> None:
    config = parse_config(tiny_text, "tiny")
    for maker in (CoevolutionMaker(config=config), SeedMaker(config=config)):
        assert json.loads(json.dumps(maker, cls=MontyEncoder), cls=MontyDecoder) == maker
    flow = transition(tiny_text)
    text = json.dumps(flow, cls=MontyEncoder)
    again = json.loads(text, cls=MontyDecoder)
    assert [job.name for job in again.jobs] == [job.name for job in flow.jobs]
    assert [job.maker for job in again.jobs] == [job.maker for job in flow.jobs]
    assert json.dumps(again, cls=MontyEncoder) == text


@pytest.mark.parametrize("ref", ["tiny", "tiny~1", "tiny~2"])
def test_hull_energies_equal_those_of_pymatgen(store, ref: str) -> None:
    from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram

    view = store.state(ref)
    documents = list(view.evaluations())
    entries = {
        d["structure_id"]: PDEntry(c := view.structure(d["structure_id"]).composition, d["energy_per_atom"] * c.num_atoms)
        for d in documents
    }
    diagram = PhaseDiagram(list(entries.values()))
    references = PhaseDiagram([entries[d["structure_id"]] for d in documents if d["kind"] == "reference"])
    for d in documents:
        entry = entries[d["structure_id"]]
        assert d["energy_above_hull"] == pytest.approx(diagram.get_e_above_hull(entry), abs=1e-6)
        assert d["formation_energy_per_atom"] == pytest.approx(diagram.get_form_energy_per_atom(entry), abs=1e-6)
        assert d["energy_above_reference_hull"] == pytest.approx(
            references.get_e_above_hull(entry, allow_negative=True), abs=1e-6
        )


def test_each_evaluation_says_whether_its_electrons_find_room(store) -> None:
    view = store.state("tiny")
    documents = list(view.evaluations())
    for d in documents:
        amounts = view.structure(d["structure_id"]).composition
        ions = 0 if d["formula"] == "Li" else amounts["Li"] - 3 * amounts["P"] - 2 * amounts["S"]
        assert d["electron_excess"] == pytest.approx(ions / amounts.num_atoms)
    live = [d for d in documents if d["kind"] == "entry" and d["duplicate_of"] is None]
    population = view.document["metrics"]["population"]
    assert population["electron_excess"] == sum(d["electron_excess"] > 0 for d in live)
    assert population["sun_electron_excess"] == sum(d["electron_excess"] > 0 for d in live if d["is_sun"])
    iteration = view.document["metrics"]["iteration"]
    assert 0 <= iteration["electron_excess"] <= iteration["relaxed"]


def test_a_state_is_coherent(store) -> None:
    """Every energy of a state is that of its own force field at the geometry it shows."""
    from coevo.models.registry import force_field_from

    view = store.state("tiny")
    checkpoint = view.document["checkpoints"]["force_field"]
    force_field = force_field_from(checkpoint["family"], checkpoint=store.artifacts.fetch(checkpoint["sha256"]))
    documents = list(view.evaluations())
    predictions = force_field.evaluate([view.structure(d["structure_id"]) for d in documents])
    assert [d["energy_per_atom"] for d in documents] == pytest.approx([p.energy for p in predictions], abs=2e-5)
    assert [d["fmax"] for d in documents] == pytest.approx([p.fmax for p in predictions], abs=1e-3)


def test_entries_are_unique_by_structure_matcher(store) -> None:
    from itertools import combinations

    from pymatgen.analysis.structure_matcher import StructureMatcher

    view = store.state("tiny")
    live = [d for d in view.evaluations("entry") if d["duplicate_of"] is None]
    matcher = StructureMatcher(ltol=0.2, stol=0.3, angle_tol=5.0)
    from coevo.analysis.motifs.bond_graphs import fragment_signature

    for a, b in combinations(live, 2):
        if a["formula"] == b["formula"]:
            one, other = view.structure(a["structure_id"]), view.structure(b["structure_id"])
            assert not matcher.fit(one, other) or fragment_signature(one) != fragment_signature(other)
    duplicates = [d for d in view.evaluations("entry") if d["duplicate_of"] is not None]
    ids = {d["structure_id"] for d in live}
    assert all(d["duplicate_of"] in ids for d in duplicates)


def test_labels_are_split_by_family(store) -> None:
    labels = list(store.state("tiny").labels())
    splits: dict[str, set[str]] = {}
    for label in labels:
        splits.setdefault(label["family"], set()).add(label["split"])
    assert {len(found) for found in splits.values()} == {1}
    assert {label["code"] for label in labels} == {"teacher"}
    assert {label["functional"] for label in labels} == {"r2SCAN"}
    assert len({label["settings_digest"] for label in labels}) == 1
    assert {"relaxed", "rattled", "strained"} <= {label["kind"] for label in labels}
    assert {"random", "reference"} <= {label["how"] for label in labels}
    assert len({label["frame"] for label in labels}) == len(labels), "a frame is labelled once per settings"


def test_checkpoints_name_their_parents(store) -> None:
    newer, older, first = (store.state(ref).document["checkpoints"] for ref in ("tiny", "tiny~1", "tiny~2"))
    assert newer["generator"]["parent"] == older["generator"]["sha256"]
    assert older["generator"]["parent"] == first["generator"]["sha256"]
    for state in (newer, older):
        assert store.artifacts.has(state["generator"]["training_set"])


def test_the_ruler_measures_every_iteration_again(store) -> None:
    view = store.state("tiny")
    ruler = view.document["metrics"]["ruler"]
    assert set(ruler) == {"1", "2"} == set(view.manifest["samples"])
    assert np.isfinite([quantiles["q50"] for quantiles in ruler.values()]).all()


def test_times_are_kept_outside_the_state_id(store) -> None:
    view = store.state("tiny")
    jobs = view.document["provenance"]["jobs"]
    assert all(job["seconds"] >= 0 and job["host"] for job in jobs)
    assert "seconds" not in json.dumps(view.document["metrics"])


def test_a_transition_is_a_fireworks_workflow(tiny_text: str) -> None:
    """FireWorks stores jobs as JSON: nothing of a job may be lost on the way."""
    from fireworks import Workflow
    from jobflow.managers.fireworks import flow_to_workflow

    flow = transition(tiny_text)
    text = json.dumps(flow_to_workflow(flow).to_dict(), default=str)
    again = Workflow.from_dict(json.loads(text))
    assert sorted(firework.name for firework in again.fws) == sorted(job.name for job in flow.jobs)
    makers = {firework.name: firework.tasks[0]["job"].maker for firework in again.fws}
    assert makers == {job.name: job.maker for job in flow.jobs}
    assert len(text) < 1_000_000, "jobs pass references, not structures"
