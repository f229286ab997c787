"""Splits of a member: its own train and validation, and the test of the state."""

from __future__ import annotations

from collections import Counter
from typing import Any

from coevo.configs.tree import NodeSection, TrainingConfig
from coevo.configs.uncertainty_section import UncertaintyConfig
from coevo.makers.committee.errors_and_spreads import calibrated, not_seen
from coevo.makers.committee.train_member import TrainMemberMaker

NODE = NodeSection(name="a", elements=("Li", "S"), references="x", seed=4)
TRAINING = TrainingConfig(test_fraction=0.2, validation_fraction=0.2)


def labels(count: int) -> list[dict[str, Any]]:
    rows = [
        {"_id": f"{family}-{frame}", "family": f"{family:064x}", "how": "random", "status": "admitted"}
        for family in range(count)
        for frame in range(2)
    ]
    return [*rows, {"_id": "anchor", "family": "f" * 64, "how": "reference", "status": "admitted"}]


def splits(rows: list[dict[str, Any]]) -> dict[str, str]:
    order = ("test", "validation", "train", "train", "train")
    return {row["_id"]: "train" if row["_id"] == "anchor" else order[int(row["family"], 16) % 5] for row in rows}


def test_members_share_the_test_split_and_nothing_else() -> None:
    rows = labels(200)
    state = splits(rows)
    found = [TrainMemberMaker(node=NODE, training=TRAINING, number=number)._splits(rows, state) for number in (1, 2)]
    for own in found:
        assert {i for i, split in own.items() if split == "test"} == {i for i, split in state.items() if split == "test"}
        assert own["anchor"] == "train"
        by_family: dict[str, set[str]] = {}
        for row in rows:
            by_family.setdefault(row["family"], set()).add(own[row["_id"]])
        assert all(len(one) == 1 for one in by_family.values())
        share = Counter(own.values())["validation"] / len(rows)
        assert 0.12 < share < 0.28
    assert found[0] != found[1]
    # a family that is there keeps its split when others come
    fewer = labels(100)
    again = TrainMemberMaker(node=NODE, training=TRAINING, number=1)._splits(fewer, splits(fewer))
    assert all(found[0][i] == split for i, split in again.items())


def test_few_families_take_the_splits_of_the_state() -> None:
    rows = labels(2)
    state = {row["_id"]: "validation" if row["family"] == "0" * 64 else "train" for row in rows}
    for number in range(1, 12):
        own = TrainMemberMaker(node=NODE, training=TRAINING, number=number)._splits(rows, state)
        assert set(own.values()) == {"train", "validation"}


def test_labels_of_stiffness_are_no_new_labels_to_be_calibrated_on() -> None:
    """They are strained reference crystals, no sample of what the force field has to judge."""
    row = {"_id": "x", "family": "e" * 64, "how": "stiffness", "status": "admitted", "settings_digest": "d" * 64}
    scale = {"elements": ["Li", "S"], "values": [0.0, 0.0], "rank": 2, "residual_rms": 0.0, "n": 2}
    told: Any = calibrated(None, [row], {"d" * 64: scale}, {}, {}, {}, NODE, UncertaintyConfig(), 1)  # type: ignore[arg-type]
    assert told == {"calibration": None, "reason": "no new label whose energy can be compared"}


def test_a_frame_that_is_labelled_again_has_been_seen() -> None:
    def label(frame: str, digest: str, status: str = "admitted") -> dict[str, Any]:
        return {"_id": frame + digest, "frame": frame, "settings_digest": digest, "status": status}

    before = [label("a", "old"), label("b", "old", "failed")]
    new = [label("a", "new"), label("b", "new"), label("c", "new"), label("d", "new", "rejected")]
    assert [x["frame"] for x in not_seen(new, before)] == ["b", "c"]
