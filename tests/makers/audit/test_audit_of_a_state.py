"""The audit of a state by single points of a code, whose executable alone is replaced: drawn, labelled and judged in jobs."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from jobflow import Flow, JobStore, run_locally
from maggma.stores import MemoryStore

from coevo.configs.audit_section import AuditConfig
from coevo.configs.loading import parse_config
from coevo.labelling.contract import LabelResult, LabelSettings, RelaxedFrame
from coevo.makers.audit.audit import AuditMaker
from coevo.makers.audit.judge import JudgeAuditMaker
from coevo.makers.populations.population import population_records
from coevo.makers.step import current_store, read_records, write_records
from coevo.node_store.canonical import structure_document
from tiny_node import Coevo

pytestmark = pytest.mark.filterwarnings("ignore")


def energy(crystal: Any) -> float:
    """Of a substance whose elements like each other, and like it dense, eV/atom."""
    li, p, s = (crystal.composition.get_atomic_fraction(symbol) for symbol in ("Li", "P", "S"))
    return float(-2.0 - 2.0 * li * s - p * s + 0.01 * crystal.volume / len(crystal))


class PlaneWaves:
    """What would be pw.x, with an energy in closed form; it does not converge for a thin gas."""

    code = "espresso"
    first_principles = True

    def settings(self) -> LabelSettings:
        return LabelSettings("espresso", "7.4", "PBE", False, {"cutoff": 60})

    def label(self, frames: Any, *, progress: Any = None) -> list[LabelResult]:
        return [
            LabelResult("failed", "scf_not_converged")
            if frame.volume > 60 * len(frame)
            else LabelResult("admitted", "", energy(frame), np.zeros((len(frame), 3)), np.zeros((3, 3)))
            for frame in frames
        ]


@pytest.fixture
def view(finished: Coevo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    shutil.copytree(finished.database, tmp_path / "db")
    monkeypatch.setenv("COEVO_DATABASE", f"file:{tmp_path / 'db'}")
    monkeypatch.setenv("COEVO_WORKERS", "1")
    for place in ("coevo.makers.label", "coevo.makers.labels.settings"):
        monkeypatch.setattr(f"{place}.labeller_for", lambda *_, **__: PlaneWaves())
    return current_store().state("tiny")


def run(*jobs: Any) -> list[Any]:
    """Outputs of the jobs of one flow."""
    outputs = JobStore(MemoryStore())
    outputs.connect()
    run_locally(Flow(list(jobs)), log=False, store=outputs, ensure_success=True, raise_immediately=True)
    return [job.output.resolve(outputs) for job in jobs]


def with_audit(view: Any, told: Any) -> Any:
    """A state whose metrics hold an audit, and which nothing else was done in."""
    return SimpleNamespace(
        id=view.id,
        document={"metrics": {"audit": told}, "config": {}},
        manifest={"labels": {}},
        references=view.references,
        labels=lambda: iter(()),
        ancestors=lambda: iter(()),
        parent_views=list,
        started_from=None,
    )


def test_a_reference_that_failed_leaves_its_rivals_undecided_and_is_asked_again(
    view: Any, tiny_text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = {"Li2S"}
    label = PlaneWaves.label

    def sometimes(self: PlaneWaves, frames: Any, **how: Any) -> list[LabelResult]:
        found = label(self, frames, **how)
        fails = [frame.composition.reduced_formula in broken for frame in frames]
        return [LabelResult("failed", "walltime") if fail else one for fail, one in zip(fails, found, strict=True)]

    monkeypatch.setattr(PlaneWaves, "label", sometimes)
    config = parse_config(tiny_text, "tiny")
    store, audit = current_store(), AuditConfig(auditor="espresso", structures=30)
    curation = config.curation.model_copy(update={"stable_threshold": 9.0})  # whatever has an energy would be stable
    parts: dict[str, Any] = {"node": config.node, "curation": curation, "audit": audit, "labelling": config.labelling}
    assessed: Any = {"evaluations": write_records(store, list(view.evaluations()))}
    shards = [write_records(store, population_records(view))]
    checkpoint = view.document["checkpoints"]["force_field"]

    def audited(iteration: int) -> tuple[Any, dict[str, str]]:
        job = AuditMaker(f"tiny/{iteration}/audit-label", 1, **parts).make(assessed, shards, None, [view.id], iteration)
        judge = JudgeAuditMaker(f"tiny/{iteration}/judge-audit", 1, force_field=config.screening.force_field, **parts)
        _, found = run(job, judge.make(assessed, job.output, checkpoint, [view.id]))
        rows = [d for d in read_records(store, found["evaluations"]) if d.get("audit_verdict")]
        return found["audit"], {d["structure_id"]: d["audit_verdict"] for d in rows}

    told, verdicts = audited(3)
    (sulphide,) = [d["structure_id"] for d in view.evaluations("reference") if d["formula"] == "Li2S"]
    assert told["references"]["asked"] - told["references"]["answered"] == 1
    assert [r["reason"] for r in told["records"] if r["id"] == sulphide] == ["walltime"]
    elements = {d["structure_id"]: set(d["elements"]) for d in view.evaluations("entry")}
    rivals = {i for i in verdicts if elements[i] >= {"Li", "S"}}
    assert rivals
    assert {verdicts[i] for i in rivals} == {"undecided"}
    assert "stable" in verdicts.values()
    # later the code works: the reference is there, and what it competes with is judged
    broken.clear()
    monkeypatch.setattr("coevo.makers.populations.population.open_state", lambda *_: with_audit(view, told))
    later, verdicts = audited(4)
    assert later["references"]["answered"] == later["references"]["asked"]
    assert {verdicts[i] for i in rivals} == {"stable"}
    assert sulphide in {r["id"] for r in later["records"]}


def test_single_points_accept_and_never_reject(view: Any, tiny_text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram

    config = parse_config(tiny_text, "tiny")
    store, node, audit = current_store(), config.node, AuditConfig(auditor="espresso", structures=9)
    curation = config.curation.model_copy(update={"stable_threshold": 0.003})
    parts: dict[str, Any] = {"node": node, "curation": curation, "audit": audit, "labelling": config.labelling}
    documents = list(view.evaluations())
    assessed: Any = {"evaluations": write_records(store, documents)}
    shards = [write_records(store, population_records(view))]
    rejected = view.structure(documents[0]["structure_id"]).copy()
    rejected.scale_lattice(100.0 * len(rejected))
    row = {"id": "f" * 64, "structure": structure_document(rejected), "is_unique": True, "energy_above_hull": 9.0}
    curated: Any = {"screened": write_records(store, [row, {**row, "id": "e" * 64, "is_unique": False}])}
    audit_job = AuditMaker("tiny/3/audit-label", 1, **parts).make(assessed, shards, curated, [view.id], 3)
    checkpoint = view.document["checkpoints"]["force_field"]
    judge = JudgeAuditMaker("tiny/3/judge-audit", 1, force_field=config.screening.force_field, **parts)
    audited, found = run(audit_job, judge.make(assessed, audit_job.output, checkpoint, [view.id]))
    assert audited["auditor"]["name"] == "espresso"
    assert audited["populations"]["rejected"] == 1
    drawn = {d["id"]: d for d in read_records(store, audited["drawn"])}
    assert len(drawn) == len(audited["new"]) == 9
    told = found["audit"]
    assert told["relation"] == "independent"
    # The hull of its own energies, by pymatgen
    labels = [x for each in (*audited["references"], *audited["packets"]) for x in read_records(store, each["labels"])]
    structures = {d["structure_id"]: view.structure(d["structure_id"], relaxed=True) for d in documents}
    entries = {
        x["frame"]: PDEntry(c := structures[x["frame"]].composition, x["energy_per_atom"] * c.num_atoms)
        for x in labels
        if x["status"] == "admitted"
    }
    diagram = PhaseDiagram(list(entries.values()))
    judged = {d["structure_id"]: d for d in read_records(store, found["evaluations"]) if d.get("audit_verdict")}
    assert set(judged) == {i for i, d in drawn.items() if d["stratum"] != "rejected"}
    for identifier, document in judged.items():
        above = diagram.get_e_above_hull(entries[identifier])
        assert document["energy_above_hull_audit"] == pytest.approx(above, abs=1e-6)
        assert document["audit_verdict"] == ("stable" if above <= 0.003 else "undecided")
    # how many of each there are hangs on the node, which differs between classes of machines
    assert {d["audit_verdict"] for d in judged.values()} <= {"stable", "undecided"}
    assert sum(s["unstable"] for s in told["strata"].values()) == 0
    assert all(s["error"]["n"] == 0 for s in told["strata"].values())  # a bound says nothing of the error
    assert told["failed"] == {"scf_not_converged": 1}
    precision = told["precision"]
    assert precision["share"] <= precision["share_high"] == 1.0
    assert {r["id"] for r in told["records"]} == set(drawn)
    assert {r["formula"] for r in told["records"]} == {d["formula"] for d in drawn.values()}
    # A state that has this audit, with labels alone: the same looks of the same entries, and no new one
    monkeypatch.setattr("coevo.makers.populations.population.open_state", lambda *_: with_audit(view, told))
    again = AuditMaker("tiny/4/audit-label", 1, **parts).make(assessed, shards, None, [view.id], 4, anew=False)
    audited_again, judged_again = run(again, judge.make(assessed, again.output, checkpoint, [view.id]))
    assert audited_again["new"] == audited_again["packets"] == []
    assert judged_again["audit"]["strata"] == {
        **told["strata"],
        "rejected": {**told["strata"]["rejected"], "population": 0, "n": 0, "undecided": 0},
    }
    assert judged_again["audit"]["precision"] == precision
    assert judged_again["audit"]["records"] == []
    # The one that failed is asked again by a packet of its own, of another key
    once_more = AuditMaker("tiny/4/audit-label", 1, **parts).make(assessed, shards, curated, [view.id], 4)
    (repeated,) = run(once_more)
    assert repeated["new"][-1] == "f" * 64
    last = [label["frame"] for label in read_records(store, repeated["packets"][-1]["labels"])]
    assert last == ["f" * 64]
    assert repeated["packets"][-1]["key"] not in {packet["key"] for packet in audited["packets"]}


def test_where_there_is_nothing_to_look_at_nothing_is_computed(view: Any, tiny_text: str) -> None:
    config, store = parse_config(tiny_text, "tiny"), current_store()
    parts: dict[str, Any] = {"node": config.node, "audit": AuditConfig(auditor="espresso"), "labelling": config.labelling}
    assessed: Any = {"evaluations": write_records(store, view.evaluations("reference"))}
    curated: Any = {"screened": write_records(store, [])}
    audit = AuditMaker("tiny/3/audit-label", 1, **parts).make(assessed, [], curated, [view.id], 3)
    judge = JudgeAuditMaker("tiny/3/judge-audit", 1, **parts)
    audited, found = run(audit, judge.make(assessed, audit.output, view.document["checkpoints"]["force_field"], [view.id]))
    assert audited["references"] == audited["packets"] == []
    assert found["audit"]["reason"] == "there was nothing to look at"
    assert "precision" not in found["audit"]


class RelaxingPlaneWaves(PlaneWaves):
    """The same code, which moves what is denser than a metal to the volume where it is asked to; sulphur takes too long."""

    asked: list[tuple[float, int, float]]

    def relax(self, frames: Any, steps: int, fmax: float, *, progress: Any = None) -> list[RelaxedFrame]:
        found = []
        for frame, label in zip(frames, self.label(frames), strict=True):
            self.asked.append((frame.volume / len(frame), steps, fmax))
            found.append(RelaxedFrame(frame, label, steps, converged="S" not in frame.symbol_set))
        return found


def test_a_code_that_relaxes_rejects_what_it_relaxed_and_starts_from_a_force_field(
    view: Any, tiny_text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = RelaxingPlaneWaves.asked = []
    for place in ("coevo.makers.label", "coevo.makers.labels.settings"):
        monkeypatch.setattr(f"{place}.labeller_for", lambda *_, **__: RelaxingPlaneWaves())

    class Swelling:
        def relax(self, crystals: Any, *_: Any, **__: Any) -> list[Any]:
            swollen = [crystal.copy().scale_lattice(90.0 * len(crystal)) for crystal in crystals]
            return [SimpleNamespace(structure=crystal) for crystal in swollen]

    monkeypatch.setattr("coevo.makers.audit.code_relaxation.load_force_field", lambda *_: Swelling())
    config = parse_config(tiny_text, "tiny")
    store, node = current_store(), config.node
    # a hull of what it says, in which everything at 90 Å³ per atom has failed, so that references alone stand
    audit = AuditConfig(auditor="espresso", structures=9, code_steps=4, force_field_first=True, max_steps=7)
    parts: dict[str, Any] = {"node": node, "curation": config.curation, "labelling": config.labelling}
    assessed: Any = {"evaluations": write_records(store, list(view.evaluations()))}
    shards = [write_records(store, population_records(view))]
    checkpoint = view.document["checkpoints"]["force_field"]

    def audited(how: AuditConfig) -> tuple[Any, Any]:
        audit_maker = AuditMaker("tiny/3/audit-label", 1, audit=how, screening=config.screening, **parts)
        job = audit_maker.make(assessed, shards, None, [view.id], 3)
        judge = JudgeAuditMaker("tiny/3/judge-audit", 1, audit=how, force_field=config.screening.force_field, **parts)
        return tuple(run(job, judge.make(assessed, job.output, checkpoint, [view.id])))  # type: ignore[return-value]

    drawn, found = audited(audit)
    relaxed = drawn["auditor"]["relaxed"]
    assert (relaxed["steps"], relaxed["first"]["name"], relaxed["first"]["relaxed"]["max_steps"]) == (4, "chgnet/0.3.0", 7)
    references = list(view.evaluations("reference"))
    published = [view.structure(d["structure_id"]) for d in references]
    volumes = sorted(crystal.volume / len(crystal) for crystal in published)
    # references as they were published, the others as the force field left them
    assert sorted(volume for volume, *_ in asked if volume < 89) == pytest.approx(volumes)
    assert sum(volume > 89 for volume, *_ in asked) == len(drawn["new"]) == 9
    assert {(steps, fmax) for _, steps, fmax in asked} == {(4, config.screening.fmax)}
    told = found["audit"]
    assert told["failed"] == {"scf_not_converged": 9}
    assert [row["again"] for row in told["records"] if row["reason"] == "scf_not_converged"] == [True] * 9
    assert told["references"]["not_relaxed"] == sum("S" in d["elements"] for d in references)
    # from where they are: what is without sulphur is relaxed, and may be rejected; what has some is a bound
    drawn, found = audited(audit.model_copy(update={"force_field_first": False, "structures": 40}))
    assert "first" not in drawn["auditor"]["relaxed"]
    judged = {d["structure_id"]: d for d in read_records(store, found["evaluations"]) if d.get("audit_verdict")}
    assert judged
    for document in judged.values():
        if "S" in document["elements"]:
            assert document["audit_verdict"] != "unstable"
        else:
            above = document["energy_above_hull_audit"]
            assert document["audit_verdict"] == ("stable" if above <= config.curation.stable_threshold else "unstable")
