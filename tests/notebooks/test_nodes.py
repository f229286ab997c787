"""Opening nodes and states, and what ``import coevo`` offers and costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import coevo
from coevo.errors import ConfigError, NodeNotFoundError, StateNotFoundError
from coevo.notebooks.nodes import Node
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
    for database in (f"file:{finished.database}", finished.database):
        opened = coevo.open("tiny", database=database)
        assert opened.branches == {"main": head}
        assert opened.elements == ("Li", "P", "S")
    assert str(finished.database) in repr(opened)
    with pytest.raises(NodeNotFoundError, match="no node 'tiny'"):
        coevo.open("tiny")
    with pytest.raises(ConfigError, match="COEVO_DATABASE must be"):
        coevo.open("tiny", database=str(finished.database))


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
