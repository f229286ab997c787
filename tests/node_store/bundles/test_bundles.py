"""Bundles: what goes out of one database is what comes into another."""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
from pathlib import Path

import pytest
from bundle_files import (
    CONFIG_TEXT,
    SAFETENSORS,
    assert_same_history,
    content,
    embedded,
    export,
    forked,
    new_lineage,
    pickled,
)
from hypothesis import HealthCheck, given, settings, strategies
from li_p_s_states import CONFIG, NODE, Lineage, evaluation, judge

from coevo.errors import (
    ConfigError,
    NodeExistsError,
)
from coevo.node_store.bundles.export import export_bundle, heads_of
from coevo.node_store.bundles.importing import import_bundle
from coevo.node_store.lineage.transfers import history
from coevo.node_store.seeds import give_seed, seed_of_branch
from coevo.node_store.store import NodeStore, open_store
from coevo.node_store.trust.loading import fetch_checkpoint
from coevo.settings import Settings

# --- round trips


def test_a_state_and_its_history_arrive_whole(store, other, lineage, tmp_path):
    report = import_bundle(other, export(store, tmp_path / "b.zip"))
    assert (report.created, report.states, report.states_added, report.blobs, report.blobs_added) == (True, 3, 3, 9, 9)
    assert (report.entries, report.references, report.labels) == (12, 2, 9)
    assert [vars(branch) for branch in report.branches] == [
        {"branch": "main", "state": lineage.parents[0], "outcome": "created", "kept_as": None}
    ]
    assert report.untrusted == {}
    assert_same_history(store, other)
    assert other.node(NODE).config_text == CONFIG_TEXT
    assert other.node(NODE).config == store.node(NODE).config
    head = other.state(NODE)
    assert head.document["checkpoints"]["force_field"]["uri"].startswith(other.artifacts.uri)
    assert head.document["manifest"]["uri"].startswith(other.artifacts.uri)
    assert (
        fetch_checkpoint(other, head.document["checkpoints"]["force_field"], "force_field").read_bytes() == SAFETENSORS + b"\x02"
    )


def test_what_labels_refuted_arrives_as_it_is(store, other, lineage, tmp_path):
    draft = lineage.draft()
    identifier = judge(draft, "refuted", labelled=True)
    entry = next(row for row in draft.evaluations if row["structure_id"] == identifier)
    store.commit(draft, branch="main", expected=lineage.parents[0])
    import_bundle(other, export(store, tmp_path / "b.zip"))
    assert other.state(NODE).manifest["refuted"] == {entry["structure_id"]: entry["energy_per_atom"]}
    assert_same_history(store, other)


@pytest.mark.service
def test_directory_to_server_to_directory_is_the_identity(store, other, lineage, tmp_path, mongodb_uri):
    forked(store, lineage, "try.2", 1)
    first = export(store, tmp_path / "1.zip", whole_node=True)
    with open_store(Settings(database=mongodb_uri, artifacts=(tmp_path / "blobs").as_uri())) as server:
        assert import_bundle(server, first).states_added == 4
        assert_same_history(store, server)
        second = export(server, tmp_path / "2.zip", whole_node=True)
        assert import_bundle(server, first).states_added == 0
    import_bundle(other, second)
    assert_same_history(store, other)
    assert first.read_bytes() == second.read_bytes() == export(other, tmp_path / "3.zip", whole_node=True).read_bytes()


def test_remote_artifact_stores(store, lineage, tmp_path):
    target = open_store(Settings(database=f"file:{tmp_path / 'other'}", artifacts=f"memory://{tmp_path.name}"))
    import_bundle(target, export(store, tmp_path / "1.zip"))
    assert_same_history(store, target)
    assert export(target, tmp_path / "2.zip").read_bytes() == (tmp_path / "1.zip").read_bytes()


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=strategies.lists(
        strategies.tuples(strategies.integers(0, 3), strategies.integers(0, 2), strategies.booleans(), strategies.booleans()),
        min_size=1,
        max_size=4,
    ),
    merge=strategies.booleans(),
    thin=strategies.booleans(),
)
def test_export_and_import_is_the_identity(steps, merge, thin):
    with tempfile.TemporaryDirectory() as name:
        store, other = embedded(Path(name) / "source"), embedded(Path(name) / "other")
        lineage = new_lineage(store)
        lineage.commit(n_entries=1)
        for number, (entries, labels, forks, dropped) in enumerate(steps):
            if forks:
                forked(store, lineage, f"fork-{number}", number + 1, n_entries=entries, n_labels=labels)
            if dropped:
                lineage.entries = lineage.entries[1:]
            lineage.commit(n_entries=entries, n_labels=labels)
        if merge:
            _merge(store, lineage)
        import_bundle(other, export(store, Path(name) / "b.zip", whole_node=True, checkpoints=not thin))
        assert_same_history(store, other)
        before = [path.name for path in sorted(Path(name, "other").rglob("*"))]
        import_bundle(other, Path(name) / "b.zip")
        assert [path.name for path in sorted(Path(name, "other").rglob("*"))] == before


def _merge(store: NodeStore, lineage: Lineage) -> None:
    left = lineage.parents[0]
    right, merged_in = forked(store, lineage, "merged-in", 77, n_entries=2, n_labels=1)
    draft = lineage.draft(n_entries=1, n_labels=0, parents=(left, merged_in))
    known = {d["structure_id"] for d in draft.evaluations}
    draft.evaluations += [d for i, s in enumerate(right.entries) if (d := evaluation(s, "entry", i))["structure_id"] not in known]
    draft.splits = {**draft.splits, **right.splits}
    store.commit(draft, "main", left)


def test_the_same_states_give_the_same_bytes(store, lineage, tmp_path):
    first, second = export(store, tmp_path / "1.zip"), export(store, tmp_path / "2.zip")
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(first) as archive:
        names = archive.namelist()
        assert archive.testzip() is None
        contents = json.loads(archive.read("bundle.json"))
    assert names[0] == "bundle.json"
    assert names[1:] == [member["name"] for member in contents["members"]]
    assert contents["heads"] == {"main": lineage.parents[0]}
    assert contents["states"][-1] == lineage.parents[0]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".tmp")] == []


def test_what_a_reference_names_is_what_is_exported(store, other, lineage, tmp_path):
    _, tried = forked(store, lineage, "try", 1)
    states = [view.id for view in history([store.state(NODE)])]
    for ref, heads in (
        (NODE, {"main": states[2]}),
        (f"{NODE}~1", {"main": states[1]}),
        (f"{NODE}@try", {"try": tried}),
        (f"{NODE}@{states[0][:12]}", {"main": states[0]}),
        (f"{NODE}@{tried[:12]}", {"try": tried}),
    ):
        assert {branch: view.id for branch, view in heads_of(store, ref).items()} == heads
    store.delete_branch(NODE, "try")
    assert list(heads_of(store, f"{NODE}@{tried}")) == [f"state-{tried[:8]}"]
    import_bundle(other, export(store, tmp_path / "b.zip", f"{NODE}~2"))
    assert other.backend.state_ids(NODE) == [states[0]]


# --- branches


def test_branches_are_created_moved_forward_left_and_kept(store, other, tmp_path):
    lineage = new_lineage(store)
    lineage.commit()
    old = export(store, tmp_path / "old.zip")
    _, side = forked(store, lineage, "side", 1)
    new_state = lineage.commit()
    new = export(store, tmp_path / "new.zip")
    heads = {"main": store.state(f"{NODE}@side")}
    export_bundle(store, heads, tmp_path / "diverged.zip")

    def outcome(path):
        [branch] = import_bundle(other, path).branches
        return branch.outcome, branch.kept_as

    assert outcome(old) == ("created", None)
    assert outcome(old) == ("unchanged", None)
    assert outcome(new) == ("fast-forwarded", None)
    assert outcome(new) == ("unchanged", None)
    assert outcome(old) == ("ahead", None)
    assert outcome(tmp_path / "diverged.zip") == ("kept", f"main-{side[:8]}")
    assert outcome(tmp_path / "diverged.zip") == ("kept", f"main-{side[:8]}")
    assert other.node(NODE).branches == {"main": new_state, f"main-{side[:8]}": side}
    assert content(other, f"{NODE}@main-{side[:8]}") == content(store, f"{NODE}@side")


def test_another_name(store, other, lineage, tmp_path):
    path = export(store, tmp_path / "b.zip")
    import_bundle(other, path, node="theirs")
    assert other.nodes() == ["theirs"]
    view = other.state("theirs")
    assert view.id == lineage.parents[0]
    assert view.document["node"] == view.document["config"]["node"]["name"] == "theirs"
    assert other.node("theirs").config_text == CONFIG_TEXT.replace(NODE, "theirs")
    assert other.node("theirs").config["node"]["name"] == "theirs"
    import_bundle(other, path)
    assert other.nodes() == [NODE, "theirs"]
    for name in ("../x", "a/b", "", "X"):
        with pytest.raises(ConfigError, match="cannot name a node"):
            import_bundle(other, path, node=name)


def test_a_node_of_other_elements_is_left_alone(store, other, lineage, tmp_path):
    other.create_node(NODE, ["Li", "P"], CONFIG, CONFIG_TEXT)
    with pytest.raises(NodeExistsError, match=r"exists already with elements Li, P; the bundle's are Li, P, S.*--as NODE"):
        import_bundle(other, export(store, tmp_path / "b.zip"))
    assert other.backend.state_ids(NODE) == []


def test_a_bundle_repairs_a_damaged_state_and_a_damaged_blob(store, other, lineage, tmp_path):
    path = export(store, tmp_path / "b.zip")
    import_bundle(other, path)
    state = other.backend.directory / NODE / "states" / lineage.parents[0] / "state.json"
    state.chmod(0o644)
    state.write_bytes(state.read_bytes()[:-20])
    blob = other.artifacts.fetch(store.state(NODE).document["manifest"]["sha256"])
    blob.chmod(0o644)
    blob.write_bytes(b"")
    assert import_bundle(embedded(tmp_path / "other"), path).states_added == 1
    assert_same_history(store, embedded(tmp_path / "other"))


def _import_and_die(database: Path, bundle: Path, flushes: int) -> int:
    """Import in a child process that ends (as by SIGKILL) at its n-th flush to disk; return its exit code."""
    child = os.fork()
    if child == 0:
        left, fsync = flushes, os.fsync

        def dying_fsync(descriptor: int) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                os._exit(9)
            fsync(descriptor)

        os.fsync = dying_fsync
        try:
            import_bundle(embedded(database), bundle)
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.long
def test_an_import_that_died_anywhere_is_completed_by_the_next(store, lineage, tmp_path):
    lineage.commit(checkpoints={"generator": pickled(store)})
    path = export(store, tmp_path / "b.zip")
    points = 0
    while _import_and_die(tmp_path / f"{points}", path, points) == 9:
        died = embedded(tmp_path / f"{points}")
        if NODE in died.nodes():
            for state in died.backend.state_ids(NODE):
                assert content(died, f"{NODE}@{state}") == content(store, f"{NODE}@{state}")
            assert died.head(NODE) in {None, *lineage.parents}
        report = import_bundle(died, path)
        assert_same_history(store, died)
        assert len(report.untrusted) == 1, "the blob was there before its mark"
        assert not list((tmp_path / f"{points}" / NODE).glob("*/.tmp-*"))
        points += 3
    assert points > 60


def test_a_seed_that_no_state_records_yet_travels(tmp_path: Path) -> None:
    store = embedded(tmp_path / "here")
    lineage = new_lineage(store)
    lineage.commit()
    head = store.state(NODE)
    store.create_branch(head, "try", seed=5)
    report = export_bundle(store, heads_of(store, NODE, whole_node=True), tmp_path / "b.zip")
    with zipfile.ZipFile(report.path) as archive:
        assert json.loads(archive.read("bundle.json"))["seeds"] == {"try": 5}
    other = embedded(tmp_path / "there")
    import_bundle(other, report.path)
    view = other.state(NODE)
    assert [seed_of_branch(other.backend, NODE, branch, view) for branch in ("main", "try")] == [0, 5]
    # a branch that is there keeps its own
    give_seed(other.backend, "try", view, 6)
    import_bundle(other, report.path)
    assert seed_of_branch(other.backend, NODE, "try", view) == 6
    # what has no such branch says nothing of it, and older versions read it
    export_bundle(store, heads_of(store, NODE), tmp_path / "main.zip")
    with zipfile.ZipFile(tmp_path / "main.zip") as archive:
        assert "seeds" not in json.loads(archive.read("bundle.json"))
