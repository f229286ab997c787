"""``branch --delete`` as git has it: what another branch holds goes without a question, other work only with --force."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from li_p_s_states import NODE, new_node

from coevo.node_store.store import open_store
from coevo.settings import Settings
from tiny_node import Coevo


@pytest.fixture
def coevo(tmp_path: Path) -> Coevo:
    """Two states on main; the first is branch ``old``, and ``try`` has left it with a state of its own."""
    here = Coevo(tmp_path)
    lineage = new_node(open_store(Settings(database=f"file:{here.database}")))
    first = lineage.commit(message="first")
    other = lineage.fork(variant=1)
    lineage.commit(message="second")
    for name in ("old", "try"):
        lineage.store.create_branch(lineage.store.state(f"{NODE}@{first}"), name)
    other.commit("try", message="third")
    return here


def names(coevo: Coevo) -> list[str]:
    return sorted(row["name"] for row in json.loads(coevo("branch", NODE, "--format", "json").stdout))


def test_a_branch_that_another_one_holds_is_removed(coevo: Coevo) -> None:
    coevo("branch", f"{NODE}@old", "--delete")
    assert names(coevo) == ["main", "try"]


@pytest.mark.parametrize("branch", ["main", "try"])
def test_work_that_no_other_branch_holds_needs_force(coevo: Coevo, branch: str) -> None:
    said = coevo("branch", f"{NODE}@{branch}", "--delete", code=2).stderr
    assert len(said.splitlines()) == 1
    assert f"coevo branch {NODE}@{branch} --delete --force" in said
    assert names(coevo) == ["main", "old", "try"]
    again = coevo("branch", f"{NODE}@{branch}", "--delete", "--force").stderr.split("to have it back: coevo ")[1]
    assert names(coevo) == sorted({"main", "old", "try"} - {branch})
    coevo(*again.split())
    assert names(coevo) == ["main", "old", "try"]


def test_of_two_branches_at_one_state_one_goes(coevo: Coevo) -> None:
    coevo("branch", f"{NODE}@try", "again")
    coevo("branch", f"{NODE}@try", "--delete")
    assert names(coevo) == ["again", "main", "old"]
    assert "--force" in coevo("branch", f"{NODE}@again", "--delete", code=2).stderr


def test_force_is_for_removing(coevo: Coevo) -> None:
    assert "goes with --delete" in coevo("branch", NODE, "new", "--force", code=2).stderr
    assert names(coevo) == ["main", "old", "try"]
