"""A transition on several cores: jobs side by side, and the state that one core makes."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from tiny_node import Coevo, copy_of

if TYPE_CHECKING:
    from pathlib import Path


SHARDS_MEET = """
import pathlib, threading
from coevo.makers import generate
load, both = generate.load_generator, threading.Barrier(2, action=pathlib.Path("met").touch)
def load_when_both_are_there(*arguments, **options):
    both.wait(600)
    return load(*arguments, **options)
generate.load_generator = load_when_both_are_there
"""
"""A ``sitecustomize.py``: each of the two shards of candidates is drawn when the other has begun; if it never does, it fails."""


@pytest.mark.long
def test_two_workers_make_the_state_of_one(finished: Coevo, seeded: Path, tmp_path: Path) -> None:
    hook = tmp_path / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(SHARDS_MEET)
    path = os.pathsep.join([str(hook), *filter(None, [os.environ.get("PYTHONPATH")])])
    coevo = copy_of(seeded, tmp_path / "node", COEVO_WORKERS="2", PYTHONPATH=path)
    coevo("run", "tiny", "-n", "1")
    assert (coevo.directory / "met").exists()
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
    assert sorted(name for name in begun if "/generate/" in name) == both
    assert set(both) <= set(ended)
