"""Labels that came along with a state, seen by the force field of a new node: offsets between the scales, and its errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from coevo.makers.step import current_store, read_records, step, write_records
from coevo.makers.train_force_field import TrainForceFieldMaker

if TYPE_CHECKING:
    from coevo.makers.outputs import Checkpoint, TrainedForceField
    from coevo.makers.step import Document, ShardReference

MEASURED = "not trained yet, the labels that came along measure it"


@dataclass
class FitOffsetsMaker(TrainForceFieldMaker):
    """Join the energy scales of labels with that of a force field and measure its errors on them; it stays as it is.

    Its ``training`` is switched off: then offsets are found for labels of all settings. The MP2020 correction is added and taken
    away as for labels of the node's own (:func:`coevo.makers.labels.training_set.corrected_energy`).
    """

    @step
    def make(  # type: ignore[override]
        self, labels: ShardReference, splits: ShardReference, checkpoint: Checkpoint, offsets: Document
    ) -> TrainedForceField:
        """Fit the offsets.

        Parameters
        ----------
        labels : dict
            Shard reference of label documents.
        splits : dict
            Shard reference of ``{id, split}`` for all of them.
        checkpoint : dict
            Force-field checkpoint of the new node.
        offsets : dict
            Those that stay, by digest of the settings of labels, because they lead to this force field already.

        Returns
        -------
        dict
            As :meth:`TrainForceFieldMaker.make`; ``labels`` is empty.
        """
        store = current_store()
        rows = list(read_records(store, labels))
        split_of = {row["id"]: row["split"] for row in read_records(store, splits)}
        found = self._train(store, rows, [], split_of, checkpoint, dict(offsets), 0)
        if offsets:  # a force field that goes on may have been trained on them
            found.pop("prequential", None)
        reason = MEASURED if found.get("frames") else found["reason"]
        return {**found, "reason": reason, "labels": write_records(store, []), "splits": splits}
