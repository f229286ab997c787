"""Faults in the middle of commits, branch moves, merges, imports and garbage collection, on both backends.

``benchmarks/faults.py`` puts a fault at every possible point; here it is an evenly spread subset of the same points, so that the
suite takes less than a minute of CPU for each backend. Both run the same code, :mod:`fault_injection`.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from fault_injection.counting import contents, harm_at_once, harm_in_the_end
from fault_injection.running import inject, may_mount
from li_p_s_states import NODE
from pymongo import MongoClient
from upkeep_cases import furnished_node

from coevo.node_store.store import open_store
from coevo.settings import Settings

KILLS = {"commit": 14, "branch": 13, "merge": 12, "import": 12, "gc": 12}
"""Points of each operation at which the process is killed; together more than 50."""
KILLS_ON_A_SERVER = {"commit": 12, "branch": 6, "merge": 10, "import": 12, "gc": 10}


OPERATIONS = [
    pytest.param("commit", 5, id="a commit"),
    *(pytest.param(name, points, marks=pytest.mark.long, id=name) for name, points in KILLS.items()),
]
"""A commit at a few points in `make test`, at more of them and with the other operations in `make test-long`."""


def harmless(found: dict) -> bool:
    return (found["lost"], found["doubled"], found["half_visible"]) == (0, 0, 0)


@pytest.mark.parametrize(("operation", "points"), OPERATIONS)
def test_an_embedded_database_survives_a_killed_process(tmp_path: Path, operation: str, points: int) -> None:
    found = inject(tmp_path / "site", None, operation, "kill", limit=points)
    assert found["faults"] == points
    assert harmless(found), found["examples"]


@pytest.mark.service
@pytest.mark.long
@pytest.mark.parametrize("operation", list(KILLS))
def test_a_database_on_a_server_survives_a_killed_process(tmp_path: Path, mongodb_server: str, operation: str) -> None:
    found = inject(tmp_path / f"site_{operation}", mongodb_server, operation, "kill", limit=KILLS_ON_A_SERVER[operation])
    assert found["faults"] == KILLS_ON_A_SERVER[operation]
    assert harmless(found), found["examples"]


@pytest.mark.long
@pytest.mark.service
@pytest.mark.parametrize("operation", ["commit", "import"])
def test_a_dropped_connection_loses_nothing(tmp_path: Path, mongodb_server: str, operation: str) -> None:
    """Before the server gets a write, and after it was done and before the answer."""
    found = inject(tmp_path / f"drop_{operation}", mongodb_server, operation, "dropped connection", limit=3)
    assert found["faults"] == 6
    assert harmless(found), found["examples"]


@pytest.mark.long
@pytest.mark.service
def test_a_server_that_dies_loses_nothing(tmp_path: Path) -> None:
    found = inject(tmp_path / "dies", None, "commit", "server dies", limit=3)
    assert found["faults"] == 3
    assert harmless(found), found["examples"]


@pytest.mark.long
@pytest.mark.parametrize("operation", ["commit", "import", "gc"])
def test_a_full_disk_loses_nothing(tmp_path: Path, operation: str) -> None:
    """A small file system of its own, with less and less space."""
    if not may_mount(tmp_path):
        reason = "this kernel lets no user mount a file system of his own"
        if os.environ.get("CI"):
            pytest.fail(reason)  # there, a fault that is not tried is not tested
        pytest.skip(reason)
    found = inject(tmp_path / "full", None, operation, "full disk", limit=6)
    # garbage collection frees space; it may need a little itself, or none
    assert found["faults"] >= (0 if operation == "gc" else 2)
    assert harmless(found), found["examples"]


# --- the counters can count


@pytest.mark.long
def test_a_branch_that_moves_before_the_documents_is_counted(tmp_path: Path) -> None:
    """The order of a commit broken on purpose: the same points, and the counters are not 0."""
    found = inject(tmp_path / "broken", None, "commit", "kill", limit=8, broken=True)
    assert found["half_visible"] > 0
    assert found["lost"] > 0


@pytest.mark.long
@pytest.mark.service
def test_a_branch_that_moves_before_the_documents_is_counted_on_a_server(tmp_path: Path, mongodb_server: str) -> None:
    found = inject(tmp_path / "broken_served", mongodb_server, "commit", "kill", limit=6, broken=True)
    assert found["half_visible"] > 0
    assert found["lost"] > 0


@pytest.mark.service
def test_rows_that_are_lost_doubled_or_half_there_are_counted(tmp_path: Path, mongodb_uri: str) -> None:
    with (
        open_store(Settings(database=mongodb_uri, artifacts=(tmp_path / "blobs").as_uri())) as store,
        MongoClient(mongodb_uri) as client,
    ):
        furnished_node(store)
        database = client.get_default_database()
        before = contents(store)
        assert before.problems == []
        assert not harm_at_once(before, before, before)
        assert not harm_in_the_end(before, before)
        head = store.head(NODE)
        row = database.evaluations.find_one({"state": head})
        database.evaluations.insert_one({**row, "_id": f"{row['_id']}:2"})
        doubled = contents(store)
        assert harm_at_once(before, before, doubled).doubled == 1
        assert harm_in_the_end(before, doubled).doubled == 2  # a reader sees it, and it is stored
        assert harm_in_the_end(before, doubled).half_visible > 0  # verification sees it too
        database.evaluations.delete_one({"_id": f"{row['_id']}:2"})
        database.evaluations.delete_one({"_id": row["_id"]})
        lost = contents(store)
        assert harm_at_once(before, before, lost).half_visible > 1
        assert harm_in_the_end(before, lost).lost == 2
        database.evaluations.insert_one(row)
        store.delete_branch(NODE, "try")
        assert harm_at_once(before, before, contents(store)).lost > 1
        assert harm_in_the_end(before, contents(store)).lost > 1


def test_the_driver_says_what_went_wrong(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="KeyError: 'no such operation'"):
        inject(tmp_path, None, "no such operation", "kill", limit=1)
    with pytest.raises(subprocess.TimeoutExpired):
        inject(tmp_path, None, "commit", "kill", limit=1, timeout=0.01)
