"""Verification: a whole node is clean, and every file, row and blob that is damaged or gone is found."""

from __future__ import annotations

import copy
import json
import shutil
import uuid
from collections.abc import Iterator

import pytest
from li_p_s_states import NODE, judge, new_node
from pymongo import MongoClient
from upkeep_cases import VALID_CONFIG, furnished_node, local_files

from coevo.errors import ConfigError, NodeNotFoundError
from coevo.node_store.durable import seal
from coevo.node_store.store import NodeStore, open_store
from coevo.node_store.upkeep.state_checks import check_evaluations
from coevo.node_store.upkeep.verification import verify
from coevo.settings import Settings


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(database=f"file:{tmp_path / 'data'}")


@pytest.fixture
def furnished(settings) -> Settings:
    furnished_node(open_store(settings))
    return settings


def findings(settings: Settings, *, quick: bool = False) -> list[tuple[str, str]]:
    with open_store(settings) as store:
        return [(finding.severity, f"{finding.where}: {finding.what}") for finding in verify(store, NODE, quick=quick).findings]


class VerifyContract:
    """Subclasses have a fixture ``furnished`` of a database."""

    def test_a_whole_node_is_clean(self, furnished):
        with open_store(furnished) as store:
            result = verify(store, NODE)
            assert result.findings == []
            assert dict(result.counts) == {
                "states": 3,
                "structures": 4 + 4 + 2,
                "references": 2,
                "labels": 9,
                "evaluations": 6 + 10 + 8,
                "branches": 2,
                "campaigns": 2,
                "job results": 1,
                "artifacts": 3 + 3 + 1,  # checkpoints, samples, a shard: manifests are read by the state
            }
            assert verify(store, NODE, quick=True).findings == []
            assert result.to_dict()["clean"] is True
            json.dumps(result.to_dict())

    def test_a_node_that_is_not_there(self, furnished):
        with open_store(furnished) as store:
            for name in ("other", "../x", ""):
                with pytest.raises(NodeNotFoundError):
                    verify(store, name)

    def test_states_in_no_branch_are_a_note(self, furnished):
        with open_store(furnished) as store:
            lost = store.delete_branch(NODE, "try")
        ((severity, what),) = findings(furnished)
        assert severity == "note"
        assert f"1 state in no branch, e.g. {lost}" in what

    def test_a_live_configuration_that_is_not_valid(self, furnished):
        with open_store(furnished) as store:
            good = store.read_config_text(NODE)
            for text in ("node: [\n", good + "curation:\n  max_e_hul: 1\n", good.replace("[Li, P, S]", "[Li, P]")):
                store.write_config_text(NODE, text)
                ((severity, what),) = findings(furnished)
                assert severity == "problem"
                assert "the live configuration" in what

    def test_missing_artifacts(self, furnished):
        """Of a state a problem, of a job result a note; a checkpoint that was left out of a bundle is where the state says."""
        with open_store(furnished) as store:
            view = store.state(NODE)
            checkpoint = view.document["checkpoints"]["force_field"]["sha256"]
            sample = view.manifest["samples"]["1"]
            shard = store.job_result("ab" * 32)["output"]["shard"]["sha256"]
            for sha256, severity, what in (
                (checkpoint, "problem", "force_field checkpoint"),
                (sample, "problem", "iteration 1"),
                (shard, "note", "job result"),
            ):
                path = store.artifacts.fetch(sha256)
                aside = path.rename(path.with_suffix(".aside"))
                for quick in (False, True):
                    ((found, where),) = {(s, w.split(" of ")[0]) for s, w in findings(furnished, quick=quick) if sha256 in w}
                    assert found == severity
                    assert what in where or what == "job result" or what in str(findings(furnished))
                aside.rename(path)
            assert findings(furnished) == []

    def test_a_lost_checkpoint_of_any_state_is_a_problem(self, settings):
        """Of the head and of older states, the force field and the generator, wherever the state says that it is."""
        with open_store(settings) as store:
            lineage = new_node(store)
            store.write_config_text(NODE, VALID_CONFIG)
            for number in range(2):
                draft = lineage.draft()
                generator = store.artifacts.put_bytes(f"generator {number}".encode())
                draft.checkpoints["generator"] = {**generator.to_dict(), "family": "embedded", "format": "json-1"}
                draft.checkpoints["generator"]["uri"] = "file:///somewhere/else"
                state = store.commit(draft, "main", lineage.parents[0] if lineage.parents else None)
                lineage.parents, lineage.iteration = (state,), lineage.iteration + 1
            for ref in (NODE, f"{NODE}~1"):
                for name, checkpoint in store.state(ref).document["checkpoints"].items():
                    path = store.artifacts.fetch(checkpoint["sha256"])
                    aside = path.rename(path.with_suffix(".aside"))
                    for quick in (False, True):
                        (problem,) = verify(store, NODE, quick=quick).problems
                        assert f"{name} checkpoint {checkpoint['sha256']}" in problem.where
                    aside.rename(path)
            assert verify(store, NODE).problems == []

    def test_a_key_that_a_decoder_acts_on_is_a_problem(self, settings, monkeypatch):
        """A state that an older coevo let in."""
        from coevo.node_store import draft_checks

        with open_store(settings) as store, monkeypatch.context() as patch:
            patch.setattr(draft_checks, "refuse_marked_keys", lambda *_: None)
            patch.setattr(draft_checks, "refuse_marked_text", lambda *_: None)
            lineage = new_node(store)
            hostile = {"a": [{"@module": "os", "@callable": "system"}]}
            draft = lineage.draft(provenance=hostile)
            draft.structures[0]["origin"] = hostile
            draft.evaluations[0]["note"] = hostile
            with pytest.raises(ValueError, match="note"):
                store.commit(draft, "main", None)
            draft.evaluations[0] |= {"note": "", "more": hostile}
            store.commit(draft, "main", None)
            assert any("provenance.a[0].@" in problem.what for problem in verify(store, NODE).problems)

    def test_the_same_store_looks_at_the_disk_again(self, furnished):
        """Whatever a store remembers from reading, verification reads what is stored."""
        with open_store(furnished) as store:
            view = store.state(NODE)
            list(view.entries({"nsites": {"$gt": 0}}))
            list(view.labels())
            path = store.artifacts.fetch(view.document["checkpoints"]["force_field"]["sha256"])
            path.chmod(0o644)
            path.write_bytes(b"other weights")
            (problem,) = verify(store, NODE).problems
            assert "is damaged" in problem.what


class TestEmbedded(VerifyContract):
    pass


@pytest.mark.service
class TestMongoDB(VerifyContract):
    @pytest.fixture
    def settings(self, mongodb_uri, tmp_path) -> Settings:
        return Settings(database=mongodb_uri, artifacts=(tmp_path / "blobs").as_uri())


def test_a_remote_artifact_store_is_read_and_not_its_cache(tmp_path):
    settings = Settings(database=f"file:{tmp_path / 'data'}", artifacts=f"memory://{uuid.uuid4().hex}")
    store = open_store(settings)
    furnished_node(store)
    sha256 = store.state(NODE).document["checkpoints"]["force_field"]["sha256"]
    store.artifacts.fetch(sha256)  # a verified copy is in the cache now
    assert verify(store, NODE).findings == []
    key = f"{store.artifacts.root}/{sha256[:2]}/{sha256[2:]}"
    store.artifacts.filesystem.pipe_file(key, b"other weights")
    assert ["is damaged" in problem.what for problem in verify(store, NODE).problems] == [True]
    store.artifacts.filesystem.rm_file(key)
    (problem,) = verify(store, NODE).problems
    assert "is not in memory://" in problem.what


def test_a_lost_checkpoint_is_a_problem_wherever_its_state_says_that_it_is(settings):
    """A database that was copied names places of the one it was copied from; so does one that is reached by another path."""
    store = open_store(settings)
    lineage = new_node(store)
    store.write_config_text(NODE, VALID_CONFIG)
    draft = lineage.draft()
    draft.checkpoints["force_field"]["uri"] = "s3://theirs/ab/cdef"
    store.commit(draft, "main", None)
    store.artifacts.fetch(draft.checkpoints["force_field"]["sha256"]).unlink()
    found = [finding for finding in verify(store, NODE).findings if "force_field checkpoint" in finding.where]
    assert [finding.severity for finding in found] == ["problem"]
    assert [finding.severity for finding in verify(store, NODE, quick=True).problems] == ["problem"]


# --- every file of an embedded database


@pytest.mark.parametrize(
    "damage", ["flip", "remove", *(pytest.param(damage, marks=pytest.mark.long) for damage in ("truncate", "empty", "append"))]
)
def test_every_damaged_file_is_found(furnished, damage):
    """Each file of the database in turn: a finding that was not there before, and none after it was put back."""
    directory = furnished.directory
    paths = local_files(directory)
    assert {path.relative_to(directory).parts[0] for path in paths} == {"blobs", "jobs", NODE}
    assert len(paths) > 3 * 12 + 7 + 3
    campaigns = sorted(
        (directory / NODE / "campaigns").glob("*.json"), key=lambda path: json.loads(path.read_bytes())["document"]["created"]
    )
    tried = 0
    for path in paths:
        part = path.relative_to(directory)
        data, mode = path.read_bytes(), path.stat().st_mode
        if path.name == "node.yaml" and damage in {"truncate", "append", "flip"}:
            continue  # it is the user's to edit, and it may still be valid
        if damage == "remove" and (part.parts[0] == "jobs" or path == campaigns[-1]):
            continue  # what nothing refers to cannot be missed
        if not data and damage != "append" and damage != "remove":
            continue  # an empty segment has nothing to lose but itself
        if damage == "append" and path.parent.name == "refs":
            continue  # a blank at the end changes nothing
        middle = len(data) // 2
        path.unlink()
        if damage != "remove":
            flipped = data[:middle] + bytes([data[middle] ^ 0x10]) + data[middle + 1 :] if data else b""
            path.write_bytes({"flip": flipped, "truncate": data[:-2], "empty": b"", "append": data + b" "}[damage])
        found = findings(furnished)
        # a branch that was removed as a whole is only noticed by what it leaves behind; a job runs again
        wanted = "note" if damage == "remove" and (path.parent.name == "refs" or data == b"a shard of candidates") else "problem"
        sealed_blank = damage == "append" and path.suffix == ".json"
        if not sealed_blank:  # blanks after a JSON document are no damage
            assert wanted in {severity for severity, _ in found}, f"{damage} of {part}"
        path.unlink(missing_ok=True)
        path.write_bytes(data)
        path.chmod(mode)
        tried += 1
    assert tried > 40
    assert findings(furnished) == []


def test_a_state_directory_that_is_gone(furnished):
    store = open_store(furnished)
    states = furnished.directory / NODE / "states"
    seed = store.state(f"{NODE}~1").id
    shutil.rmtree(states / seed)
    found = [what for severity, what in findings(furnished) if severity == "problem"]
    assert sum(f"its parent {seed} is missing" in what for what in found) == 2
    (states / seed).mkdir()
    assert any(seed in what for severity, what in findings(furnished) if severity == "problem")


def test_places_that_point_elsewhere(furnished, monkeypatch):
    """A state that was stored with wrong places, with all its hashes right: written by a faulty program."""
    from coevo.node_store.directory import places

    original = places._inherited
    store = open_store(furnished)
    lineage = new_node(store)
    lineage.draft()
    lineage.parents, lineage.iteration, lineage.variant = (store.state(f"{NODE}~1").id,), 1, 7

    def wrong(kind, identifier, inherited, state):
        return state if kind == "labels" else original(kind, identifier, inherited, state)

    monkeypatch.setattr(places, "_inherited", wrong)
    store.commit(lineage.draft(n_entries=1), "wrong", None)
    problems = [what for severity, what in findings(furnished) if severity == "problem"]
    assert any("its places say that it added other labels than it did" in what for what in problems)


def test_leftovers_and_strange_files_are_notes(furnished):
    node = furnished.directory / NODE
    (node / "thesis.tex").write_text("all of it")
    (node / "states" / ".tmp-abc-1-00").mkdir()
    (node / "states" / "notes.txt").write_text("")
    head = open_store(furnished).head(NODE)
    (node / "states" / head / "plot.png").write_bytes(b"")
    (node / "campaigns" / ".tmp-x-1-00").write_text("{")
    found = findings(furnished)
    assert {severity for severity, _ in found} == {"note"}
    assert {what.split(":")[0].split("/")[-1] for _, what in found} == {
        "thesis.tex",
        ".tmp-abc-1-00",
        "notes.txt",
        "plot.png",
        ".tmp-x-1-00",
    }


def test_a_damaged_mark_of_distrust(furnished):
    store = open_store(furnished)
    store.backend.mark_untrusted("ab" * 32, "it came in a bundle")
    assert findings(furnished) == []
    (mark,) = (furnished.directory / "untrusted").glob("*.json")
    mark.write_bytes(mark.read_bytes().replace(b"bundle", b"bubble"))
    assert [severity for severity, _ in findings(furnished)] == ["problem"]


def test_a_newer_or_older_node_is_not_verified(furnished):
    path = furnished.directory / NODE / "node.json"
    document = json.loads(path.read_bytes())["document"]
    for version, message in ((99, "install a newer coevo"), (1, f"coevo migrate {NODE}")):
        path.write_bytes(seal({**document, "schema_version": version}))
        with pytest.raises(ConfigError, match=message):
            verify(open_store(furnished), NODE)


# --- every row of a database on a server


@pytest.fixture(scope="module")
def served(mongodb_server, tmp_path_factory) -> Iterator[Settings]:
    """A database that is found to be clean again by each test that changed it."""
    name = f"coevo_verified_{uuid.uuid4().hex[:8]}"
    settings = Settings(database=f"{mongodb_server}/{name}", artifacts=(tmp_path_factory.mktemp("served") / "blobs").as_uri())
    with open_store(settings) as store:
        furnished_node(store)
    yield settings
    with MongoClient(mongodb_server) as client:
        client.drop_database(name)


def _changes(value, path=()):
    """Every leaf of a row in turn, changed."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _changes(item, (*path, key))
        if not value:
            yield path, {"new": 1}
    elif isinstance(value, list) and value:
        yield from _changes(value[0], (*path, 0))
        yield path, value[:-1]
    elif isinstance(value, bool):
        yield path, not value
    elif isinstance(value, (int, float)):
        yield path, value + 1
    elif isinstance(value, str):
        yield path, value[:-1] + ("x" if value[-1:] != "x" else "y")
    elif value is None:
        yield path, "something"


def _with(row, path, value):
    changed = copy.deepcopy(row)
    target = changed
    for key in path[:-1]:
        target = target[key]
    target[path[-1]] = value
    return changed


NOT_COVERED = {
    "nodes": {"config_text"},  # the user's to edit; checked for validity
    "states": {"stored_at"},
    "structures": {"stored_at"},
    "references": {"stored_at"},
    "labels": {"stored_at"},
    "evaluations": {"stored_at"},
    "state_labels": {"stored_at"},
    "campaigns": {"stored_at"},
    "job_results": set(),
}
LARGE = {"states", "structures", "references", "labels", "evaluations"}
"""Whose rows have most fields."""


@pytest.mark.service
@pytest.mark.parametrize(
    "collection", [pytest.param(name, marks=[pytest.mark.long] if name in LARGE else []) for name in NOT_COVERED]
)
def test_every_changed_or_removed_row_is_found(served, collection):
    """Each field of one row of each collection, and the removal of rows."""
    with MongoClient(served.database) as client:
        database = client.get_default_database()
        assert set(database.list_collection_names()) - {"locks"} == set(NOT_COVERED), "a new collection needs a check"
        rows = list(database[collection].find().sort("_id", 1))
        row = rows[len(rows) // 2]
        changed = 0
        for path, value in _changes({key: item for key, item in row.items() if key not in {"_id", *NOT_COVERED[collection]}}):
            database[collection].replace_one({"_id": row["_id"]}, _with(row, path, value))
            try:
                found = findings(served)
            except NodeNotFoundError:
                found = [("problem", "")]
            assert found, f"{collection}: {path} = {value!r}"
            changed += 1
        database[collection].replace_one({"_id": row["_id"]}, row)
        assert changed >= 2
        assert findings(served) == []
        if collection == "job_results":
            return  # nothing refers to it
        victim = min(rows, key=lambda r: str(r.get("created", ""))) if collection == "campaigns" else row
        database[collection].delete_one({"_id": victim["_id"]})
        assert "problem" in {severity for severity, _ in findings(served)}
        database[collection].insert_one(victim)
        assert findings(served) == []


def test_what_labels_refuted_is_compared_with_the_manifest(furnished: Settings) -> None:
    with open_store(furnished) as store:
        view = store.state(NODE)
        assert list(check_evaluations(view, {})) == []
        view.manifest["refuted"] = {view.manifest["structures"][0]: -1.0}
        assert list(check_evaluations(view, {})) == ["what labels refuted by its evaluations is not what its manifest says"]


def of_states(store: NodeStore) -> list[str]:
    return [finding.what for finding in verify(store, NODE).problems if finding.where.startswith(f"{NODE}@")]


@pytest.mark.parametrize("status", ["confirmed", "refuted"])
def test_what_no_label_says_is_found(settings: Settings, status: str) -> None:
    with open_store(settings) as store:
        lineage = new_node(store)
        draft = lineage.draft()
        entry = judge(draft, status, labelled=False)
        store.commit(draft, branch="main", expected=None)
        (problem,) = of_states(store)
        assert problem == (
            f"entry {entry} is {status} by its evaluations, and the state has no admitted label of its relaxed frame with energy "
            "offsets"
        )


def test_a_label_of_the_parent_says_it_too(settings: Settings) -> None:
    with open_store(settings) as store:
        lineage = new_node(store)
        draft = lineage.draft()
        entry = judge(draft, "confirmed", labelled=True)
        first = store.commit(draft, branch="main", expected=None)
        lineage.parents, lineage.iteration = (first,), 1
        later = lineage.draft()
        assert judge(later, "confirmed", labelled=False) == entry
        store.commit(later, branch="main", expected=first)
        assert of_states(store) == []
