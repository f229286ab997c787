"""Calibrate environments: at what distance two environments are two, from references that vibrate; once for a node."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any, ClassVar

from coevo.configs.tree import NodeSection  # noqa: TC001 - jobflow reads the field's type
from coevo.makers.checkpoints import load_force_field
from coevo.makers.screen import FIRST_PACKAGES, family_of
from coevo.makers.step import StepMaker, current_store, read_records, step, versions_of_family

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coevo.makers.outputs import CalibratedEnvironments, Checkpoint
    from coevo.makers.step import Record, ShardReference
    from coevo.node_store.views import StateView


@dataclass
class CalibrateEnvironmentsMaker(StepMaker):
    """Measure the resolution of a node, or hand on that of the state before.

    Attributes
    ----------
    node : NodeSection
    """

    name: str = "calibrate-environments"
    node: NodeSection = field(kw_only=True)

    packages: ClassVar[tuple[str, ...]] = FIRST_PACKAGES

    def versions(self, inputs: Mapping[str, Any]) -> dict[str, str]:
        """Those of the family of the checkpoint."""
        return versions_of_family(self, "force_field", family_of(inputs, ""))

    @step
    def make(
        self, checkpoint: Checkpoint, parents: list[str], shards: list[ShardReference] | None = None
    ) -> CalibratedEnvironments:
        """Calibrate.

        Parameters
        ----------
        checkpoint : dict
            Of the force field by which atoms move, if no parent, and no state that one continues, has a calibration for the
            elements of the node.
        parents : list of str
            Ids of the states before, that of the state that is continued first.
        shards : list of dict, optional
            Shard references of evaluated structures, whose references are shaken; those of the first parent if there are none.

        Returns
        -------
        dict
            ``calibration`` (:func:`coevo.makers.signals.environment_calibration.calibrated`); of several parents with ``merged``,
            what each of them had.
        """
        from coevo.makers.populations.population import open_state
        from coevo.makers.signals.environment_calibration import calibrated

        store = current_store()
        views = [open_state(store, self.node.name, parent) for parent in parents]
        known = [newest_calibration(view, self.node.elements) for view in views]
        found = next((calibration for calibration in known if calibration is not None), None)
        if found is None:
            records = self._references(shards) if shards else population_references(views)
            found = calibrated(records, self.node, load_force_field(store, checkpoint), checkpoint["sha256"])
        if len(parents) > 1:
            names = ("delta", "delta90", "force_field")
            found = {**found, "merged": [None if one is None else {name: one[name] for name in names} for one in known]}
        return {"calibration": found}

    def _references(self, shards: list[ShardReference]) -> list[Record]:
        rows = {r["id"]: r for r in read_records(current_store(), shards) if r["kind"] == "reference"}
        return [rows[identifier] for identifier in sorted(rows)]


def newest_calibration(view: StateView, elements: Sequence[str]) -> Record | None:
    """Return the calibration of a state, or the newest of those that it continues: some may have judged by entropy."""
    from coevo.makers.signals.environment_calibration import known_calibration

    lineage = (known_calibration(one.document["metrics"], elements) for one in chain([view], view.first_parents()))
    return next((found for found in lineage if found is not None), None)


def population_references(views: Sequence[Any]) -> list[Record]:
    """References of the first of some states at their present geometry."""
    from coevo.makers.populations.population import members
    from coevo.node_store.canonical import structure_document

    return [{"id": m.id, "structure": structure_document(m.structure)} for m in members(views[0], "reference")] if views else []
