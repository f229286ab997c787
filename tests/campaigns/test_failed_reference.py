"""One label of an elemental reference that failed does not keep a node from training: it is tried again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pymatgen.core import Structure

from coevo.campaigns.labelling import label_head
from coevo.campaigns.running import run_campaign
from coevo.labelling.contract import LabelResult
from coevo.makers import label as label_module
from coevo.makers.step import current_store

if TYPE_CHECKING:
    from coevo.node_store.store import NodeStore
    from coevo.node_store.views import StateView
    from tiny_node import Coevo

pytestmark = pytest.mark.filterwarnings("ignore")


class FailsOnce:
    """A labelling code that fails on sulphur as often as it is told to."""

    def __init__(self, labeller: Any, failures: list[str]):
        self.labeller = labeller
        self.failures = failures

    def settings(self) -> Any:
        return self.labeller.settings()

    def label(self, frames: list[Structure], *, progress: Any = None) -> list[LabelResult]:
        results = self.labeller.label(frames, progress=progress)
        for index, frame in enumerate(frames):
            if frame.composition.chemical_system == "S" and self.failures:
                results[index] = LabelResult("failed", self.failures.pop())
        return results


@pytest.fixture
def store(fresh: Coevo, monkeypatch: pytest.MonkeyPatch) -> NodeStore:
    monkeypatch.setenv("COEVO_DATABASE", f"file:{fresh.database}")
    monkeypatch.setenv("COEVO_WORKERS", "1")
    failures = ["crashed"]
    labeller_for = label_module.labeller_for
    monkeypatch.setattr(label_module, "labeller_for", lambda *a, **k: FailsOnce(labeller_for(*a, **k), failures))
    return current_store()


def run(store: NodeStore) -> StateView:
    run_campaign(store, "tiny", branch="main", iterations=1, say=lambda line: None, on_state=lambda view: None)
    return store.state("tiny")


def sulphur(view: StateView) -> list[str]:
    """Statuses of the labels of sulphur alone."""
    return sorted(x["status"] for x in view.labels() if {s["species"][0]["element"] for s in x["structure"]["sites"]} == {"S"})


@pytest.mark.long
def test_the_next_iteration_and_coevo_label_mend_it(store: NodeStore) -> None:
    first = run(store)
    field = first.document["metrics"]["force_field"]
    assert not field["adopted"]
    assert "no labelled elemental reference of S" in field["reason"]
    assert first.manifest["offsets"] == {}
    assert sulphur(first) == ["failed"]
    store.create_branch(first, "labelled")
    # the next iteration tries again, and trains on the labels of both
    second = run(store)
    field = second.document["metrics"]["force_field"]
    assert "fit" in field, field["reason"]
    assert sulphur(second) == ["admitted", "failed"]
    assert [sorted(found["elements"]) for found in second.manifest["offsets"].values()] == [["Li", "P", "S"]]
    assert "S: " in second.document["metrics"]["labels"]["notes"][0]
    assert sum(field["frames"].values()) == sum(label["status"] == "admitted" for label in second.labels())
    # and so does coevo label
    labelled, _ = label_head(store, "tiny", "labelled", limit=1, labeller=None, competing=False, say=lambda line: None)
    assert sulphur(labelled) == ["admitted", "failed"]
    assert [sorted(found["elements"]) for found in labelled.manifest["offsets"].values()] == [["Li", "P", "S"]]
