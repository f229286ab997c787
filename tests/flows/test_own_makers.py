"""A transition with Makers of the user's own: labels as in the example of docs/labels.md, and a screen that relaxes nothing."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from jobflow import Flow, JobStore, Maker, job, run_locally
from maggma.stores import MemoryStore

from coevo.campaigns.merging import checkpoints_of
from coevo.configs.loading import parse_config
from coevo.errors import ConfigError
from coevo.flows.transition import CoevolutionMaker
from coevo.makers.curate import CurateMaker
from coevo.makers.outputs import check_labelled
from coevo.makers.step import current_store
from tiny_node import Coevo

pytestmark = pytest.mark.filterwarnings("ignore")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "labels.md"


@dataclass
class Unrelaxed(Maker):
    """Keeps candidates as they are, with the energies of the node's force field."""

    name: str = "screen"

    @job
    def make(self, candidates: Any, checkpoint: Any) -> Any:
        from coevo.makers.checkpoints import load_force_field
        from coevo.makers.step import read_records, write_records
        from coevo.node_store.canonical import structure_from_document

        store = current_store()
        records = list(read_records(store, candidates))
        found = load_force_field(store, checkpoint).evaluate([structure_from_document(r["structure"]) for r in records])
        relaxed, failed = [], []
        for record, point in zip(records, found, strict=True):
            if hasattr(point, "reason"):
                failed.append({**record, "reason": point.reason, "detail": ""})
                continue
            relaxed.append({**record, "energy_per_atom": point.energy, "fmax": point.fmax, "steps": 0, "path": []})
        reasons = {reason: sum(r["reason"] == reason for r in failed) for reason in {r["reason"] for r in failed}}
        return {
            "relaxed": write_records(store, relaxed),
            "failed": write_records(store, failed),
            "rejected": reasons,
            "steps": 0,
        }


@pytest.fixture
def label_maker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[Maker]:
    """The class of the page, from a file of the user's."""
    section = PAGE.read_text(encoding="utf-8").partition("### A Maker of your own in a transition")[2]
    (tmp_path / "own_labels.py").write_text(re.search(r"```python\n(.*?)```", section, flags=re.DOTALL)[1])
    monkeypatch.syspath_prepend(str(tmp_path))
    import own_labels

    monkeypatch.delitem(sys.modules, "own_labels")
    monkeypatch.setitem(sys.modules, "own_labels", own_labels)
    return own_labels.LennardJonesLabels


def test_a_transition_with_own_makers(fresh: Coevo, label_maker: type[Maker], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COEVO_DATABASE", f"file:{fresh.database}")
    monkeypatch.setenv("COEVO_WORKERS", "1")
    store = current_store()
    head = store.state("tiny")
    config = parse_config(store.read_config_text("tiny"), "tiny")
    flow = CoevolutionMaker(config=config, screen_maker=Unrelaxed(), label_maker=label_maker(node=config.node)).make(
        head.id, head.iteration + 1, **checkpoints_of(head, config)
    )
    names = [made.name for made, _ in flow.iterflow()]
    assert {"tiny/1/label", "tiny/1/screen/0000", "tiny/1/screen/0001"} <= set(names)
    run_locally(flow, store=JobStore(MemoryStore()), log=False, ensure_success=True)
    state = store.state("tiny")
    assert state.iteration == head.iteration + 1
    assert state.document["metrics"]["iteration"]["relaxation_steps"] == 0
    labels = list(state.labels())
    assert labels
    assert {label["code"] for label in labels} == {"lennard-jones"}
    assert {label["first_principles"] for label in labels} == {False}
    # references of each element are among them, so that the two energy scales could be joined
    assert {label["how"] for label in labels} >= {"reference"}
    assert [d for d in state.evaluations() if d.get("energy_above_hull_dft") is not None] == []


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (None, "output of the label step: got a NoneType, without packets"),
        ({}, "output of the label step: got a mapping of nothing, without packets"),
        ({"packets": "abc"}, "packet of the label step: got a str, without labels, counts, reasons"),
        ({"packets": [{"labels": {}}]}, "packet of the label step: got a mapping of labels, without counts, reasons"),
    ],
)
def test_a_label_maker_that_gives_something_else_is_told(found: Any, told: str) -> None:
    check_labelled({"packets": []})
    with pytest.raises(ConfigError, match=re.escape(told)):
        check_labelled(found)


@dataclass
class Screening(Maker):
    """Gives what it is told to."""

    name: str = "screen"
    output: Any = None
    record: Any = None

    @job
    def make(self, candidates: Any, checkpoint: Any) -> Any:
        from coevo.makers.step import write_records

        if self.record is not None:
            nothing = {"failed": write_records(current_store(), []), "rejected": {}, "steps": 0}
            return {"relaxed": write_records(current_store(), [self.record]), **nothing}
        return self.output


@pytest.mark.parametrize(
    ("screening", "told"),
    [
        (Screening(output=[1, 2]), "output of the screen step: got a list, without relaxed, failed, rejected, steps"),
        (Screening(output={"relaxed": []}), "got a mapping of relaxed, without failed, rejected, steps"),
        (
            Screening(record={"id": "a"}),
            "structure that the screen step relaxed: got a mapping of id, without structure, energy_per_atom",
        ),
    ],
)
def test_a_screen_maker_that_gives_something_else_is_told(
    fresh: Coevo, screening: Maker, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COEVO_DATABASE", f"file:{fresh.database}")
    store = current_store()
    head = store.state("tiny")
    config = parse_config(store.read_config_text("tiny"), "tiny")
    screened = screening.make({}, {})
    curate = CurateMaker("curate", node=config.node).make(
        [], [screened.output], checkpoints_of(head, config)["force_field"], head.id, 1
    )
    with pytest.raises(ConfigError, match=re.escape(told)):
        run_locally(Flow([screened, curate]), store=JobStore(MemoryStore()), log=False, raise_immediately=True)
