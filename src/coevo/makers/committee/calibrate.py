"""Calibrate: errors of the parent's force field on the new labels, against what its members said of the same frames."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from coevo.configs.uncertainty_section import UncertaintyConfig
from coevo.makers.step import StepMaker, current_store, read_records, step, versions_of_family

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coevo.configs.tree import NodeSection
    from coevo.makers.outputs import Calibrated, Checkpoint, TrainedForceField


@dataclass
class CalibrateMaker(StepMaker):
    """Compare errors on new labels with the spread of the parent's committee, which has not seen them.

    Attributes
    ----------
    node : NodeSection
    uncertainty : UncertaintyConfig
    """

    name: str = "calibrate"
    node: NodeSection = field(kw_only=True)
    uncertainty: UncertaintyConfig = field(default_factory=UncertaintyConfig)

    def versions(self, inputs: Mapping[str, Any]) -> dict[str, str]:
        """Those of the families of all checkpoints."""
        checkpoints = [inputs.get("checkpoint"), *(inputs.get("members") or {}).values()]
        families = sorted({str(c["family"]) for c in checkpoints if isinstance(c, dict) and "family" in c})
        return {name: version for family in families for name, version in versions_of_family(self, "force_field", family).items()}

    @step
    def make(self, trained: TrainedForceField, checkpoint: Checkpoint, members: dict[str, Checkpoint], parent: str) -> Calibrated:
        """Calibrate.

        Parameters
        ----------
        trained : dict
            Output of the train-force-field job: new labels and offsets.
        checkpoint : dict
            Of the parent's force field.
        members : dict
            Of the parent's members, by name.
        parent : str
            Id of the parent state, which records the offsets of its members.

        Returns
        -------
        dict
            ``calibration``: ``energy`` (meV/atom) and ``force`` (meV/Å, root mean squares over the components of a frame), each
            as :func:`coevo.analysis.signals.calibration.calibration` gives it, and ``voices``; or None, with the ``reason``.
        """
        from coevo.makers.committee.errors_and_spreads import calibrated, not_seen
        from coevo.makers.populations.population import open_state
        from coevo.node_store.recorded import recorded_members

        store = current_store()
        view = open_state(store, self.node.name, parent)
        labels, recorded = not_seen(read_records(store, trained["labels"]), view.labels()), recorded_members(view)
        return calibrated(
            store, labels, trained["offsets"], checkpoint, members, recorded, self.node, self.uncertainty, self.usable_workers()
        )
