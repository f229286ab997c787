"""Garbage collection: what is needed or young stays, the rest goes, and work in progress loses nothing."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from li_p_s_states import CONFIG, NODE, Lineage
from upkeep_cases import DAYS, VALID_CONFIG, furnished_node, make_old

from coevo.errors import (
    ArtifactNotFoundError,
    ConfigError,
    CorruptArtifactError,
    StateNotFoundError,
)
from coevo.node_store.blobs.stored import remove_blob
from coevo.node_store.lineage.transfers import bring_history
from coevo.node_store.store import open_store
from coevo.node_store.upkeep.backends import upkeep_of
from coevo.node_store.upkeep.garbage import collect_garbage, doomed_states
from coevo.node_store.upkeep.verification import verify
from coevo.settings import Settings

STORED = r"not stored|are stored"
SURE = {"delete": True, "artifacts_not_shared": True}


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(database=f"file:{tmp_path / 'data'}")


def counts(garbage) -> dict[str, int]:
    return {kind: tally.count for kind, tally in garbage.kinds.items() if tally.count}


def contents(store) -> dict[str, object]:
    """Everything that a reader can reach."""
    node = store.node(NODE)
    found: dict[str, object] = {"branches": node.branches}
    for head in node.branches.values():
        view = store.state(f"{NODE}@{head}")
        for state in (view, *view.ancestors()):
            documents = [*state.structure_documents(), *state.references(), *state.labels(), *state.evaluations()]
            found[state.id] = (state.document, state.manifest, documents)
    return found


@dataclass
class Loose:
    """Two states that are in no branch; the first continues the head of main, ``lineage`` the second."""

    first: str
    second: str
    lineage: Lineage


def loose_branch(store, lineage: Lineage) -> Loose:
    fork = lineage.fork(variant=3)
    first = store.commit(fork.draft(n_entries=2, n_labels=1), "loose", None)
    fork.parents, fork.iteration = (first,), fork.iteration + 1
    second = store.commit(fork.draft(n_entries=1, n_labels=1), "loose", first)
    assert store.delete_branch(NODE, "loose") == second
    fork.parents, fork.iteration = (second,), fork.iteration + 1
    return Loose(first, second, fork)


class GarbageContract:
    @pytest.fixture
    def store(self, settings):
        with open_store(settings) as store:
            yield store

    @pytest.fixture
    def lineage(self, store) -> Lineage:
        return furnished_node(store)

    def test_nothing_is_garbage_in_a_node_with_its_branches(self, store, lineage):
        make_old(store)
        before = contents(store)
        garbage = collect_garbage(store, **SURE)
        assert garbage.total.count == 0
        assert garbage.to_dict()["count"] == 0
        assert contents(store) == before
        assert verify(store, NODE).findings == []

    def test_what_no_branch_has_goes_and_everything_else_stays(self, store, lineage):
        before = contents(store)
        loose = loose_branch(store, lineage)
        states = (loose.first, loose.second)
        orphan = store.artifacts.put_bytes(b"nobody wants this")
        assert collect_garbage(store, **SURE).total.count == 0, "it is young"
        make_old(store)
        dry = collect_garbage(store)
        assert set(doomed_states(store, NODE, time.time())) == set(states)
        assert not dry.deleted
        expected = {"states": 2, "artifacts": 2 * 3 + 1}  # each a manifest, a checkpoint and a sample
        if upkeep_of(store.backend).shares_documents:
            expected |= {"structures": 3, "labels": 2, "evaluations": 10 + 2 + 10 + 3, "labels of states": 6 + 1 + 6 + 2}
        assert counts(dry) == expected
        assert all(tally.bytes > 0 for tally in dry.kinds.values() if tally.count)
        assert store.state(f"{NODE}@{states[1]}").parents == (states[0],)
        done = collect_garbage(store, **SURE)
        assert done.deleted
        assert counts(done) == expected
        assert done.total.bytes == dry.total.bytes
        assert contents(store) == before
        assert verify(store, NODE).findings == []
        for state in states:
            with pytest.raises(StateNotFoundError):
                open_store_state(store, state)
        with pytest.raises(ArtifactNotFoundError):
            store.artifacts.get_bytes(orphan.sha256)
        assert collect_garbage(store, **SURE).total.count == 0

    def test_young_states_keep_their_history(self, store, lineage):
        loose = loose_branch(store, lineage)
        make_old(store)
        store.create_branch(store.state(f"{NODE}@{loose.second}"), "again")
        make_old(store)
        store.delete_branch(NODE, "again")  # this makes it young: it can be had back for a while
        assert counts(collect_garbage(store, **SURE)) == {}
        assert store.state(f"{NODE}@{loose.first}")

    def test_unfinished_campaigns_keep_their_start(self, store, lineage):
        store.start_campaign(NODE, "gone", 1, loose_branch(store, lineage).second)
        make_old(store)
        assert counts(collect_garbage(store, **SURE)) == {}
        store.finish_campaign(store.unfinished_campaign(NODE, "gone").id)
        assert counts(collect_garbage(store, **SURE))["states"] == 2

    def test_job_results_keep_what_they_name(self, store, lineage):
        kept = store.artifacts.put_bytes(b"in a list")
        store.put_job_result("cd" * 32, {"output": {"rows": [{"deep": [kept.sha256]}]}})
        lost = store.artifacts.put_bytes(b"named by nobody")
        make_old(store)
        assert counts(collect_garbage(store, **SURE)) == {"artifacts": 1}
        assert store.artifacts.has(kept.sha256)
        assert not store.artifacts.has(lost.sha256)

    def test_another_node_keeps_what_it_shares(self, store, lineage):
        second = loose_branch(store, lineage).second
        store.create_node("other", ["Li", "P", "S"], CONFIG, VALID_CONFIG)
        view = bring_history(store, store.state(f"{NODE}@{second}"), "other")
        store.create_branch(view, "main")
        make_old(store)
        garbage = collect_garbage(store, **SURE)
        assert counts(garbage) == {"states": 2}, "the states of this node; documents and artifacts are those of the other too"
        other = store.state("other")
        assert other.id == second
        assert len(list(other.structure_documents())) == len(list(other.entries())) == 11
        found = verify(store, "other").problems
        assert all("configuration" in problem.what for problem in found)

    def test_damage_stops_it_before_anything_is_removed(self, store, lineage):
        loose = loose_branch(store, lineage)
        orphan = store.artifacts.put_bytes(b"nobody wants this")
        make_old(store)
        manifest = store.artifacts.fetch(store.state(f"{NODE}~1").document["manifest"]["sha256"])
        data = manifest.read_bytes()
        manifest.chmod(0o644)
        manifest.write_bytes(data[:-1])
        with pytest.raises(CorruptArtifactError):
            collect_garbage(store, **SURE)
        assert {loose.first, loose.second} < set(store.backend.state_ids(NODE))
        assert store.artifacts.has(orphan.sha256)
        manifest.write_bytes(data)
        os.utime(manifest, (0, 0))
        assert counts(collect_garbage(store, **SURE))["states"] == 2

    # --- races, each made certain by a hook between two of gc's steps

    def test_a_commit_on_a_state_that_goes_keeps_it_or_is_refused(self, store, settings, lineage, monkeypatch):
        """Another process commits on top of an old loose state while gc has already chosen it."""
        first = loose_branch(store, lineage).first
        make_old(store)
        upkeep = type(upkeep_of(store.backend))
        original = upkeep.remove_states
        with open_store(settings) as other:
            fork = lineage.fork(variant=3)
            fork.store = other
            fork.draft(n_entries=2, n_labels=1)
            fork.parents, fork.iteration = (first,), fork.iteration + 1
            draft = fork.draft(n_entries=3, n_labels=1)

            def remove(self, node, doomed, before):
                calls = 0

                def choose():
                    nonlocal calls
                    found, calls = doomed(), calls + 1
                    if calls == 1 and not self.shares_documents:
                        return found  # the embedded choice is made under the write lock: nobody commits there
                    if calls == 1:
                        other.commit(draft, "saved", None)
                    return found

                if not self.shares_documents:
                    other.commit(draft, "saved", None)
                yield from original(self, node, choose, before)

            monkeypatch.setattr(upkeep, "remove_states", remove)
            garbage = collect_garbage(store, **SURE)
            assert counts(garbage)["states"] == 1  # the second; the first has a child now
            assert store.state(f"{NODE}@saved").parents == (first,)
            assert len(list(store.state(f"{NODE}@saved").structure_documents())) == len(lineage.entries) + 2 + 3
            assert verify(store, NODE).problems == []

    def test_a_commit_on_a_state_that_went_is_refused(self, store, settings, lineage):
        """The other process has read the state before, and remembers it."""
        loose = loose_branch(store, lineage)
        with open_store(settings) as other:
            view = other.state(f"{NODE}@{loose.second}")
            assert list(view.labels())
            draft = loose.lineage.draft(n_entries=1)
            named = [draft.checkpoints["force_field"]["sha256"], *draft.samples.values()]
            blobs = [store.artifacts.get_bytes(sha256) for sha256 in named]
            make_old(store)
            assert counts(collect_garbage(store, **SURE))["states"] == 2
            for blob in blobs:
                store.artifacts.put_bytes(blob)
            before = contents(store)
            # embedded, the parent's document is remembered, but its manifest is gone
            with pytest.raises((StateNotFoundError, ArtifactNotFoundError)):
                other.commit(draft, "late", None)
            with pytest.raises(StateNotFoundError, match=STORED):
                other.create_branch(view, "late")
            with pytest.raises(StateNotFoundError, match=STORED):
                other.move_branch(view, "late", None)
            assert contents(store) == before
            assert verify(store, NODE).problems == []

    def test_a_put_of_an_old_blob_while_it_is_collected(self, store, lineage, monkeypatch):
        """The put comes after gc saw an old blob, and before it is removed."""
        blob = store.artifacts.put_bytes(b"wanted again")
        make_old(store)
        import coevo.node_store.upkeep.garbage as garbage_module

        def put_then_remove(artifacts, sha256, before):
            store.artifacts.put_bytes(b"wanted again")
            return remove_blob(artifacts, sha256, before)

        monkeypatch.setattr(garbage_module, "remove_blob", put_then_remove)
        assert counts(collect_garbage(store, **SURE)) == {}
        assert store.artifacts.get_bytes(blob.sha256) == b"wanted again"


def open_store_state(store, state: str):
    from coevo.node_store.views import open_state

    return open_state(upkeep_of(store.backend).reader(), store.artifacts, NODE, state)


class TestEmbedded(GarbageContract):
    def test_artifacts_inside_need_no_word(self, store, lineage):
        loose_branch(store, lineage)
        make_old(store)
        garbage = collect_garbage(store, delete=True)
        assert garbage.warnings == []
        assert counts(garbage)["states"] == 2

    def test_temporary_files_of_the_dead(self, store, lineage):
        directory = store.backend.directory
        old = [
            directory / ".tmp-node-1-00" / "node.json",
            directory / "jobs" / "ab" / ".tmp-x-1-00",
            directory / "blobs" / "ab" / ".tmp-y-1-00",
            directory / NODE / "states" / ".tmp-z-1-00" / "state.json",
            directory / NODE / "campaigns" / ".tmp-c-1-00",
        ]
        for path in old:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"half")
            then = time.time() - 2 * DAYS
            for item in (path, path.parent):
                os.utime(item, (then, then))
        young = directory / "blobs" / "ab" / ".tmp-young-1-00"
        young.write_bytes(b"being written")
        assert counts(collect_garbage(store)) == {"temporary files": 5}
        assert all(path.exists() for path in old)
        assert counts(collect_garbage(store, delete=True)) == {"temporary files": 5}
        assert not any(path.exists() for path in old)
        assert young.exists()


@pytest.mark.service
class TestMongoDB(GarbageContract):
    @pytest.fixture
    def settings(self, mongodb_uri, tmp_path) -> Settings:
        return Settings(database=mongodb_uri, artifacts=(tmp_path / "blobs").as_uri())

    def test_rows_of_a_commit_that_was_given_up(self, store, lineage, monkeypatch):
        """It died after the evaluations, before the state: its rows go when they are old."""
        rows = type(store.backend.rows)
        original = rows.insert_new

        def dies(self, name, documents):
            if name == "states":
                raise KeyboardInterrupt
            original(self, name, documents)

        with monkeypatch.context() as patched:
            patched.setattr(rows, "insert_new", dies)
            with pytest.raises(KeyboardInterrupt):
                lineage.fork(variant=5).commit("never")
        before = contents(store)
        assert counts(collect_garbage(store, **SURE)) == {}
        make_old(store)
        found = counts(collect_garbage(store, **SURE))
        assert found == {"structures": 4, "labels": 3, "evaluations": 14, "labels of states": 9, "artifacts": 3}
        assert contents(store) == before
        database = store.backend.connection.database
        assert database.evaluations.count_documents({}) == 6 + 10 + 8
        assert verify(store, NODE).problems == []

    def test_a_row_that_vanishes_between_insert_and_refresh_is_written_again(self, store, lineage, monkeypatch):
        """gc removes an old row after the commit found it there, before the commit refreshes its age."""
        from pymongo.collection import Collection

        loose_branch(store, lineage)
        make_old(store)
        fork = lineage.fork(variant=3)
        draft = fork.draft(n_entries=2, n_labels=1)
        original = Collection.update_many
        calls = []

        def update(collection, query, *args, **kwargs):
            if collection.name in {"structures", "labels"} and collection.name not in calls:
                calls.append(collection.name)
                victim = {**query, "stored_at": {"$lt": datetime.now(UTC) - timedelta(days=14)}}
                assert collection.delete_many(victim).deleted_count > 0
            return original(collection, query, *args, **kwargs)

        with monkeypatch.context() as patched:
            patched.setattr(Collection, "update_many", update)
            state = store.commit(draft, "again", None)
        assert calls == ["structures", "labels"]
        assert store.head(NODE, "again") == state
        assert verify(store, NODE).problems == []

    def test_a_shared_artifact_store_needs_a_word(self, store, lineage):
        loose_branch(store, lineage)
        make_old(store)
        (warning,) = collect_garbage(store).warnings
        assert "--artifacts-not-shared" in warning
        with pytest.raises(ConfigError, match=r"nothing was removed: the artifact store .* may serve other databases"):
            collect_garbage(store, delete=True)
        assert len(store.backend.state_ids(NODE)) == 5
