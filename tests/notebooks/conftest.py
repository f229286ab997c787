"""The small node after two transitions, opened as a notebook opens it."""

from __future__ import annotations

import pytest

import coevo
from coevo.notebooks.nodes import Node
from coevo.notebooks.states import State
from tiny_node import Coevo


@pytest.fixture
def node(finished: Coevo, monkeypatch: pytest.MonkeyPatch) -> Node:
    monkeypatch.setenv("COEVO_DATABASE", f"file:{finished.database}")
    monkeypatch.delenv("COEVO_ARTIFACTS", raising=False)
    return coevo.open("tiny")


@pytest.fixture
def state(node: Node) -> State:
    return node.state()
