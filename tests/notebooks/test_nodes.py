"""Opening nodes and states, and what ``import coevo`` offers and costs."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import coevo
from coevo.errors import ConfigError, NodeNotFoundError, StateNotFoundError
from coevo.node_store.store import open_store
from coevo.notebooks.nodes import Node
from coevo.settings import Settings
from tiny_node import Coevo


def test_importing_coevo_loads_the_standard_library_only() -> None:
    code = "import sys; before = set(sys.modules); import coevo; print(*sorted(set(sys.modules) - before))"
    source = {"PYTHONPATH": str(Path(coevo.__path__[0]).parent)}
    done = subprocess.run([sys.executable, "-S", "-c", code], env=source, capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert loaded - sys.stdlib_module_names == {"coevo"}


def test_the_names_are_offered_and_others_are_not() -> None:
    assert {"open", "transition_flow", "Node", "State"} <= set(dir(coevo))
    assert coevo.Node is Node
    with pytest.raises(AttributeError, match="'nothing'"):
        coevo.nothing  # noqa: B018


def test_a_node_is_opened_by_the_environment_a_uri_or_a_path(
    node: Node, finished: Coevo, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = node.state().id
    monkeypatch.setenv("COEVO_DATABASE", "file:nowhere")
    for database in (f"file:{finished.database}", finished.database, str(finished.database)):
        opened = coevo.open("tiny", database=database)
        assert opened.branches == {"main": head}
        assert opened.elements == ("Li", "P", "S")
    assert str(finished.database) in repr(opened)
    with pytest.raises(NodeNotFoundError, match="no node 'tiny'"):
        coevo.open("tiny")


@pytest.mark.parametrize("wrong", ["", "sqlite://x", "http://u:secret@host/x", "mongomock://x"])
def test_what_is_no_database_is_told_without_its_password(node: Node, wrong: str) -> None:
    with pytest.raises(ConfigError, match=r"coevo\.open: database: got .*allowed: file:DIRECTORY, a path") as caught:
        coevo.open("tiny", database=wrong)
    assert "secret" not in str(caught.value)


def test_a_relative_path_is_of_the_directory_in_which_it_is_opened(
    node: Node, finished: Coevo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(finished.database.parent)
    opened = coevo.open("tiny", finished.database.name)
    monkeypatch.chdir(tmp_path)
    assert opened.state() == node.state()
    assert not list(tmp_path.iterdir())


def test_nodes_and_states_can_be_pickled_and_copied(node: Node, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    state = node.state("main~1")
    state.to_dataframe()  # it has read something
    stored = pickle.dumps((node, state))
    monkeypatch.setenv("COEVO_DATABASE", f"file:{tmp_path}")
    node_again, state_again = pickle.loads(stored)
    assert node_again.branches == node.branches
    assert (state_again, state_again.branch) == (state, "main")
    assert state_again.to_dataframe().equals(state.to_dataframe())
    assert copy.deepcopy(state) == state


def test_what_opens_a_server_is_in_no_pickle(node: Node, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    server = open_store(Settings(database="mongodb://me:secret@host.invalid/db", artifacts=f"file://{tmp_path}"))
    stored = pickle.dumps(Node(server, "tiny"))
    assert b"secret" not in stored
    with pytest.raises(ConfigError, match=r"reads mongodb://host\.invalid/db, and COEVO_DATABASE of this process leads to"):
        pickle.loads(stored)
    monkeypatch.setenv("COEVO_DATABASE", "mongodb://me:secret@host.invalid/db")
    assert pickle.loads(stored).store.place == server.place


def test_states_are_named_as_on_the_command_line(node: Node) -> None:
    head = node.state()
    assert [state.iteration for state in node.history()] == [2, 1, 0]
    for ref in ("main", "main~0", "tiny@main", head.id, head.id[:8]):
        assert node.state(ref) == head
    earlier = node.state("main~1")
    assert earlier.iteration == 1
    assert head.parent() == earlier
    assert len({head, node.state(), earlier}) == 2
    assert (head.branch, node.state(head.id[:8]).branch) == ("main", None)
    assert f"tiny@{head.id[:12]}, iteration 2" in repr(head)


@pytest.mark.parametrize("ref", ["nope", "main~9", "other@main", "", "a b"])
def test_what_names_no_state_is_told(node: Node, ref: str) -> None:
    with pytest.raises(StateNotFoundError):
        node.state(ref)
