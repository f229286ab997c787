"""One server for all tests of serving that one process runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from coevo.node_store.store import open_store
from coevo.node_store.study_commit import commit_study
from coevo.node_store.views import StateView
from coevo.settings import Settings
from serve_process import ServeProcess
from tiny_node import Coevo, copy_of


@pytest.fixture(scope="session")
def coevo(finished: Coevo, tmp_path_factory: pytest.TempPathFactory) -> Coevo:
    """A copy of the tiny node with a branch whose name looks like others, and a study of its newest state."""
    found = copy_of(finished.directory, tmp_path_factory.mktemp("served"))
    found("branch", "tiny@main~1", "older")
    store = open_store(Settings(database=f"file:{found.database}"))
    commit_study(store, study_of(store.state("tiny")))
    return found


def study_of(view: StateView) -> dict[str, Any]:
    """A study that calls the first entry stable and the second one not, and says nothing of others."""
    asked = list(view.entries(limit=2))
    volumes = {row["structure_id"]: row["volume_per_atom"] for row in asked}
    return {
        "kind": "coevo-study",
        "version": 1,
        "study": "tiny",
        "node": view.node,
        "state": view.id,
        "checkpoints": {"force_field": view.document["checkpoints"]["force_field"]["sha256"]},
        "phases": [{"id": row["structure_id"], "formula": row["chemical_formula_reduced"], "kind": "entry"} for row in asked],
        "settings": {"scale": 1.0, "limit": 20.0},
        "packages": {"<script>window.hacked = 1</script>": "1"},
        "results": {"volumes": volumes},
        "entries": {row["structure_id"]: {"dynamically_stable": place == 0} for place, row in enumerate(asked)},
        "softness": None,
        "artifacts": [],
    }


@pytest.fixture(scope="session")
def server(coevo: Coevo) -> Iterator[ServeProcess]:
    with ServeProcess(coevo) as found:
        yield found
