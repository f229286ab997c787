"""Studies that are run in this process: phases that are chosen, documents that are found again, killed ones that go on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import tiny_study
from coevo.campaigns.study import plan_study, prepare_study, run_study
from coevo.campaigns.study_phases import choose_phases, hull_records
from coevo.errors import CheckpointError, CorruptArtifactError, QueryError
from coevo.flows.studies.registry import KINDS
from coevo.makers.populations.hull_members import state_hull
from coevo.makers.step import read_records
from coevo.node_store.canonical import structure_from_document
from coevo.node_store.current import current_store
from coevo.node_store.store import NodeStore
from tiny_node import Coevo, copy_of
from tiny_study import ScaleMaker, TinyStudy, VolumesMaker


@pytest.fixture
def coevo(finished: Coevo, tmp_path: Path) -> Coevo:
    return copy_of(finished.directory, tmp_path)


@pytest.fixture
def store(coevo: Coevo, monkeypatch: pytest.MonkeyPatch) -> NodeStore:
    """A store with a finished tiny node, and the tiny kind of study."""
    monkeypatch.setenv("COEVO_DATABASE", coevo.environment["COEVO_DATABASE"])
    monkeypatch.setitem(KINDS, "tiny", tiny_study.TINY_KIND)
    return current_store()


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the steps that compute something, as they do."""
    seen: list[str] = []
    for maker in (VolumesMaker, ScaleMaker):
        compute = maker.compute

        def counting(self: Any, *inputs: Any, compute: Any = compute) -> Any:
            seen.append(type(self).__name__)
            return compute(self, *inputs)

        monkeypatch.setattr(maker, "compute", counting)
    return seen


def test_a_study_stands_beside_its_state_which_does_not_change(store: NodeStore) -> None:
    view = store.state("tiny")
    before = store.backend.state_document("tiny", view.id)
    phases = choose_phases(view, "energy_above_hull < 0.5", references=True, limit=5)
    study = run_study(store, view, "tiny", TinyStudy(scale=2.0), phases)
    assert store.backend.state_document("tiny", view.id) == before
    assert [found.id for found in view.studies()] == [study.id] == [found.id for found in store.studies("tiny")]
    assert view.studies("other") == [] == store.state("tiny~1").studies()
    document = study.document
    assert [phase["id"] for phase in document["phases"]] == [phase["id"] for phase in phases.phases]
    for phase in phases.phases:
        structure = view.structure(phase["id"])
        assert document["results"]["volumes"][phase["id"]] == pytest.approx(2 * structure.volume / len(structure), rel=1e-12)
    assert document["checkpoints"] == {"force_field": view.document["checkpoints"]["force_field"]["sha256"]}
    assert store.artifacts.get_bytes(document["artifacts"][0]["sha256"]).count(b"\n") == len(phases.phases)


def test_the_same_study_again_computes_nothing_and_a_killed_one_goes_on(
    store: NodeStore, computed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    view = store.state("tiny")
    phases = choose_phases(view, limit=2)

    def killed(self: Any, *inputs: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(ScaleMaker, "compute", killed)
        with pytest.raises(KeyboardInterrupt):
            run_study(store, view, "tiny", TinyStudy(), phases)
    assert (computed, view.studies()) == (["VolumesMaker"], [])
    study = run_study(store, view, "tiny", TinyStudy(), phases)
    assert computed == ["VolumesMaker", "ScaleMaker"]
    assert run_study(store, view, "tiny", TinyStudy(), phases) == study
    assert computed == ["VolumesMaker", "ScaleMaker"]
    other = run_study(store, view, "tiny", TinyStudy(scale=3.0), phases)
    assert other.id != study.id
    # a study that was removed beside finished jobs comes back as it was
    store.backend.write_note("tiny", f"study-{view.id}-{study.id}", None)
    assert run_study(store, view, "tiny", TinyStudy(), phases).document == study.document


def test_a_study_is_handed_the_hull_and_the_structures_of_its_state(store: NodeStore) -> None:
    view = store.state("tiny")
    phases = choose_phases(view, references=True, limit=4)
    assert [phase["e_hull"] for phase in phases.phases] == sorted(phase["e_hull"] for phase in phases.phases)
    inputs = prepare_study(store, view, "tiny", TinyStudy(), phases).inputs
    records = list(read_records(store, inputs.structures))
    assert [record["id"] for record in records] == [phase["id"] for phase in phases.phases]
    for record in records:
        assert structure_from_document(record["structure"]) == view.structure(record["id"])
    hull, elements = state_hull(view, view.document["elements"]), view.document["elements"]
    rows = list(hull_records(view))
    assert {row["id"] for row in rows} == set(view.manifest["references"]) | set(view.manifest["structures"])
    assert list(read_records(store, inputs.hull)) == rows
    above = {row["structure_id"]: row["energy_above_hull"] for row in view.evaluations()}
    for row in rows:
        total = sum(row["composition"].values())
        fractions = [[row["composition"].get(symbol, 0.0) / total for symbol in elements]]
        (found,) = hull.energy_above_hull(fractions, [row["energy_per_atom"]])
        assert found == pytest.approx(above[row["id"]], abs=1e-9)


def test_phases_are_chosen_by_filter_formula_and_limit(store: NodeStore) -> None:
    view = store.state("tiny")
    known = {row["structure_id"]: row for row in view.evaluations()}
    everything = choose_phases(view, references=True)
    live = [row for row in known.values() if row["duplicate_of"] is None]
    assert {phase["id"] for phase in everything.phases} == {row["structure_id"] for row in live}
    few = choose_phases(view, references=True, limit=2)
    assert (few.phases, few.left_out) == (everything.phases[:2], len(everything.phases) - 2)
    named = [phase for phase in everything.phases if phase["kind"] == "reference"]
    assert all(phase["name"] for phase in named)
    formula = named[0]["formula"]
    for written in (formula, f"({formula})2"):
        found = choose_phases(view, formula=written, references=True).phases
        assert {phase["formula"] for phase in found} == {formula}
    nothing = r"no phase matches the filter energy_above_hull < -1: tiny@\w{12} has \d+ entries and 6 references; --references"
    with pytest.raises(QueryError, match=nothing):
        choose_phases(view, "energy_above_hull < -1")
    with pytest.raises(QueryError, match="no phase matches --formula Li7P3S11"):
        choose_phases(view, formula="Li7P3S11", references=True)
    with pytest.raises(QueryError, match="--formula: got 'Xx2', allowed: a formula such as Li3PS4"):
        choose_phases(view, formula="Xx2")
    with pytest.raises(QueryError, match="there is no field 'nonsense'"):
        choose_phases(view, "nonsense = 1")


def test_a_plan_computes_and_stores_nothing(store: NodeStore, computed: list[str]) -> None:
    view = store.state("tiny")
    before = set(store.backend.job_keys())
    estimate = plan_study(view, "tiny", TinyStudy(), choose_phases(view, limit=2))
    atoms = sum(len(view.structure(phase["id"])) for phase in choose_phases(view, limit=2).phases)
    assert (estimate.jobs, estimate.cpu_seconds) == (3, pytest.approx(0.001 * atoms))
    assert (computed, view.studies(), set(store.backend.job_keys())) == ([], [], before)


def test_a_study_without_its_force_field_does_not_begin(store: NodeStore, computed: list[str]) -> None:
    view = store.state("tiny")
    phases = choose_phases(view, limit=1)
    with pytest.raises(QueryError, match="there is no study 'nonsense'; studies: "):
        run_study(store, view, "nonsense", TinyStudy(), phases)
    sha256 = view.document["checkpoints"]["force_field"]["sha256"]
    (store.artifacts.directory / sha256[:2] / sha256[2:]).unlink()  # type: ignore[operator]
    with pytest.raises((CheckpointError, CorruptArtifactError)):
        run_study(store, view, "tiny", TinyStudy(), phases)
    assert (computed, view.studies()) == ([], [])


def test_what_studies_say_is_in_tables_and_notebooks(store: NodeStore, coevo: Coevo) -> None:
    import coevo as package

    view = store.state("tiny")
    phases = choose_phases(view, references=True, limit=6)
    volumes = {phase["id"]: (s := view.structure(phase["id"])).volume / len(s) for phase in phases.phases}
    limit = sorted(volumes.values())[2]
    study = run_study(store, view, "tiny", TinyStudy(limit=limit), phases)
    stable = {identifier for identifier, volume in volumes.items() if volume < limit}
    table = package.open("tiny").state().to_dataframe(kind="all")
    assert table["dynamically_stable"].dtype == "boolean"
    assert set(table.index[table["dynamically_stable"].fillna(value=False)]) == stable
    assert int(table["dynamically_stable"].notna().sum()) == len(volumes)
    (found,) = package.open("tiny").state().studies()
    assert (found.id, found.kind, found.state) == (study.id, "tiny", view.id)
    assert list(found.tables()["volumes"]["volume (Å³/atom)"]) == [volumes[phase["id"]] for phase in phases.phases]
    assert found.file("volumes.txt") == store.artifacts.get_bytes(study.document["artifacts"][0]["sha256"])
    assert found.lines()[0] == "6 volumes, scaled by 1"
    with pytest.raises(QueryError, match=r"no file 'x'; it has: volumes.txt"):
        found.file("x")

    entries = {row["structure_id"] for row in view.entries()}
    rows = json.loads(coevo("query", "tiny", "dynamically_stable = TRUE", "--format", "json").stdout)
    assert {row["structure_id"] for row in rows} == stable & entries
    assert all(row["dynamically_stable"] is True for row in rows)
    done = coevo("query", "tiny", "dynamically_stable = TRUE AND energy_above_hull > 9")
    assert f"dynamically_stable is said of {len(set(volumes) & entries)}" in done.stderr
    listed = json.loads(coevo("study", "list", "tiny", "--format", "json").stdout)
    assert [(row["id"], row["state"], "results" in row) for row in listed] == [(study.id, view.id, False)]
    assert study.id[:10] in coevo("study", "list").stdout
    assert "no studies" in coevo("study", "list", "tiny@main~1").stderr
    shown = coevo("study", "show", "tiny").stdout  # by a process that does not know this kind
    assert "this coevo knows no study 'tiny'" in shown
    assert "how soft this force field is, is not known" in shown
    document = json.loads(coevo("study", "show", "tiny", study.id[:6], "--format", "json").stdout)
    assert document["results"] == study.document["results"]
    assert f"there are: tiny {study.id[:10]}" in coevo("study", "show", "tiny", "nonsense", code=2).stderr
    assert study.id[:10] in coevo("study", "show", "tiny~1", study.id[:6]).stdout  # by its id, from whichever state
    assert "there is no study of tiny@" in coevo("study", "show", "tiny~1", code=2).stderr
