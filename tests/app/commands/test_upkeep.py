"""``verify``, ``gc`` and ``migrate`` as a user meets them."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from tiny_node import Coevo, copy_of


def make_old(directory: Path, days: float = 30.0) -> None:
    then = time.time() - days * 86_400
    for path in [directory, *directory.rglob("*")]:
        os.utime(path, (then, then))


def test_a_finished_campaign_is_whole(finished: Coevo) -> None:
    result = json.loads(finished("verify", "tiny", "--format", "json").stdout)
    assert result["clean"] is True
    assert result["findings"] == []
    assert result["counts"]["states"] == 3
    assert result["counts"]["job results"] > 10
    assert result["counts"]["artifacts"] > 10
    assert "tiny: no problem, 0 notes; looked at 3 states" in finished("verify", "tiny").stderr
    quick = finished("verify", "tiny", "--quick")
    assert "quick: documents were not read" in quick.stderr


def test_damage_is_exit_code_1_and_a_wrong_name_2(finished: Coevo, tmp_path: Path) -> None:
    coevo = copy_of(finished.directory, tmp_path)
    head = json.loads(coevo("log", "tiny", "--format", "json").stdout)[0]["id"]
    segment = coevo.database / "tiny" / "states" / head / "evaluations.jsonl.zst"
    data = segment.read_bytes()
    segment.write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    done = coevo("verify", "tiny", code=1)
    assert "problem" in done.stdout
    assert "problems" in done.stderr
    result = json.loads(coevo("verify", "tiny", "--format", "json", code=1).stdout)
    assert result["clean"] is False
    assert all(set(finding) == {"severity", "what", "where", "todo"} for finding in result["findings"])
    assert all(head in finding["where"] for finding in result["findings"])
    coevo("verify", "tiny", "--quick")  # it reads no evaluations
    assert "there is no node 'tinny'" in coevo("verify", "tinny", code=2).stderr


def test_gc_says_what_it_would_remove_and_removes_it(finished: Coevo, tmp_path: Path) -> None:
    coevo = copy_of(finished.directory, tmp_path)
    assert "nothing is garbage" in coevo("gc").stderr
    coevo("branch", "tiny@main~2", "main2")
    coevo("branch", "tiny@main", "--delete", "--force")
    make_old(coevo.database)
    dry = json.loads(coevo("gc", "--format", "json").stdout)
    assert dry["deleted"] is False
    assert dry["kinds"]["states"]["count"] == 2
    assert dry["bytes"] > 0
    text = coevo("gc")
    assert "would be removed" in text.stdout
    assert "add --delete" in text.stderr
    assert json.loads(coevo("verify", "tiny", "--format", "json").stdout)["counts"]["states"] == 3
    done = json.loads(coevo("gc", "--delete", "--format", "json").stdout)
    assert (done["deleted"], done["count"], done["bytes"]) == (True, dry["count"], dry["bytes"])
    result = json.loads(coevo("verify", "tiny", "--format", "json").stdout)
    assert result["clean"] is True
    assert result["counts"]["states"] == 1
    assert "nothing is garbage" in coevo("gc", "--delete").stderr


def test_gc_needs_a_word_where_artifacts_are_elsewhere(seeded: Path, tmp_path: Path) -> None:
    coevo = copy_of(seeded, tmp_path, COEVO_ARTIFACTS=f"file://{tmp_path}/db/blobs2")
    (tmp_path / "db" / "blobs").rename(tmp_path / "db" / "blobs2")
    assert "may serve other databases" in coevo("gc").stderr
    assert "--artifacts-not-shared" in coevo("gc", "--delete", code=2).stderr
    coevo("gc", "--delete", "--artifacts-not-shared")
    coevo("verify", "tiny")


@pytest.mark.long
def test_migrate_brings_a_node_of_version_1_here(seeded: Path, tmp_path: Path) -> None:
    from coevo.node_store.durable import read_sealed, seal

    coevo = copy_of(seeded, tmp_path)
    assert "nothing to do" in coevo("migrate", "tiny").stderr
    before = json.loads(coevo("log", "tiny", "--format", "json").stdout)
    node = coevo.database / "tiny"
    (node / "node.json").write_bytes(seal({**read_sealed(node / "node.json", "node"), "schema_version": 1}))
    for directory in (node / "states").iterdir():
        stored = read_sealed(directory / "state.json", "state")
        del stored["places"]
        (directory / "state.json").write_bytes(seal(stored))
        (directory / "places.zst").unlink()
    for command in (("status", "tiny"), ("verify", "tiny"), ("run", "tiny"), ("gc",)):
        assert "coevo migrate tiny" in coevo(*command, code=2).stderr
    assert "version 1 to 2" in coevo("migrate", "tiny").stderr
    assert json.loads(coevo("log", "tiny", "--format", "json").stdout) == before
    assert "no problem, 0 notes" in coevo("verify", "tiny").stderr
