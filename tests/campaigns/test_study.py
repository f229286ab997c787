"""Studies that are run in this process: phases that are chosen, documents that are found again, killed ones that go on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import tiny_study
from coevo.campaigns.study import run_study
from coevo.campaigns.study_phases import choose_phases
from coevo.flows.studies.registry import KINDS
from coevo.node_store.store import open_store
from coevo.settings import Settings
from tiny_node import copy_of
from tiny_study import TinyStudy

if TYPE_CHECKING:
    from pathlib import Path

    from coevo.node_store.store import NodeStore
    from tiny_node import Coevo


@pytest.fixture
def store(finished: Coevo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NodeStore:
    """A store with a finished tiny node, and the tiny kind of study."""
    coevo = copy_of(finished.directory, tmp_path)
    monkeypatch.setenv("COEVO_DATABASE", f"file:{coevo.database}")
    monkeypatch.setitem(KINDS, "tiny", tiny_study.TINY_KIND)
    return open_store(Settings(database=f"file:{coevo.database}"))


def test_a_study_stands_beside_its_state_which_does_not_change(store: NodeStore) -> None:
    view = store.state("tiny")
    before = store.backend.state_document("tiny", view.id)
    phases = choose_phases(view, "energy_above_hull < 0.5", references=True, limit=5)
    study = run_study(store, view, "tiny", TinyStudy(scale=2.0), phases)
    assert store.backend.state_document("tiny", view.id) == before
    assert [found.id for found in view.studies()] == [study.id] == [found.id for found in store.studies("tiny")]
    assert view.studies("other") == [] == store.state("tiny~1").studies()
    document = study.document
    assert [phase["id"] for phase in document["phases"]] == [phase["id"] for phase in phases.phases]
    for phase in phases.phases:
        structure = view.structure(phase["id"])
        assert document["results"]["volumes"][phase["id"]] == pytest.approx(2 * structure.volume / len(structure), rel=1e-12)
    assert document["checkpoints"] == {"force_field": view.document["checkpoints"]["force_field"]["sha256"]}
    assert store.artifacts.get_bytes(document["artifacts"][0]["sha256"]).count(b"\n") == len(phases.phases)
