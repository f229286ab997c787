"""The held-out set: one for all states of a node, never trained on; rules on histories made by hand, and a real node."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from coevo.makers.checkpoints import load_force_field
from coevo.makers.signals.held_out import MOST_FRAMES, eligible, held_out_for, held_out_of, model_line
from coevo.makers.step import read_records
from coevo.models.contracts import Prediction
from coevo.node_store.canonical import structure_from_document
from coevo.node_store.store import open_store
from coevo.settings import Settings
from tiny_node import Coevo

OFFSETS = {"d1": {}, "d2": {}}


def label(name: str, split: str = "test", **more: Any) -> dict[str, Any]:
    plain = {"_id": name, "family": f"of {name}", "frame": f"at {name}", "how": "random", "status": "admitted"}
    return {**plain, "settings_digest": "d1", "code": "teacher", "functional": "r2SCAN", "split": split, **more}


@dataclass
class State:
    """What the rules read of a state."""

    iteration: int
    rows: list[dict[str, Any]] = field(default_factory=list)
    before: list[State] = field(default_factory=list)
    model: str = "model"
    trained_from: str | None = None
    recorded: dict[str, Any] | None = None

    @property
    def document(self) -> dict[str, Any]:
        metrics = {"held_out": self.recorded} if self.recorded else {}
        return {"metrics": metrics, "checkpoints": {"force_field": {"sha256": self.model, "parent": self.trained_from}}}

    @property
    def manifest(self) -> dict[str, Any]:
        return {"labels": {row["_id"]: row["split"] for row in self.rows}, "offsets": OFFSETS}

    def labels(self) -> list[dict[str, Any]]:
        return sorted(self.rows, key=lambda row: row["_id"])

    def parent_views(self) -> list[State]:
        return self.before


def names(found: Any) -> list[str]:
    return [] if found is None else found.ids


def test_what_is_held_out_is_admitted_test_labels_with_offsets() -> None:
    rows = [
        label("a"),
        label("b", "train"),
        label("c", "validation"),
        label("d", status="rejected"),
        label("e", how="stiffness"),
        label("f", settings_digest="without offsets"),
        label("g"),
    ]
    assert names(held_out_for(None, rows, OFFSETS, 1)) == ["a", "g"]


@pytest.mark.parametrize("shared", [{"family": "one"}, {"frame": "one"}])
@pytest.mark.parametrize("split", ["train", "validation"])
def test_a_family_or_frame_with_a_label_in_another_split_is_left_out(shared: dict[str, str], split: str) -> None:
    """As a reference of which a label of other settings joins the energy scales, and is trained on."""
    rows = [label("a", **shared), label("b"), label("c", split, how="reference", settings_digest="d2", **shared)]
    assert names(held_out_for(None, rows, OFFSETS, 1)) == ["b"]


def test_the_set_is_of_one_digest_and_bounded() -> None:
    rows = [label(f"{n:04d}", settings_digest="d2") for n in range(MOST_FRAMES + 20)] + [label("x"), label("y")]
    found = eligible(list(reversed(rows)), OFFSETS)
    assert [row["_id"] for row in found] == [f"{n:04d}" for n in range(MOST_FRAMES)]


def test_later_labels_do_not_join() -> None:
    first = State(1, [label("a"), label("b")])
    fixed = held_out_for(State(0), first.rows, OFFSETS, 1)
    assert fixed is not None
    first.recorded = fixed.to_dict()
    assert first.recorded["ids"] == ["a", "b"]
    second = State(2, [*first.rows, label("c"), label("d", "train")], [first])
    found = held_out_for(second, [*second.rows, label("e")], OFFSETS, 3)
    assert found is not None
    assert (found.ids, found.since, "ids" in found.to_dict()) == (["a", "b"], 1, False)
    assert found.to_dict()["digest"] == first.recorded["digest"]


def test_a_node_of_before_gets_the_set_that_its_first_labelled_state_would_have_fixed() -> None:
    first = State(1, [label("a", "train")])
    second = State(2, [*first.rows, label("b")], [first])
    third = State(3, [*second.rows, label("c")], [second])
    found = held_out_for(third, [*third.rows, label("d")], OFFSETS, 4)
    assert found is not None
    assert (found.ids, found.since, found.is_new) == (["b"], 2, True)


def test_a_label_that_was_superseded_stays_and_one_that_is_trained_on_does_not() -> None:
    first = State(1, [label("a"), label("b"), label("c")], recorded={"ids": ["a", "b", "c"], "since": 1})
    found = held_out_for(first, [label("b"), label("c", "train"), label("new", supersedes=["a"])], OFFSETS, 2)
    assert names(found) == ["a", "b"]


def test_after_a_merge_the_set_is_that_of_the_model_that_goes_on() -> None:
    left = State(1, [label("l")], model="left", recorded={"ids": ["l"], "since": 1})
    right = State(1, [label("r")], model="right", recorded={"ids": ["r"], "since": 1})
    for trained_from, model in (("right", "new"), (None, "right")):
        merged = State(2, [label("l"), label("r")], [left, right], model=model, trained_from=trained_from)
        assert [state.model for state in model_line(merged)] == [model, "right"]
        assert names(held_out_of(merged)) == ["r"]
    assert names(held_out_of(State(2, [label("l"), label("r")], [left, right], model="new", trained_from="left"))) == ["l"]


def test_of_parents_with_one_model_the_one_whose_set_was_measured_goes_on() -> None:
    left = State(1, [label("l")], recorded={"ids": ["l"], "since": 1, "digest": "of l"})
    right = State(1, [label("r")], recorded={"ids": ["r"], "since": 1, "digest": "of r"})
    for recorded, expected in (("of r", "r"), ("of l", "l"), ("of neither", "l")):
        merged = State(2, [label("l"), label("r")], [left, right], recorded={"digest": recorded, "since": 1})
        assert names(held_out_of(merged)) == [expected]


def test_of_what_a_stranger_recorded_only_labels_that_can_be_held_out_count() -> None:
    rows = [
        label("a"),
        label("b"),
        label("c", settings_digest="d2"),
        label("no offsets", settings_digest="d3"),
        label("rejected", status="rejected"),
        label("soft", how="stiffness"),
        label("trained", "train"),
    ]
    ids = [*(row["_id"] for row in rows), "of no label", 7, None, ["a"]]
    state = State(1, rows, recorded={"ids": ids, "since": 1})
    assert names(held_out_of(state)) == ["a", "b"]
    many = [label(f"{n:04d}") for n in range(MOST_FRAMES + 5)]
    found = held_out_of(State(1, many, recorded={"ids": [row["_id"] for row in many], "since": 1}))
    assert names(found) == [f"{n:04d}" for n in range(MOST_FRAMES)]


@pytest.mark.parametrize(
    "recorded",
    [
        "text",
        ["a"],
        {"ids": "a", "since": 1},
        {"ids": {"a": 1}, "since": 1},
        {"ids": ["a"]},
        {"ids": ["a"], "since": True},
        {"ids": ["a"], "since": "1"},
        {"ids": ["of no label"], "since": 1},
    ],
)
def test_a_record_that_fixes_nothing_is_none(recorded: Any) -> None:
    """The set is then that of the next state of the line that fixed one."""
    first = State(1, [label("a"), label("b")], recorded={"ids": ["b"], "since": 1})
    found = held_out_of(State(2, first.rows, [first], recorded=recorded))
    assert names(found) == ["b"]


def test_a_model_of_another_node_says_what_it_was_not_trained_on() -> None:
    rows = [label("a"), label("b"), label("c")]
    assert names(held_out_for(None, rows, OFFSETS, 0, ["b"])) == ["b"]
    assert held_out_for(None, rows, OFFSETS, 0, []) is None


@pytest.fixture
def store(finished: Coevo, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COEVO_DATABASE", f"file:{finished.database}")
    with open_store(Settings(database=f"file:{finished.database}")) as store:
        yield store


def test_each_state_of_a_node_records_its_model_on_the_same_frames(store) -> None:
    views = [store.state(f"tiny~{back}") for back in (2, 1, 0)]
    assert "held_out" not in views[0].document["metrics"]
    recorded = [view.document["metrics"].get("held_out") for view in views]
    with_one = [(view, found) for view, found in zip(views, recorded, strict=True) if found]
    assert with_one
    assert len({found["digest"] for _, found in with_one}) == 1
    assert "ids" in with_one[0][1]
    for view, found in with_one:
        labels = {row["_id"]: row for row in view.labels()}
        ids = with_one[0][1]["ids"]
        assert all(labels[name]["split"] == "test" for name in ids)
        force_field = load_force_field(store, view.document["checkpoints"]["force_field"])
        forces = []
        for name in ids:
            (prediction,) = force_field.evaluate([structure_from_document(labels[name]["structure"])])
            assert isinstance(prediction, Prediction)
            forces.append((prediction.forces - np.array(labels[name]["forces"])).ravel())
        rmse = 1000 * np.sqrt(np.mean(np.concatenate(forces) ** 2))
        assert found["errors"]["force_rmse_mev_per_angstrom"] == pytest.approx(rmse, rel=1e-3)


def test_no_model_of_the_node_was_trained_on_them(store) -> None:
    view = store.state("tiny")
    held_out = held_out_of(view)
    assert held_out is not None
    families = {row["family"] for row in held_out.labels}
    rows = {row["_id"]: row for row in view.labels()}
    trained = 0
    for state in model_line(view):
        digest = state.document["checkpoints"]["force_field"].get("training_set")
        for row in read_records(store, {"sha256": digest}) if digest else ():
            trained += 1
            assert row["id"] not in held_out.ids
            assert rows[row["id"]]["family"] not in families
    assert trained
