"""A hull of labelled phases in flows: planted false minima are caught, and a perfect teacher changes no verdict."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hand_made_states import ELEMENTS, SETTINGS, Node, config_for, energy, label, pool
from jobflow import JobStore, Maker, job, run_locally
from maggma.stores import MemoryStore
from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
from pymatgen.core import Composition, Structure

from coevo.analysis.composition import fractions
from coevo.campaigns.merging import Target, checkpoints_of, merge
from coevo.configs.loading import parse_config
from coevo.configs.tree import NodeConfig
from coevo.flows.labelling import LabelFlowMaker
from coevo.flows.transition import CoevolutionMaker
from coevo.makers.label import label_document, packet_of
from coevo.makers.populations.hull_members import is_counted
from coevo.makers.populations.population import hull_of, members, model_energy
from coevo.makers.signals.hull_check import _compare_standing
from coevo.makers.signals.recomputation import compare_signals
from coevo.makers.step import current_store, read_records
from coevo.node_store.canonical import digest, structure_id
from coevo.node_store.identity import label_id
from coevo.node_store.upkeep.verification import verify
from coevo.notebooks.states import State
from coevo.report.figures.hull_points import hull_points
from coevo.studies.analyse.batch import batch_from_state
from coevo.studies.analyse.energies import above_hull

if TYPE_CHECKING:
    from coevo.node_store.views import StateView
    from tiny_node import Coevo

pytestmark = pytest.mark.filterwarnings("ignore")
FALSE = 0.3
"""eV/atom, by which the labels of false minima lie above the force field."""
SHIFT = {"Li": 0.4, "P": -0.3, "S": 1.7}
"""eV an atom, between the scales of the labels and of the force field."""


@dataclass
class Planted(Maker):
    """Labels by the force field of the node on another scale; compositions that no reference has are false minima, if wanted."""

    name: str = "label"
    node: Any = None
    false: float = FALSE

    @job
    def make(self, selected: Any, parent: str) -> Any:
        from coevo.labelling.contract import LabelResult, LabelSettings
        from coevo.labelling.digest import settings_digest
        from coevo.makers.checkpoints import load_force_field
        from coevo.makers.labels.frames import wanted_frames
        from coevo.makers.populations.population import open_state
        from coevo.node_store.canonical import structure_from_document

        store = current_store()
        view = open_state(store, self.node.name, parent)
        settings = LabelSettings("planted", "1", "r2SCAN", False, {"false": self.false})
        of_settings = settings_digest(settings)
        wanted = wanted_frames(view, self.node, of_settings, list(read_records(store, selected["frames"])))
        structures = [structure_from_document(record["structure"]) for record in wanted.new]
        known = {row["formula"] for row in view.references()}
        force_field = load_force_field(store, view.document["checkpoints"]["force_field"])
        labels = []
        for record, structure, point in zip(wanted.new, structures, force_field.evaluate(structures), strict=True):
            shift = np.mean([SHIFT[site.specie.symbol] for site in structure])
            penalty = 0.0 if structure.composition.reduced_formula in known else self.false
            result = LabelResult("admitted", "", point.energy + shift + penalty, point.forces, point.stress, "")
            labels.append(label_document(record, result, settings, of_settings, first_principles=False))
        return {"packets": [packet_of(store, labels)], "notes": wanted.notes}


def with_labelled_hull(config: NodeConfig, structures: int) -> NodeConfig:
    """The configuration with a force field that learns nothing."""
    changes = {
        "curation": config.curation.model_copy(update={"hull": "labelled"}),
        "training": config.training.model_copy(update={"enabled": False}),
        "selection": config.selection.model_copy(update={"structures": structures, "rattled": 0, "strained": 0, "path": 0}),
    }
    return config.model_copy(update=changes)


def one_turn(
    fresh: Coevo, monkeypatch: pytest.MonkeyPatch, *, false: float, structures: int = 5, start: str = "tiny"
) -> StateView:
    monkeypatch.setenv("COEVO_DATABASE", f"file:{fresh.database}")
    monkeypatch.setenv("COEVO_WORKERS", "1")
    store = current_store()
    head = store.state(start)
    config = with_labelled_hull(parse_config(store.read_config_text("tiny"), "tiny"), structures)
    flow = CoevolutionMaker(config=config, label_maker=Planted(node=config.node, false=false)).make(
        head.id, head.iteration + 1, **checkpoints_of(head, config)
    )
    run_locally(flow, store=JobStore(MemoryStore()), log=False, ensure_success=True)
    return store.state("tiny")


def above(view: StateView, points: list[tuple[Structure, float]], asked: list[tuple[Structure, float]]) -> Any:
    elements = view.document["elements"]
    return hull_of(elements, points).energy_above_hull(fractions([s for s, _ in asked], elements), [e for _, e in asked])


def check_caught(view: StateView) -> None:
    """What the labels call false minima is on no hull, and nobody counts it or its like as S.U.N."""
    references, entries = members(view, "reference"), members(view, "entry")
    known = {m.document["formula"] for m in references}
    labelled = {x["family"] for x in view.labels() if x["kind"] == "relaxed"}
    refuted = view.manifest["refuted"]
    assert refuted
    assert set(refuted) == {m.id for m in entries if m.id in labelled and m.document["formula"] not in known}
    for m in entries:
        status = m.document["hull_status"]
        assert (status == "refuted") == (m.id in refuted)
        if status == "refuted":
            assert m.energy_per_atom == refuted[m.id] == pytest.approx(model_energy(m.document) + FALSE, abs=2e-3)
            assert not m.document["is_sun"]
        elif m.id in labelled:
            assert status == "confirmed"
        else:
            # without a label: below the hull it is S.U.N. on nobody's word but the force field's, and what is like a false
            # minimum is not S.U.N. at all
            assert status in {"unconfirmed", "in_doubt", None}
        if m.document["formula"] in {e.document["formula"] for e in entries if e.id in refuted}:
            assert not m.document["is_sun"] or status == "confirmed"
    found = above(
        view,
        [(m.structure, m.energy_per_atom) for m in (*references, *entries) if is_counted(m.document)],
        [(m.structure, m.energy_per_atom) for m in entries],
    )
    assert [m.document["energy_above_hull"] for m in entries] == pytest.approx(list(found), abs=1e-9)
    on_hull = [m for m in entries if is_counted(m.document) and m.document["energy_above_hull"] < 1e-8]
    assert {m.document["formula"] for m in on_hull} <= known
    counts = view.document["metrics"]["population"]
    assert counts["refuted"] == sum(m.document["hull_status"] == "refuted" and not m.document["duplicate_of"] for m in entries)
    assert counts["sun"] == sum(m.document["is_sun"] for m in entries)


def check_ruler(view: StateView) -> None:
    """A sample that is a refuted entry stands where the entry does, and is not S.U.N."""
    entries = {m.id: m.document for m in members(view, "entry")}
    refuted = []
    for since, sha256 in view.manifest["samples"].items():
        samples = sorted(read_records(current_store(), {"sha256": sha256}), key=lambda row: row["id"])
        ruler = view.document["metrics"]["ruler"][since]
        sun = 0
        for row, value in zip(samples, ruler["values"], strict=True):
            status = entries.get(row["id"], {}).get("hull_status")
            sun += bool(row["is_novel"] and value <= 0.1 and status not in {"refuted", "in_doubt"})
            if status == "refuted":
                assert value == pytest.approx(entries[row["id"]]["energy_above_hull"], abs=2e-3)
                refuted.append(row["id"])
        assert ruler["sun"] == pytest.approx(sun / len(samples))
    assert refuted


def test_planted_false_minima_are_labelled_and_refuted_at_once(fresh: Coevo, monkeypatch: pytest.MonkeyPatch) -> None:
    view = one_turn(fresh, monkeypatch, false=FALSE)
    check_caught(view)
    check_ruler(view)
    told = json.loads(fresh("analyse", "tiny", "--stable", "0.25", "--format", "json").stdout)
    rates = {(r["what"], r["population"], r["threshold"]): r["count"] for r in told["sun"]["hull"]["rates"]}
    entries = list(view.evaluations("entry"))
    within = [d for d in entries if d["is_novel"] and d["duplicate_of"] is None and d["energy_above_hull"] <= 0.25]
    refused = [d for d in within if d["hull_status"] in {"refuted", "in_doubt"}]
    assert refused
    assert rates["sun", "generated", 0.25] == len(within) - len(refused)
    check = view.document["metrics"]["hull_check"]
    assert check["labelled"] == check["refuted"] > 0
    assert [s["name"] for s in view.document["metrics"]["maturity"]["signals"]][-1] == "hull"
    assert {x["how"] for x in view.labels()} >= {"hull", "reference"}
    # whose labels counted is what the state says, not who labels it
    population = view.document["metrics"]["population"]
    assert population["first_principles_only"] is False
    config = NodeConfig.model_validate(view.document["config"])
    by_vasp = config.model_copy(update={"labelling": config.labelling.model_copy(update={"code": "vasp"})})
    assert {row.name for row in _compare_standing(view, by_vasp) if not row.agrees} == set()
    population["first_principles_only"] = True
    assert "entries that make the hull, other than recorded" in {
        row.name for row in _compare_standing(view, config) if not row.agrees
    }


@pytest.mark.long
def test_false_minima_stay_caught_and_a_healthy_state_verifies(fresh: Coevo, monkeypatch: pytest.MonkeyPatch) -> None:
    one_turn(fresh, monkeypatch, false=FALSE)
    view = one_turn(fresh, monkeypatch, false=FALSE)
    check_caught(view)
    rows = compare_signals(current_store(), view, NodeConfig.model_validate(view.document["config"]), 1)
    # errors of a fit on planted labels are another matter: single precision alone moves them by parts in a thousand
    assert [row.name for row in rows if not row.agrees and not row.name.startswith("test RMSE")] == []
    compared = {row.name: row for row in rows}
    assert compared["refuted entries"].found == len(view.manifest["refuted"])
    assert compared["of which labels refute"].found == view.document["metrics"]["hull_check"]["refuted"]
    assert verify(current_store(), "tiny").problems == []
    # what is refuted is no parent of the generator
    training_set = view.document["checkpoints"]["generator"]["training_set"]
    examples = {row["id"] for row in read_records(current_store(), {"sha256": training_set})}
    assert examples
    assert not examples & set(view.manifest["refuted"])
    queried = {row["structure_id"] for row in view.entries({"hull_status": "refuted"})}
    assert queried == set(view.manifest["refuted"])
    # an analysis of the state and the figures of its report have the same hull
    batch = batch_from_state(current_store(), "tiny")
    above_hull(batch)
    apart = [abs(row.energy_above_hull - batch.stored[row.id]["energy_above_hull"]) for row in (*batch.rows, *batch.references)]
    assert max(apart) < 1e-9
    state = State(current_store(), view)
    diagram = state.phase_diagram()
    for entry in state.entries_pymatgen():
        expected = diagram.get_e_above_hull(entry, allow_negative=True)
        assert entry.data["energy_above_hull"] == pytest.approx(expected, abs=1e-9)
    points = hull_points(view.document["elements"], list(view.evaluations()))
    assert all(is_counted(points.rows[corner]) for corner in points.corners)
    told = fresh("status", "tiny").stdout
    assert f"{len(queried)} refuted" in told
    assert "labelled phases make it" in told


@pytest.mark.long
def test_a_perfect_teacher_changes_no_verdict(fresh: Coevo, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything on the hull has a label that agrees: the hull of labelled phases is the force field's."""
    view = one_turn(fresh, monkeypatch, false=0.0, structures=8)
    assert "refuted" not in view.manifest
    population = [*members(view, "reference"), *members(view, "entry")]
    points = [(m.structure, m.energy_per_atom) for m in population]
    found = above(view, points, points)
    assert [m.document["energy_above_hull"] for m in population] == pytest.approx(list(found), abs=1e-9)
    threshold = view.document["config"]["curation"]["stable_threshold"]
    for m, value in zip(population, found, strict=True):
        document = m.document
        assert document["is_sun"] == bool(value <= threshold and document["is_novel"] and document["duplicate_of"] is None)
    check = view.document["metrics"]["hull_check"]
    assert (check["refuted"], check["labelled"]) == (0, check["wanted"])
    # run again, as after a kill: everything is found, and the state is the one that is there
    monkeypatch.setattr("coevo.makers.assess.AssessMaker._standing", lambda *_, **__: pytest.fail("it is done already"))
    monkeypatch.setattr("coevo.makers.select.SelectMaker._hull_phases", lambda *_, **__: pytest.fail("it is done already"))
    assert one_turn(fresh, monkeypatch, false=0.0, structures=8, start="tiny~1").id == view.id


@pytest.mark.long
def test_labels_that_are_added_refute_as_well(fresh: Coevo, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an iteration whose labels agreed, others of other settings do not."""
    before = one_turn(fresh, monkeypatch, false=0.0)
    store = current_store()
    config = with_labelled_hull(parse_config(store.read_config_text("tiny"), "tiny"), 5)
    references = {row["formula"] for row in before.references()}
    settings = digest("settings of the later labels")
    later = []
    for old in (x for x in before.labels() if x["kind"] == "relaxed"):
        content = {key: value for key, value in old.items() if key not in {"_id", "split"}} | {"settings_digest": settings}
        formula = before.evaluation(old["family"])["formula"]
        # first-principles ones come before those of the iteration
        content |= {"code": "vasp", "energy_per_atom": old["energy_per_atom"] + (0.0 if formula in references else FALSE)}
        later.append({"_id": label_id(content), **content})
    flow = LabelFlowMaker(config=config).add(
        [packet_of(store, later)], before.id, before.iteration + 1, checkpoints_of(before, config), "later labels"
    )
    run_locally(flow, store=JobStore(MemoryStore()), log=False, ensure_success=True)
    view = store.state("tiny")
    assert view.parents == (before.id,)
    check_caught(view)
    assert view.document["metrics"]["hull_check"] is None  # no iteration made it
    assert verify(store, "tiny").problems == []


def test_a_merge_makes_the_hull_of_labelled_phases_again(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One side has an entry that a label refuted, the other one that a label confirms and one without; energies are kept."""
    monkeypatch.setenv("COEVO_DATABASE", f"file:{tmp_path}/db")
    store, crystals = current_store(), pool()
    node = Node(store, config_for("sides", hull="labelled"))
    seed = node.seed()
    refuted, confirmed, unlabelled = crystals[0], crystals[1], crystals[2]
    false = label(refuted)
    false = {key: value for key, value in false.items() if key != "_id"} | {"energy_per_atom": energy(refuted) + FALSE}
    offsets = {SETTINGS: {"elements": list(ELEMENTS["LPS"]), "values": [0.0] * 3, "rank": 3, "residual_rms": 0.0, "n": 3}}
    identifier = structure_id(refuted)
    of_false = {label_id(false): ({"_id": label_id(false), **false}, "train")}
    a = node.grow(seed, "a", [refuted], of_false, refuted={identifier: energy(refuted) + FALSE}, offsets=offsets)
    true = label(confirmed)
    b = node.grow(seed, "b", [confirmed, unlabelled], {true["_id"]: (true, "train")}, refuted={}, offsets=offsets)
    assert a.manifest["refuted"] == {identifier: energy(refuted) + FALSE}
    assert "refuted" not in b.manifest
    merged = [merge(store, *sides, Target("sides", f"merged-{i}"), train=False)[0] for i, sides in enumerate([(a, b), (b, a)])]
    for view in merged:
        assert view.manifest["refuted"] == {identifier: pytest.approx(energy(refuted) + FALSE, abs=1e-12)}
        rows = {row["structure_id"]: row for row in view.evaluations()}
        assert rows[identifier]["model_energy_per_atom"] == energy(refuted)
        assert [rows[structure_id(s)]["hull_status"] for s in (refuted, confirmed, unlabelled)] == [
            "refuted",
            "confirmed",
            rows[structure_id(unlabelled)]["hull_status"],
        ]
        assert rows[structure_id(unlabelled)]["hull_status"] in {"unconfirmed", "in_doubt", None}
        counted = [row for row in rows.values() if is_counted(row)]
        assert {row["structure_id"] for row in counted if row["kind"] == "entry"} == {identifier, structure_id(confirmed)}
        diagram = PhaseDiagram([_entry(row) for row in counted])
        for row in rows.values():
            expected = diagram.get_e_above_hull(_entry(row), allow_negative=True)
            assert row["energy_above_hull"] == pytest.approx(expected, abs=1e-6)
        # the next merge starts from the force field's energy, not from the label's
        assert verify(store, "sides").problems == []
    assert list(merged[0].evaluations()) == list(merged[1].evaluations())


def _entry(row: dict[str, Any]) -> PDEntry:
    composition = Composition(row["formula"])
    return PDEntry(composition, row["energy_per_atom"] * composition.num_atoms)
