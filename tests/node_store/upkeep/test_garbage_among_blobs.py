"""Garbage among blobs: young ones, remote stores, puts at the same time, and a collection that was killed."""

from __future__ import annotations

import os
import threading
import time
import uuid
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from li_p_s_states import NODE, new_node
from upkeep_cases import DAYS, furnished_node

from coevo.errors import (
    ConfigError,
)
from coevo.node_store.blobs.stored import ASIDE, remove_blob, stored_blobs
from coevo.node_store.store import open_store
from coevo.node_store.upkeep.garbage import collect_garbage
from coevo.node_store.upkeep.verification import verify
from coevo.settings import Settings

SURE = {"delete": True, "artifacts_not_shared": True}


def counts(garbage) -> dict[str, int]:
    return {kind: tally.count for kind, tally in garbage.kinds.items() if tally.count}


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(database=f"file:{tmp_path / 'data'}")


@pytest.mark.parametrize("age", [0.0, 0.5])
def test_a_limit_below_a_day_warns(settings, age):
    store = open_store(settings)
    furnished_node(store)
    assert "nothing else may write" in collect_garbage(store, older_than=timedelta(days=age)).warnings[0]
    with pytest.raises(ConfigError, match="0 or more"):
        collect_garbage(store, older_than=timedelta(days=-1))


def test_a_remote_artifact_store(tmp_path):
    """fsspec's memory file system: age is what the file system says."""
    settings = Settings(database=f"file:{tmp_path / 'data'}", artifacts=f"memory://{uuid.uuid4().hex}")
    store = open_store(settings)
    furnished_node(store)
    lost = store.artifacts.put_bytes(b"lost")
    store.artifacts.filesystem.pipe_file(f"{store.artifacts.root}/README", b"not ours")
    assert counts(collect_garbage(store, **SURE)) == {}
    fs = store.artifacts.filesystem
    for key in fs.find(store.artifacts.root):
        fs.store["/" + key.lstrip("/")].created = datetime.now(UTC) - timedelta(days=30)
    assert len({blob.sha256 for blob in stored_blobs(store.artifacts)}) == 3 * 3 + 1 + 1
    store.artifacts.put_bytes(b"lost")  # put again: young
    assert counts(collect_garbage(store, **SURE)) == {}
    fs.store[f"{store.artifacts.root}/{lost.sha256[:2]}/{lost.sha256[2:]}"].created = datetime.now(UTC) - timedelta(days=30)
    assert counts(collect_garbage(store, artifacts_not_shared=True)) == {"artifacts": 1}
    assert counts(collect_garbage(store, **SURE)) == {"artifacts": 1}
    assert not store.artifacts.has(lost.sha256)
    assert fs.exists(f"{store.artifacts.root}/README")
    assert verify(store, NODE).findings == []


@pytest.mark.timing
def test_puts_and_collections_of_the_same_blob_at_once(settings):
    """A put that has returned is never lost, however the two interleave."""
    store = open_store(settings)
    new_node(store)
    data = b"put and collected"
    sha256 = store.artifacts.put_bytes(data).sha256
    deadline = time.monotonic() + 600
    lost, removed, puts = [], 0, 0

    def put():
        nonlocal puts
        mine = open_store(settings).artifacts
        # until each has happened often enough to meet the other, on a machine of any speed
        while (puts <= 200 or removed < 20) and time.monotonic() < deadline:
            with suppress(FileNotFoundError):
                os.utime(path, (0, 0))
            mine.put_bytes(data)
            puts += 1
            # a collection that is looking at it moves it back; a busy disk can hold up the rename and the link for seconds
            waited = time.monotonic() + 300
            while not path.exists() and time.monotonic() < waited:
                pass
            if not path.exists():
                lost.append(puts)

    path = store.artifacts.fetch(sha256)
    worker = threading.Thread(target=put)
    worker.start()
    while worker.is_alive():
        removed += remove_blob(store.artifacts, sha256, time.time() - DAYS)
    worker.join()
    assert lost == []
    assert puts > 200
    assert removed >= 20, "nothing was collected: this test showed nothing"


@pytest.mark.parametrize("age", [0.0, 30.0])
def test_a_blob_that_a_killed_collection_left_aside(settings, age):
    """If it was put in between, it comes back; otherwise it goes."""
    store = open_store(settings)
    furnished_node(store)
    sha256 = store.artifacts.put_bytes(b"left aside").sha256
    path = store.artifacts.fetch(sha256)
    aside = path.rename(path.with_name(f"{ASIDE}{sha256}"))
    os.utime(aside, (time.time() - age * DAYS,) * 2)
    collect_garbage(store, delete=True)
    assert not aside.exists()
    assert store.artifacts.has(sha256) == (age == 0.0)
