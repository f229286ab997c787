"""Train a member: the node's own family once more, from its own parent, with a seed and splits of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coevo.makers.step import current_store, read_records, step
from coevo.makers.train_force_field import TrainForceFieldMaker
from coevo.node_store.seeds import seed_for

if TYPE_CHECKING:
    from coevo.makers.outputs import Checkpoint, TrainedForceField, TrainedMember
    from coevo.makers.step import Record

SPLIT_SEED = 1_000_003
"""Distance of the seeds of members' splits, which derive from the node's alone, as those of the state's own force field do."""


@dataclass
class TrainMemberMaker(TrainForceFieldMaker):
    """Fine-tune one member on the labels of the new state; what is test for the state is test for all its members.

    Attributes
    ----------
    number : int
        Of the member, from 1.
    """

    name: str = "train-member"
    number: int = 1

    @step
    def make(  # type: ignore[override]
        self,
        trained: TrainedForceField,
        checkpoint: Checkpoint,
        parents: list[str],
        iteration: int,
        first: bool = False,
        start: str = "",
    ) -> TrainedMember:
        """Train.

        Parameters
        ----------
        trained : dict
            Output of the train-force-field job: labels, splits and offsets of the new state.
        checkpoint : dict
            Of the member in the state that is continued; of that state's force field where there is no such member yet.
        parents : list of str
            Ids of the parent states, which have the older labels.
        iteration : int
        first : bool
            Whether there is no such member yet.
        start : str
            Of two parents the one that is continued; labels of the other are new to the member.

        Returns
        -------
        dict
            ``checkpoint`` (None: there is no such member yet, and no fit was adopted), ``adopted``, ``reason``, ``test_before``
            and ``test_after`` (errors on the state's test split), ``frames`` by the member's own splits, ``fit``.
        """
        from coevo.makers.labels.stiffness import without_stiffness
        from coevo.makers.populations.population import open_state

        store = current_store()
        splits = {row["id"]: row["split"] for row in read_records(store, trained["splits"])}
        new = {label["_id"]: label for label in read_records(store, trained["labels"])}
        labels: dict[str, Record] = dict(new)
        mine: set[str] = set()
        for parent in sorted(parents, key=lambda identifier: (identifier != start, identifier)):
            view = open_state(store, self.node.name, parent)
            if not start or parent == start:
                mine.update(view.manifest["labels"])
            for label in view.labels():
                labels.setdefault(label["_id"], label)
        samples = without_stiffness(labels[i] for i in sorted(labels) if i in splits)
        usable = [label for label in samples if label["settings_digest"] in trained["offsets"]]
        kept: TrainedMember = {"checkpoint": None if first else checkpoint, "adopted": False, "reason": ""}
        if not trained.get("frames"):
            return {**kept, "reason": f"nothing to train on: {trained['reason']}"}
        fresh = [label for label in usable if label["_id"] not in mine]
        older = [label for label in usable if label["_id"] in mine]
        if not any(label["status"] == "admitted" for label in fresh):  # a member that begins later learns from what is there
            fresh, older = usable, []
        own = self._splits(usable, splits)
        found: Any = self._train(store, fresh, older, own, checkpoint, dict(trained["offsets"]), iteration)
        told = {
            key: found[key] for key in ("reason", "test_before", "test_after", "test_loss_ratio", "frames", "fit") if key in found
        }
        result: Any = {**kept, **told}
        if found["adopted"]:
            result |= {"checkpoint": found["checkpoint"], "adopted": True}
        return result

    def _splits(self, labels: list[Record], splits: dict[str, str]) -> dict[str, str]:
        """Train and validation by another hash of the families; test stays test, and what fixes the offsets is trained on.

        Families that are one crystal, which the state's own splits keep together, may be parted between train and validation.
        """
        from coevo.analysis.selection import position_of
        from coevo.makers.labels.imported import ANCHORS

        share = self.training.validation_fraction / max(1.0 - self.training.test_fraction, 1e-9)
        anchored = {label["family"] for label in labels if label["how"] in ANCHORS}
        seed = self.node.seed + SPLIT_SEED * self.number
        own = {}
        for label in labels:
            split = splits[label["_id"]]
            if split != "test":
                held = label["family"] not in anchored and position_of(str(label["family"]), seed) < share
                split = "validation" if held else "train"
            own[label["_id"]] = split
        admitted = {own[label["_id"]] for label in labels if label["status"] == "admitted"}
        # few families: a split of its own may have no validation frames, or nothing else
        return own if {"train", "validation"} <= admitted else {label["_id"]: splits[label["_id"]] for label in labels}

    def _seed(self, iteration: int, what: str) -> int:
        return seed_for(self.node, iteration, f"{what} of member", self.number)
