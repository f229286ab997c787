"""Bundles: what goes out of one database is what comes into another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import textwrap
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from bundle_files import CONFIG_TEXT, PICKLE, SAFETENSORS, checkpoint_of, embedded, export, new_lineage, pickled
from hypothesis import HealthCheck, given, settings, strategies
from li_p_s_states import CONFIG, NODE, Lineage, evaluation
from pymongo import MongoClient

from coevo.errors import (
    ArtifactNotFoundError,
    BundleError,
    CheckpointError,
    ConfigError,
    CorruptArtifactError,
    NodeExistsError,
)
from coevo.node_store.bundles.checkpoint_fetching import fetch_omitted
from coevo.node_store.bundles.export import export_bundle, heads_of
from coevo.node_store.bundles.format import BundleLimits
from coevo.node_store.bundles.importing import import_bundle
from coevo.node_store.canonical import dump_plain
from coevo.node_store.lineage.transfers import history
from coevo.node_store.seeds import give_seed, seed_of_branch
from coevo.node_store.store import NodeStore, open_store
from coevo.node_store.trust.loading import condition, fetch_checkpoint, trust
from coevo.settings import Settings


def content(store: NodeStore, ref: str) -> dict[str, bytes]:
    """Everything that a state holds, as canonical JSON, without the names of places."""
    view = store.state(ref)
    document = {key: value for key, value in view.document.items() if key != "manifest"}
    document["checkpoints"] = {
        kind: {key: value for key, value in checkpoint.items() if key != "uri"}
        for kind, checkpoint in view.document["checkpoints"].items()
    }
    return {
        "document": dump_plain(document),
        "manifest": dump_plain(view.manifest),
        "evaluations": dump_plain(list(view.evaluations())),
        "entries": dump_plain(list(view.entries(sort=[("energy_above_hull", 1)]))),
        "structures": dump_plain(list(view.structure_documents())),
        "references": dump_plain(list(view.references())),
        "labels": dump_plain(list(view.labels())),
        "blobs": b"".join(store.artifacts.get_bytes(sha256) for sha256 in view.manifest["samples"].values()),
    }


def assert_same_history(left: NodeStore, right: NodeStore, node: str = NODE) -> None:
    assert left.node(node).branches == right.node(node).branches
    for head in left.node(node).branches.values():
        states = [view.id for view in history([left.state(f"{node}@{head}")])]
        assert states == [view.id for view in history([right.state(f"{node}@{head}")])]
        for state in states:
            assert content(left, f"{node}@{state}") == content(right, f"{node}@{state}")


@pytest.fixture
def store(tmp_path):
    return embedded(tmp_path / "source")


@pytest.fixture
def other(tmp_path):
    return embedded(tmp_path / "other")


@pytest.fixture
def lineage(store):
    lineage = new_lineage(store)
    for _ in range(3):
        lineage.commit(checkpoints={"force_field": checkpoint_of(store, SAFETENSORS + bytes([lineage.iteration]))})
    return lineage


def forked(store: NodeStore, lineage: Lineage, branch: str, variant: int, **changes) -> tuple[Lineage, str]:
    """Continue the present state on a branch of its own."""
    fork = lineage.fork(variant)
    store.create_branch(store.state(f"{NODE}@{lineage.parents[0]}"), branch)
    return fork, fork.commit(branch, **changes)


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


# --- trust


def test_checkpoints_that_may_run_code_are_kept_and_not_loaded(store, other, tmp_path):
    lineage = new_lineage(store)
    good, bad = checkpoint_of(store, SAFETENSORS), pickled(store)
    lineage.commit(checkpoints={"force_field": good, "generator": bad})
    report = import_bundle(other, export(store, tmp_path / "b.zip"))
    assert list(report.untrusted) == [bad["sha256"]]
    assert "b.zip" in report.untrusted[bad["sha256"]]
    assert report.not_loadable == {}
    assert other.artifacts.get_bytes(bad["sha256"]) == PICKLE
    checkpoints = other.state(NODE).document["checkpoints"]
    assert {role: condition(other, found, role) for role, found in checkpoints.items()} == {
        "force_field": "here",
        "generator": "untrusted",
    }
    with pytest.raises(CheckpointError, match=f"not trusted.*came with b.zip.*coevo trust {bad['sha256']}"):
        fetch_checkpoint(other, checkpoints["generator"], "generator")
    assert fetch_checkpoint(other, checkpoints["force_field"], "force_field").read_bytes() == SAFETENSORS
    import_bundle(other, tmp_path / "b.zip")
    assert bad["sha256"] in embedded(tmp_path / "other").backend.untrusted()
    assert trust(other, [bad["sha256"]]) == [bad["sha256"]]
    assert fetch_checkpoint(other, checkpoints["generator"], "generator").read_bytes() == PICKLE
    assert import_bundle(other, tmp_path / "b.zip").untrusted == {}
    assert fetch_checkpoint(store, bad, "generator") is not None


def test_trusting_at_the_import(store, other, tmp_path):
    lineage = new_lineage(store)
    bad = pickled(store)
    lineage.commit(checkpoints={"generator": bad})
    path = export(store, tmp_path / "b.zip")
    import_bundle(other, path)
    assert import_bundle(other, path, trust=True).untrusted == {}
    assert bad["sha256"] not in other.backend.untrusted()


@pytest.mark.service
def test_marks_on_a_server(store, lineage, tmp_path, mongodb_uri):
    lineage.commit(checkpoints={"generator": pickled(store)})
    path = export(store, tmp_path / "b.zip")
    with open_store(Settings(database=mongodb_uri, artifacts=(tmp_path / "blobs").as_uri())) as server:
        [sha256] = import_bundle(server, path).untrusted
        server.backend.mark_untrusted(sha256, "again")
        assert "again" not in server.backend.untrusted()[sha256]
        assert trust(server, [sha256]) == [sha256]
        server.backend.mark_trusted(sha256)
        assert sha256 not in server.backend.untrusted()
        assert server.backend.mark(sha256).trusted
        server.backend.mark_untrusted(sha256, "again")
        assert sha256 not in server.backend.untrusted()
        assert import_bundle(server, path).untrusted == {}


# --- thin bundles


def test_thin_bundles_are_readable_and_say_where_checkpoints_are(store, other, lineage, tmp_path):
    path = export(store, tmp_path / "b.zip", checkpoints=False)
    report = import_bundle(other, path)
    assert len(report.not_here) == 3
    assert_same_history(store, other)
    checkpoint = other.state(NODE).document["checkpoints"]["force_field"]
    assert condition(other, checkpoint, "force_field") == "not here"
    with pytest.raises(CheckpointError, match=f"{checkpoint['sha256']}.*is not in .*{store.artifacts.uri}.*--fetch-checkpoints"):
        fetch_checkpoint(other, checkpoint, "force_field")
    with pytest.raises(BundleError, match=r"self-contained bundle cannot be made.*--no-checkpoints"):
        export(other, tmp_path / "again.zip")
    assert export(other, tmp_path / "again.zip", checkpoints=False).read_bytes() == path.read_bytes()
    for omitted in report.not_here:
        fetch_omitted(other, omitted)
    assert fetch_checkpoint(other, checkpoint, "force_field").read_bytes() == SAFETENSORS + b"\x02"
    assert import_bundle(other, path).not_here == []


def test_a_whole_bundle_after_a_thin_one_brings_the_checkpoints(store, other, lineage, tmp_path):
    import_bundle(other, export(store, tmp_path / "thin.zip", checkpoints=False))
    assert import_bundle(other, export(store, tmp_path / "whole.zip")).untrusted == {}
    assert fetch_checkpoint(other, other.state(NODE).document["checkpoints"]["force_field"], "force_field").is_file()


def test_fetching_believes_no_place(store, other, tmp_path):
    lineage = new_lineage(store)
    lineage.commit(checkpoints={"generator": pickled(store)})
    report = import_bundle(other, export(store, tmp_path / "b.zip", checkpoints=False))
    [omitted] = report.not_here
    secret = tmp_path / "secret"
    secret.write_bytes(b"x" * len(PICKLE))
    for uri, message in (
        (secret.as_uri(), "is not checkpoint"),
        ("file:///dev/zero", "is not checkpoint"),
        ((tmp_path / "nothing").as_uri(), "cannot be fetched"),
        ("", "cannot be fetched from nowhere"),
        ("reference://a", "allowed are URIs of"),
        (f"simplecache::{secret.as_uri()}", "allowed are URIs of"),
    ):
        with pytest.raises(CheckpointError, match=message):
            fetch_omitted(other, omitted.model_copy(update={"uri": uri}))
    assert not other.artifacts.has(omitted.sha256)
    assert not list((tmp_path / "other").rglob(".tmp-*"))
    fetch_omitted(other, omitted)
    with pytest.raises(CheckpointError, match="not trusted"):
        fetch_checkpoint(other, other.state(NODE).document["checkpoints"]["generator"], "generator")


# --- failures of export


def test_an_export_that_fails_leaves_nothing(store, lineage, tmp_path):
    target = tmp_path / "out"
    target.mkdir()
    (target / "b.zip").write_bytes(b"the old one")
    manifest = store.artifacts.fetch(store.state(f"{NODE}~1").manifest["samples"]["1"])
    manifest.unlink()
    with pytest.raises(ArtifactNotFoundError):
        export(store, target / "b.zip")
    assert [path.name for path in target.iterdir()] == ["b.zip"]
    assert (target / "b.zip").read_bytes() == b"the old one"
    with pytest.raises(BundleError, match="there is no directory"):
        export(store, tmp_path / "nowhere" / "b.zip")
    with pytest.raises(BundleError, match="it is a directory"):
        export(store, target)


def _rehash(database: Any, collection: str, key: Any) -> None:
    """Write the hash of a row again, where it has one."""
    from coevo.node_store.mongodb.rows import ROW_HASH, row_hash

    row = database[collection].find_one({"_id": key})
    if ROW_HASH in row:
        bare = {key: value for key, value in row.items() if key not in {ROW_HASH, "stored_at"}}
        database[collection].update_one({"_id": row["_id"]}, {"$set": {ROW_HASH: row_hash(bare)}})


@contextmanager
def _hand_changed(database: Any, collection: str, change: dict[str, Any]) -> Iterator[None]:
    """Change one row as somebody with a shell would, and in the end back."""
    row = database[collection].find_one({}, sort=[("_id", 1)])
    database[collection].update_one({"_id": row["_id"]}, {"$set": change})
    _rehash(database, collection, row["_id"])
    try:
        yield
    finally:
        database[collection].replace_one({"_id": row["_id"]}, row)


@pytest.fixture(scope="module")
def served(mongodb_server, tmp_path_factory) -> Iterator[Settings]:
    """Three states on a server, which were checked to be exported as they came; whoever changes them changes them back."""
    folder = tmp_path_factory.mktemp("served")
    here = embedded(folder / "source")
    lineage = new_lineage(here)
    for number in range(3):
        lineage.commit(checkpoints={"force_field": checkpoint_of(here, SAFETENSORS + bytes([number]))})
    source = export(here, folder / "source.zip")
    name = f"coevo_served_{uuid.uuid4().hex[:8]}"
    settings = Settings(database=f"{mongodb_server}/{name}", artifacts=(folder / "blobs").as_uri())
    with open_store(settings) as server:
        import_bundle(server, source)
        assert export(server, folder / "again.zip").read_bytes() == source.read_bytes()
        yield settings
        assert export(server, folder / "in the end.zip").read_bytes() == source.read_bytes()
        server.backend.connection.database.client.drop_database(name)


@pytest.mark.service
@pytest.mark.parametrize(
    ("collection", "change"),
    [
        ("evaluations", {"energy_above_hull": 0.0}),
        ("evaluations", {"is_sun": "yes"}),
        ("evaluations", {"more": 1}),
        ("evaluations", {"kind": "other"}),
        ("evaluations", {"chemical_formula_reduced": "Au"}),
        ("structures", {"structure.sites.0.abc.0": 0.123}),
        ("structures", {"formula": 5}),
        ("structures", {"more": 1}),
        ("structures", {"origin": {"@module": "os", "@callable": "system"}}),
        ("references", {"structure.lattice.matrix.0.0": 99.0}),
        ("references", {"more": 1}),
        ("labels", {"energy_per_atom": -99.0}),
        ("labels", {"more": 1}),
        ("labels", {"how": 5}),
        ("states", {"document": "{}"}),
    ],
)
def test_what_was_changed_in_the_database_is_not_exported(served, tmp_path, collection, change):
    out = tmp_path / "out"
    out.mkdir()
    with (
        MongoClient(served.database) as client,
        _hand_changed(client.get_default_database(), collection, change),
        open_store(served) as server,
        pytest.raises(CorruptArtifactError) as caught,
    ):
        export(server, out / "b.zip")
    assert "\n" not in str(caught.value)
    assert list(out.iterdir()) == []


def test_what_an_import_would_refuse_is_not_exported(store, tmp_path):
    """A directory is read with every hash; documents of another coevo may still say what nobody else takes."""
    lineage = new_lineage(store)
    draft = lineage.draft()
    draft.structures[0]["more"] = 1
    store.commit(draft, "main", None)
    assert next(iter(store.state(NODE).structure_documents([draft.structures[0]["_id"]])))["more"] == 1
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(CorruptArtifactError, match=r"cannot be exported: .* more: unknown key; allowed .* coevo verify"):
        export(store, out / "b.zip")
    assert list(out.iterdir()) == []


def test_limits_are_enforced(store, other, lineage, tmp_path):
    path = export(store, tmp_path / "b.zip")
    with pytest.raises(BundleError, match="allowed are 1000; if you expect so much, raise --max-size"):
        import_bundle(other, path, limits=BundleLimits(total=1000))
    with pytest.raises(BundleError, match="members"):
        import_bundle(other, path, limits=BundleLimits(members=5))
    with pytest.raises(BundleError, match=r"its bundle.json has .* bytes"):
        import_bundle(other, path, limits=BundleLimits(contents=100))
    with pytest.raises(BundleError, match="a line of more than 100 bytes"):
        import_bundle(other, path, limits=BundleLimits(line=100))
    assert not (tmp_path / "other").exists()


# --- size


@pytest.mark.long
def test_a_large_checkpoint_is_never_whole_in_memory(tmp_path):
    """Put, export, import and fetch 300 MB; the process may grow by less than a third of it."""
    script = """
        import os, resource, sys
        sys.path[:0] = [sys.argv[2]]
        from pathlib import Path
        import bundle_files as t
        from coevo.node_store.bundles.importing import import_bundle
        from coevo.node_store.trust.loading import fetch_checkpoint
        tmp = Path(sys.argv[1])
        def flow(tmp, megabytes):
            store, other = t.embedded(tmp / "a"), t.embedded(tmp / "b")
            tmp.mkdir()
            block = os.urandom(1 << 16) * 16
            with (tmp / "big").open("wb") as file:
                file.write(t.SAFETENSORS)
                for number in range(megabytes):
                    file.write(number.to_bytes(8, "big") + block[8:])
            artifact = store.artifacts.put_file(tmp / "big")
            lineage = t.new_lineage(store)
            lineage.commit(checkpoints={"force_field": {**artifact.to_dict(), "family": "chgnet", "format": "safetensors"}})
            import_bundle(other, t.export(store, tmp / "b.zip"))
            fetch_checkpoint(other, other.state(t.NODE).document["checkpoints"]["force_field"], "force_field")
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        small = flow(tmp / "small", 1)
        print(flow(tmp / "large", 300) - small)
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path), str(Path(__file__).parents[1])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 100


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
