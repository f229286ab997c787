"""Train on a union: a merge fine-tunes one parent's force field on the labels of both."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coevo.makers.step import current_store, read_records, step, write_records
from coevo.makers.train_force_field import TrainForceFieldMaker

if TYPE_CHECKING:
    from coevo.makers.outputs import Checkpoint, TrainedForceField, United
    from coevo.makers.step import Record


@dataclass
class TrainOnUnionMaker(TrainForceFieldMaker):
    """Fine-tune the force field of one parent; the labels of the other are new to it, its own are replayed."""

    @step
    def make(  # type: ignore[override]
        self, united: United, checkpoint: Checkpoint, parents: list[str], start: str, iteration: int
    ) -> TrainedForceField:
        """Train.

        Parameters
        ----------
        united : dict
            Output of the unite job.
        checkpoint : dict
            Force-field checkpoint of the parent to start from.
        parents : list of str
            Ids of the parent states.
        start : str
            Id of the parent to start from.
        iteration : int

        Returns
        -------
        dict
            As :meth:`TrainForceFieldMaker.make`; ``labels`` is empty, because the parents hold them all.
        """
        from coevo.makers.populations.population import open_state

        store = current_store()
        labels: dict[str, Record] = {}
        for parent in sorted(parents, key=lambda identifier: (identifier != start, identifier)):
            for label in open_state(store, self.node.name, parent).labels():
                labels.setdefault(label["_id"], label)
        splits = {row["id"]: row["split"] for row in read_records(store, united["splits"])}
        labels = {identifier: label for identifier, label in labels.items() if identifier in splits}  # not what is superseded
        own = open_state(store, self.node.name, start).manifest["labels"]
        admitted = [label for label in labels.values() if label["status"] == "admitted"]
        settings_id = _most_used(admitted)
        # one fit has labels of one code and setting, unless the user mixes them; the others stay in the state for later
        mixed = self.training.mix_settings
        fitted = [labels[i] for i in sorted(labels) if mixed or labels[i]["settings_digest"] == settings_id]
        left_out = 0 if mixed else sum(label["settings_digest"] != settings_id for label in admitted)
        new, older = [x for x in fitted if x["_id"] not in own], [x for x in fitted if x["_id"] in own]
        result = self._train(store, new, older, splits, checkpoint, dict(united["offsets"]), iteration)
        if left_out:
            warning = f"{left_out} labels of other settings than {str(settings_id)[:12]} were not trained on"
            result["warning"] = "; ".join(text for text in (result["warning"], warning) if text)
        return {**result, "labels": write_records(store, []), "splits": united["splits"]}


def _most_used(labels: list[Record]) -> str | None:
    """Settings digest that most labels have; of equally many the first in order."""
    counts = Counter(label["settings_digest"] for label in labels)
    return min(counts, key=lambda digest: (-counts[digest], digest)) if counts else None
