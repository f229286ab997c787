"""One command at a time changes a branch, whichever it is, and another branch is not touched by that; on both backends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hand_made_node import NODE, TwoBranches, two_branches

from coevo.campaigns.adding import add_labels, add_references
from coevo.campaigns.labelling import label_head
from coevo.campaigns.merging import Target, merge
from coevo.campaigns.on_site import submit
from coevo.campaigns.running import run_campaign
from coevo.errors import NodeBusyError
from coevo.makers.step import current_store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class ReachedError(Exception):
    """The command holds the branch and begins its work."""


def silent(line: str) -> None:
    pass


def run(node: TwoBranches, branch: str) -> None:
    run_campaign(node.store, NODE, branch=branch, iterations=1, say=silent, on_state=lambda view: None)


def submitted(node: TwoBranches, branch: str) -> None:
    queue: Any = None
    submit(node.store, queue, NODE, branch, 1, silent)


def labelled(node: TwoBranches, branch: str) -> None:
    label_head(node.store, NODE, branch, limit=1, labeller=None, competing=False, say=silent)


def with_references(node: TwoBranches, branch: str) -> None:
    add_references(node.store, NODE, branch, [], silent)


def with_labels(node: TwoBranches, branch: str) -> None:
    add_labels(node.store, NODE, branch, [], functional="PBE", anion_corrected=False, say=silent)


def merged(node: TwoBranches, branch: str) -> None:
    merge(node.store, node.main, node.other, Target(NODE, branch), train=False)


COMMANDS = [run, submitted, labelled, with_references, with_labels, merged]


@pytest.fixture(params=["embedded", pytest.param("mongodb", marks=pytest.mark.service)])
def node(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TwoBranches:
    if request.param == "embedded":
        monkeypatch.setenv("COEVO_DATABASE", f"file:{tmp_path / 'db'}")
        monkeypatch.delenv("COEVO_ARTIFACTS", raising=False)
    else:
        monkeypatch.setenv("COEVO_DATABASE", request.getfixturevalue("mongodb_uri"))
        monkeypatch.setenv("COEVO_ARTIFACTS", f"file:{tmp_path / 'blobs'}")

    def reached(store: Any, view: Any) -> None:
        raise ReachedError

    for module in ("makers.checkpoints", "campaigns.labelling", "campaigns.adding", "campaigns.merging"):
        monkeypatch.setattr(f"coevo.{module}.check_checkpoints", reached)
    return two_branches(current_store())


def test_a_branch_is_changed_by_one_command_and_the_other_by_another(node: TwoBranches) -> None:
    for held, free in (("main", "try"), ("try", "main")):
        with node.store.run_lock(NODE, held):
            for command in COMMANDS:
                with pytest.raises(NodeBusyError, match=f"branch {held} of node {NODE}"):
                    command(node, held)
                with pytest.raises(ReachedError):
                    command(node, free)
    for command in COMMANDS:
        with pytest.raises(ReachedError):
            command(node, "main")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_holds_its_branch_alone_while_it_works(
    node: TwoBranches, command: Callable[[TwoBranches, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(store: Any, view: Any) -> None:
        with pytest.raises(NodeBusyError), store.run_lock(NODE, "try"):
            pass
        with store.run_lock(NODE, "main"):
            raise ReachedError

    for module in ("makers.checkpoints", "campaigns.labelling", "campaigns.adding", "campaigns.merging"):
        monkeypatch.setattr(f"coevo.{module}.check_checkpoints", locked)
    with pytest.raises(ReachedError):
        command(node, "try")
