"""A command that was killed after its commit and is repeated makes no second state."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from hand_made_node import NODE, TwoBranches, two_branches

from coevo.makers.step import current_store
from tiny_node import Coevo
from warm_processes import run_coevo

if TYPE_CHECKING:
    from coevo.node_store.store import NodeStore

DIES_AFTER_THE_COMMIT = """
import os
from coevo.node_store.directory import database
move = database.EmbeddedBackend.move_branch
def move_and_die(self, node, branch, expected, new):
    found = move(self, node, branch, expected, new)
    assert found == expected
    os._exit(7)
database.EmbeddedBackend.move_branch = move_and_die
"""
"""A ``sitecustomize.py``."""


@pytest.fixture
def coevo(tmp_path: Path) -> Coevo:
    return Coevo(tmp_path)


@pytest.fixture
def node(coevo: Coevo, monkeypatch: pytest.MonkeyPatch) -> TwoBranches:
    monkeypatch.setenv("COEVO_DATABASE", f"file:{coevo.database}")
    monkeypatch.delenv("COEVO_ARTIFACTS", raising=False)
    return two_branches(current_store())


def killed(coevo: Coevo, *arguments: str) -> None:
    hook = coevo.directory / "hook"
    hook.mkdir()
    (hook / "sitecustomize.py").write_text(DIES_AFTER_THE_COMMIT)
    path = os.pathsep.join([str(hook), *filter(None, [coevo.environment.get("PYTHONPATH")])])
    done = run_coevo(arguments, cwd=coevo.directory, env={**coevo.environment, "PYTHONPATH": path}, timeout=600)
    assert done.returncode == 7, done.stderr


def states(store: NodeStore, node: str = NODE) -> set[str]:
    return set(store.backend.state_ids(node))


@pytest.mark.long
def test_labels(coevo: Coevo, node: TwoBranches) -> None:
    command = ("label", NODE, "--limit", "1", "--no-competing", "--format", "json")
    killed(coevo, *command)
    head, before = node.store.head(NODE), states(node.store)
    assert head != node.main.id
    repeated = coevo(*command)
    assert json.loads(repeated.stdout)["id"] == head
    assert json.loads(repeated.stdout)["labels_added"] > 0
    assert "had made its state already" in repeated.stderr
    assert states(node.store) == before
    # who asks again when it has ended asks for more labels
    assert "had made its state already" not in coevo(*command).stderr
    assert states(node.store) != before


@pytest.mark.long
def test_labels_of_another_command_are_others(coevo: Coevo, node: TwoBranches) -> None:
    killed(coevo, "label", NODE, "--limit", "1", "--no-competing")
    head = node.store.head(NODE)
    other = json.loads(coevo("label", NODE, "--limit", "2", "--no-competing", "--format", "json").stdout)
    assert other["parents"] == [head]


@pytest.mark.long
@pytest.mark.parametrize("kind", ["labels", "references"])
def test_what_users_have(coevo: Coevo, node: TwoBranches, kind: str) -> None:
    crystal = bulk("LiS", "rocksalt", a=5.3)
    crystal.calc = SinglePointCalculator(crystal, energy=-8.0, forces=[[0.0] * 3] * 2, stress=[0.001] * 6)
    write(coevo.directory / "mine.extxyz", [crystal], format="extxyz")
    options = ["--functional", "PBE"] if kind == "labels" else []
    command = ("add", NODE, "mine.extxyz", "--as", kind, *options, "--format", "json")
    killed(coevo, *command)
    head, before = node.store.head(NODE), states(node.store)
    assert head != node.main.id
    for _ in range(2):
        repeated = coevo(*command)
        assert json.loads(repeated.stdout)["id"] == head
        assert json.loads(repeated.stdout)["labels_added"] == 0
        assert " already" in repeated.stderr
    assert f"0 {kind} added" in coevo(*command[:-2]).stderr
    assert states(node.store) == before


def test_a_merge(coevo: Coevo, node: TwoBranches) -> None:
    command = ("merge", NODE, f"{NODE}@try", "--into", NODE, "--no-train", "--format", "json")
    killed(coevo, *command)
    head, before = node.store.head(NODE), states(node.store)
    assert node.store.state(NODE).parents == (node.main.id, node.other.id)
    repeated = json.loads(coevo(*command).stdout)
    assert (repeated["id"], repeated["outcome"]) == (head, "nothing to do")
    assert states(node.store) == before


@pytest.mark.long
def test_an_extension(coevo: Coevo, node: TwoBranches) -> None:
    write(coevo.directory / "chlorine.extxyz", [bulk("Cl", "sc", a=3.0), bulk("LiCl", "rocksalt", a=5.1)], format="extxyz")
    command = ("extend", NODE, "--elements", "Cl", "--as", "more", "--references", "chlorine.extxyz", "--format", "json")
    killed(coevo, *command)
    head, before = node.store.head("more"), states(node.store, "more")
    assert head is not None
    repeated = json.loads(coevo(*command).stdout)
    assert (repeated["id"], repeated["outcome"]) == (head, "nothing to do")
    assert states(node.store, "more") == before
