"""A transition on several cores: jobs side by side, and the state that one core makes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tiny_node import Coevo, copy_of

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.long
def test_two_workers_make_the_state_of_one(finished: Coevo, seeded: Path, tmp_path: Path) -> None:
    coevo = copy_of(seeded, tmp_path, COEVO_WORKERS="2")
    coevo("run", "tiny", "-n", "1")
    (state, _) = json.loads(coevo("log", "tiny", "--format", "json").stdout)
    (_, alone, _) = json.loads(finished("log", "tiny", "--format", "json").stdout)
    assert state["id"] == alone["id"]

    def keys(one: Coevo) -> set[str]:
        return {path.name for path in (one.database / "jobs").glob("*/*.json")}

    assert keys(coevo) <= keys(finished)
    log = (coevo.database / "tiny" / "logs" / "main.log").read_text()
    begun = [line.split()[2] for line in log.splitlines() if line.endswith("begins")]
    ended = [line.split()[2] for line in log.splitlines() if "ended after" in line]
    both = ["tiny/1/generate/0000", "tiny/1/generate/0001"]
    lines = [line for line in log.splitlines() if "/generate/" in line]
    assert [name for name in begun if "/generate/" in name] == both
    assert set(both) <= set(ended)
    assert all(line.endswith("begins") for line in lines[:2]), "the shards were drawn one after the other"
