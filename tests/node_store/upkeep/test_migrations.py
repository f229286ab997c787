"""Migration of databases that were written by version 1 of the schema, on both backends."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from datetime import timedelta

import pytest
from li_p_s_states import NODE, Lineage, evaluation, new_node
from upkeep_cases import VALID_CONFIG, furnished_node

from coevo.errors import ConfigError, CorruptArtifactError, NodeBusyError, NodeNotFoundError
from coevo.node_store.directory import migrations as embedded_migrations
from coevo.node_store.directory.locks import file_lock
from coevo.node_store.documents import SCHEMA_VERSION
from coevo.node_store.durable import read_sealed, seal
from coevo.node_store.store import open_store
from coevo.node_store.upkeep.backends import upkeep_of
from coevo.node_store.upkeep.garbage import collect_garbage
from coevo.node_store.upkeep.migrations import STEPS, migrate
from coevo.node_store.upkeep.verification import verify
from coevo.settings import Settings


def contents(store) -> dict[str, object]:
    node = store.node(NODE)
    found: dict[str, object] = {"branches": node.branches}
    for head in node.branches.values():
        view = store.state(f"{NODE}@{head}")
        for state in (view, *view.ancestors()):
            documents = [*state.structure_documents(), *state.references(), *state.labels(), *state.evaluations()]
            found[state.id] = (state.document, state.manifest, documents)
    return found


def merged(store, lineage: Lineage) -> str:
    """A state of two parents, which adds an entry of its own."""
    fork = lineage.fork(variant=4)
    second = store.commit(fork.draft(n_entries=2), "side", None)
    first = lineage.commit()
    draft = lineage.draft(n_entries=1, parents=(first, second))
    draft.evaluations += [evaluation(s, "entry", 5) for s in fork.entries[-2:]]
    draft.splits = {**draft.splits, **fork.splits}
    return store.commit(draft, "main", first)


def test_there_is_a_step_for_every_version():
    assert [step.version for step in STEPS] == list(range(1, SCHEMA_VERSION))


class Stops:
    """Interrupts before the call of that number."""

    def __init__(self, point: int):
        self.point, self.calls = point, 0

    def before(self, original):
        def call(*args, **kwargs):
            self.calls += 1
            if self.calls == self.point:
                raise KeyboardInterrupt
            return original(*args, **kwargs)

        return call


class MigrationContract:
    """Subclasses have ``settings`` and ``bring_back``, which turns a database into what version 1 wrote."""

    @pytest.fixture
    def before(self, settings) -> dict[str, object]:
        with open_store(settings) as store:
            merged(store, furnished_node(store))
            found = contents(store)
        self.bring_back(settings)
        return found

    def test_states_keep_their_ids_and_the_node_is_whole(self, settings, before):
        with open_store(settings) as store:
            for use in (
                lambda: store.node(NODE),
                lambda: store.state(NODE),
                lambda: verify(store, NODE),
                lambda: collect_garbage(store),
            ):
                with pytest.raises(ConfigError, match=f"schema version 1, .* coevo migrate {NODE}"):
                    use()
            assert [step.version for step in migrate(store, NODE)] == list(range(1, SCHEMA_VERSION))
            assert migrate(store, NODE) == []
        with open_store(settings) as store:
            assert contents(store) == before
            assert verify(store, NODE).findings == []
            assert store.job_result("ab" * 32)["output"]["key"] == "ab" * 32
            assert collect_garbage(store, older_than=timedelta(days=14)).total.count == 0
            assert store.node(NODE).schema_version == SCHEMA_VERSION

    def test_a_node_that_is_up_to_date_can_be_written_again(self, settings, before):
        with open_store(settings) as store:
            migrate(store, NODE)
            assert len(migrate(store, NODE, again=True)) == SCHEMA_VERSION - 1
            assert contents(store) == before
            assert verify(store, NODE).findings == []

    def test_no_such_node_and_newer_nodes(self, settings, before):
        with open_store(settings) as store:
            with pytest.raises(NodeNotFoundError, match=f"no node 'other'; nodes of the database .+: {NODE}"):
                migrate(store, "other")
            migrate(store, NODE)
            upkeep_of(store.backend).write_schema_version(NODE, 99)
            with pytest.raises(ConfigError, match="install a newer coevo"):
                migrate(store, NODE)


class TestEmbedded(MigrationContract):
    @pytest.fixture
    def settings(self, tmp_path) -> Settings:
        return Settings(database=f"file:{tmp_path / 'data'}")

    @staticmethod
    def bring_back(settings: Settings) -> None:
        """Version 1 had no places, searched the segments of ancestors, and had one run lock for a node."""
        node = settings.directory / NODE
        for directory in (node / "states").iterdir():
            stored = read_sealed(directory / "state.json", "state")
            stored.pop("places", None)
            (directory / "state.json").write_bytes(seal(stored))
            (directory / "places.zst").unlink(missing_ok=True)
        document = read_sealed(node / "node.json", "node")
        (node / "node.json").write_bytes(seal({**document, "schema_version": 1}))
        (node / "run.json").write_text('{"pid": 1}')
        (node / ".run-lock").write_text("")
        shutil.rmtree(node / "runs", ignore_errors=True)

    def test_documents_that_only_an_earlier_ancestor_added(self, settings, tmp_path):
        """Version 1 let a state have again what its parent had dropped, without adding it a second time."""
        store = open_store(settings)
        lineage = new_node(store)
        store.write_config_text(NODE, VALID_CONFIG)
        first = lineage.commit()
        dropped = lineage.entries.pop(0)
        second = lineage.commit(n_entries=1)
        lineage.entries.insert(0, dropped)
        draft = lineage.draft(n_entries=1)
        identifier = evaluation(dropped, "entry", 0)["structure_id"]
        with pytest.raises(ValueError, match="1 structures of the draft are neither new"):
            store.commit(draft, "main", second)
        # as version 1 would have stored it: with the document, which is then taken out of the segment
        by_id = {d["_id"]: d for d in store.state(f"{NODE}@{first}").structure_documents()}
        draft.structures.append(by_id[identifier])
        third = store.commit(draft, "main", second)
        self.bring_back(settings)
        directory = settings.directory / NODE / "states" / third
        from coevo.node_store.directory.segments import Segment, write_segment
        from coevo.node_store.prepared_documents import Line

        stored = read_sealed(directory / "state.json", "state")
        segment = Segment(directory, "structures", stored["segments"]["structures"])
        kept = [Line(found, text) for found, text in segment.texts() if found != identifier]
        for path in directory.glob("structures.*"):
            path.unlink()
        stored["segments"]["structures"] = write_segment(directory, "structures", kept)
        (directory / "state.json").write_bytes(seal(stored))
        migrate(open_store(settings), NODE)
        store = open_store(settings)
        assert identifier in {d["_id"] for d in store.state(NODE).structure_documents()}
        assert len(list(store.state(NODE).structure_documents())) == 6
        assert verify(store, NODE).findings == []

    def test_a_running_campaign_of_version_1_is_not_disturbed(self, settings, before):
        with file_lock(settings.directory / NODE / ".run-lock", wait=False), pytest.raises(NodeBusyError, match="older coevo"):
            migrate(open_store(settings), NODE)

    def test_a_migration_that_stops_anywhere_is_completed_by_the_next(self, settings, before, monkeypatch):
        """Before each file that it writes."""
        for point in range(1, 100):
            stops = Stops(point)
            with monkeypatch.context() as patched:
                for name in ("write_places", "replace_file", "sync_directory"):
                    patched.setattr(embedded_migrations, name, stops.before(getattr(embedded_migrations, name)))
                with suppress(KeyboardInterrupt):
                    migrate(open_store(settings), NODE)
            if stops.calls < point:
                break
            assert json.loads((settings.directory / NODE / "node.json").read_bytes())["document"]["schema_version"] == 1
            migrate(open_store(settings), NODE)
            store = open_store(settings)
            assert contents(store) == before
            assert verify(store, NODE).findings == []
            self.bring_back(settings)
        assert point == 3 * 6 + 1  # for each of six states: places, directory, document

    def test_a_damaged_state_is_named_and_the_version_stays(self, settings, before):
        head = next(iter((settings.directory / NODE / "states").iterdir()))
        (head / "structures.index.zst").write_bytes(b"")
        with pytest.raises(CorruptArtifactError, match=head.name):
            migrate(open_store(settings), NODE)
        with pytest.raises(ConfigError, match="coevo migrate"):
            open_store(settings).node(NODE)


@pytest.mark.service
class TestMongoDB(MigrationContract):
    @pytest.fixture
    def settings(self, mongodb_uri, tmp_path) -> Settings:
        return Settings(database=mongodb_uri, artifacts=(tmp_path / "blobs").as_uri())

    @staticmethod
    def bring_back(settings: Settings) -> None:
        """Version 1 had no readable fields, times and hashes in rows, and no collection of the labels of states."""
        with open_store(settings) as store:
            database = store.backend.connection.database
            keep = ("_id", "node", "state", "sha256", "document")
            for row in list(database.states.find()):
                database.states.replace_one({"_id": row["_id"]}, {key: row[key] for key in keep})
            for name in ("structures", "references", "labels", "evaluations", "campaigns"):
                database[name].update_many({}, {"$unset": {"stored_at": "", "sha256": ""}})
            database.job_results.update_many({}, {"$unset": {"sha256": ""}})
            database.drop_collection("state_labels")
            database.nodes.update_many({}, {"$unset": {"sha256": ""}, "$set": {"document.schema_version": 1}})

    @pytest.mark.long
    def test_a_running_campaign_of_version_1_is_not_disturbed(self, settings, before):
        from datetime import UTC, datetime

        with open_store(settings) as store:
            locks = store.backend.connection.collection("locks")
            row = {"_id": f"run:{NODE}", "pid": 7, "host": "elsewhere", "expires": datetime.now(UTC) + timedelta(days=1)}
            locks.insert_one(row)
            with pytest.raises(NodeBusyError, match="process 7 of an older coevo on elsewhere"):
                migrate(store, NODE)
            locks.update_one({}, {"$set": {"expires": datetime.now(UTC) - timedelta(seconds=60)}})
            assert len(migrate(store, NODE)) == 1

    @pytest.mark.long
    def test_a_migration_that_stops_anywhere_is_completed_by_the_next(self, settings, monkeypatch):
        """Before each write to the server."""
        from pymongo.collection import Collection

        with open_store(settings) as store:
            lineage = new_node(store)
            store.write_config_text(NODE, VALID_CONFIG)
            lineage.commit(n_entries=2)
            lineage.commit(n_entries=1)
            store.put_job_result("ab" * 32, {"output": {}})
            store.start_campaign(NODE, "main", 1, store.head(NODE))
            before = contents(store)
            self.bring_back(settings)
            for point in range(1, 100):
                stops = Stops(point)
                with monkeypatch.context() as patched:
                    for name in ("insert_many", "update_one", "update_many", "bulk_write", "delete_many"):
                        patched.setattr(Collection, name, stops.before(getattr(Collection, name)))
                    with suppress(KeyboardInterrupt):
                        migrate(store, NODE)
                if stops.calls < point:
                    break
                assert store.backend.node_document(NODE)["schema_version"] == 1
                migrate(store, NODE)
                assert verify(store, NODE).findings == []
                self.bring_back(settings)
            migrate(store, NODE)
            assert contents(store) == before
        assert point == 2 * 2 + 7 + 5 + 1 + 1  # labels and fields of two states, times, hashes, the version

    @pytest.mark.long
    def test_what_repeats_a_state_is_written_again(self, settings, before):
        with open_store(settings) as store:
            migrate(store, NODE)
            database = store.backend.connection.database
            database.states.update_many({}, {"$set": {"iteration": 77}})
            row = database.state_labels.find_one()
            database.state_labels.update_one(
                {"_id": row["_id"]}, {"$set": {"split": "test" if row["split"] != "test" else "train"}}
            )
            database.state_labels.insert_one({"_id": "x", "state": row["state"], "label": "y", "split": "train"})
            assert verify(store, NODE).problems
            migrate(store, NODE, again=True)
            assert verify(store, NODE).findings == []
