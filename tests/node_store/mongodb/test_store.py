"""The database on a server that speaks MongoDB's protocol."""

from __future__ import annotations

import time
import uuid
from datetime import datetime, timedelta
from types import SimpleNamespace

import pytest
from killed_commits import kill_commits
from li_p_s_states import NODE, new_node
from pymongo import MongoClient
from store_contract import StoreContract

from coevo.errors import CorruptArtifactError, NodeBusyError, StorageError
from coevo.node_store.mongodb import lease as mongodb_lease
from coevo.node_store.mongodb.connection import INDEXES
from coevo.node_store.mongodb.database import MongoBackend
from coevo.node_store.store import open_store
from coevo.settings import Settings

pytestmark = pytest.mark.service


@pytest.fixture
def settings(mongodb_uri, tmp_path) -> Settings:
    return Settings(database=mongodb_uri, artifacts=(tmp_path / "blobs").as_uri())


@pytest.fixture
def store(settings):
    with open_store(settings) as store:
        yield store


@pytest.fixture
def database(mongodb_uri):
    with MongoClient(mongodb_uri) as client:
        yield client.get_default_database()


class TestMongoStore(StoreContract):
    @pytest.fixture
    def settings(self, mongodb_uri, tmp_path) -> Settings:
        return Settings(database=mongodb_uri, artifacts=(tmp_path / "blobs").as_uri())

    def count_structures(self, settings) -> int:
        with MongoClient(settings.database) as client:
            return client.get_default_database().structures.count_documents({})


def test_indexes_are_created_once_and_used(settings, database):
    for _ in range(2):
        with open_store(settings) as store:
            store.nodes()
    for name, indexes in INDEXES.items():
        assert len(database[name].index_information()) == len(indexes) + 1


def test_two_branches_share_the_document_of_a_structure(store, database):
    lineage = new_node(store)
    lineage.commit()
    other = lineage.fork(variant=0)
    lineage.commit()
    other.store.commit(other.draft(metrics={"other": 1}), "other", None)
    assert database.states.count_documents({}) == 3
    assert database.structures.count_documents({}) == 8
    assert database.evaluations.count_documents({}) == 6 + 10 + 10


def test_a_changed_state_or_structure_is_not_returned(store, database):
    state = new_node(store).commit()
    view = store.state(NODE)
    database.structures.update_many({}, {"$set": {"structure.sites.0.abc.0": 0.123}})
    with pytest.raises(CorruptArtifactError, match=r"document .* of structures .* is damaged"):
        list(view.structure_documents())
    stored = database.states.find_one({"state": state})
    database.states.update_one({"state": state}, {"$set": {"document": stored["document"].replace('"sun":3', '"sun":4')}})
    with pytest.raises(CorruptArtifactError, match=f"state {state} .* is damaged"):
        store.state(NODE)


@pytest.mark.parametrize("uri", ["mongodb://me:s3cret@127.0.0.1:9/db", "mongodb://me:s3cret@nowhere.invalid/db?authSource=admin"])
def test_no_server_is_an_error_without_the_password(uri):
    store = open_store(
        Settings(database=uri + ("&" if "?" in uri else "?") + "serverSelectionTimeoutMS=200", artifacts="memory://x")
    )
    with pytest.raises(StorageError, match="check that the server runs") as caught:
        store.nodes()
    assert "s3cret" not in str(caught.value)
    assert "me:" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert "s3cret" not in repr(store.backend)


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://a:s3cr@et:x@127.0.0.1/db",
        "mongodb://",
        "mongodb://u:s3cret@h:99999/db",
        "mongodb+srv://u:s3cret@x",
    ],
)
def test_a_bad_uri_is_an_error_without_the_password(uri):
    with pytest.raises(StorageError) as caught:
        MongoBackend(uri).node_names()
    assert "s3cr" not in str(caught.value)


@pytest.fixture
def clock(monkeypatch):
    """The server's clock, which goes on when the test says so."""
    started = datetime(2026, 1, 1)  # noqa: DTZ001 - as the server's times are read
    clock = SimpleNamespace(now=started)
    monkeypatch.setattr(mongodb_lease, "_server_time", lambda locks: clock.now)
    return clock


@pytest.mark.timing
def test_a_lease_that_is_not_renewed_runs_out(store, database, monkeypatch, clock):
    new_node(store)
    monkeypatch.setattr(mongodb_lease, "HEARTBEAT", 3600.0)
    with store.run_lock(NODE):
        # as if it were held on another machine, whose processes cannot be seen from here
        database.locks.update_one({}, {"$set": {"host": "elsewhere", "pid": 1}})
        clock.now += mongodb_lease.LEASE - timedelta(milliseconds=1)
        with pytest.raises(NodeBusyError, match="process 1 on elsewhere"), store.run_lock(NODE):
            pass
        clock.now += timedelta(milliseconds=1)
        with store.run_lock(NODE):
            pass


@pytest.mark.timing
def test_a_lease_is_renewed_while_it_is_held(store, database, monkeypatch, clock):
    new_node(store)
    monkeypatch.setattr(mongodb_lease, "HEARTBEAT", 0.01)
    with store.run_lock(NODE):
        database.locks.update_one({}, {"$set": {"host": "elsewhere"}})
        for _ in range(3):
            clock.now += mongodb_lease.LEASE - timedelta(seconds=1)
            deadline = time.monotonic() + 600
            while database.locks.find_one()["expires"] != clock.now + mongodb_lease.LEASE:
                assert time.monotonic() < deadline, "the lease is not renewed"
                time.sleep(0.01)
        with pytest.raises(NodeBusyError), store.run_lock(NODE):
            pass


@pytest.mark.timing
def test_a_lease_lasts_by_the_clock_of_the_server(store, database):
    def server_time():
        return database.command("hello")["localTime"].replace(tzinfo=None)

    new_node(store)
    before = server_time()
    with store.run_lock(NODE):
        assert before <= database.locks.find_one()["expires"] - mongodb_lease.LEASE <= server_time()


def test_a_lease_of_another_owner_is_left_alone(store, database):
    """A holder that was taken over from (it slept too long) does not remove the lock of its successor."""
    new_node(store)
    with store.run_lock(NODE):
        database.locks.update_one({}, {"$set": {"owner": "successor"}})
    assert database.locks.count_documents({"owner": "successor"}) == 1


@pytest.mark.long
def test_a_commit_that_is_killed_anywhere_is_completed_by_the_next(mongodb_server, tmp_path):
    """SIGKILL before each write of a commit; reopened: the old state is visible, and the same commit gives the same id."""
    patches = {"pymongo.collection.Collection": ["insert_many", "insert_one", "find_one_and_update"]}
    name = f"coevo_kill_{uuid.uuid4().hex[:8]}"
    settings = {"database": f"{mongodb_server}/{name}_POINT", "artifacts": (tmp_path / "POINT").as_uri()}
    killed = kill_commits(patches, settings)
    try:
        assert len(killed.points) == 6  # structures, labels, evaluations, which labels the state has, the state, the branch
        killed.check_every_point()
    finally:
        with MongoClient(mongodb_server) as client:
            for database in client.list_database_names():
                if database.startswith(name):
                    client.drop_database(database)
