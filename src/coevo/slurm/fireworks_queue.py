"""Workflows in FireWorks' launchpad."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.slurm.submission import CLAIMS

if TYPE_CHECKING:
    from fireworks.core.launchpad import LaunchPad
    from jobflow import Flow

    from coevo.configs.step_classes import ClassName
    from coevo.slurm.submission import Manager


class FireworksQueue:
    """The workflows of FireWorks' launchpad.

    Parameters
    ----------
    launchpad : LaunchPad
    """

    manager: Manager = "fireworks"
    place = "the launchpad"

    def __init__(self, launchpad: LaunchPad):
        self.launchpad = launchpad

    @property
    def claims(self) -> Any:
        """Where the claims of keys are."""
        return self.launchpad.db[CLAIMS]

    def has(self, key: str) -> bool:
        """Whether the workflow of this key was added: FireWorks inserts its document last."""
        return self.launchpad.workflows.find_one({"metadata.coevo.key": key}, {"_id": 1}) is not None

    def discard(self, key: str) -> None:
        """Remove the Fireworks of a workflow that was not finished."""
        self.launchpad.fireworks.delete_many({"spec.coevo.key": key})

    def add(self, flow: Flow, described: dict[str, Any]) -> None:
        """Add a workflow."""
        from jobflow.managers.fireworks import flow_to_workflow

        self.launchpad.add_wf(flow_to_workflow(flow, metadata={"coevo": described}))

    def job_config(self, name: ClassName) -> dict[str, Any]:
        """Return what goes into the spec of a Firework."""
        return {"_category": name}

    def next_step(self, node: str) -> str:  # noqa: ARG002
        """Return the command that runs the jobs."""
        return "coevo launch --loop"

    def watching(self, node: str) -> str:
        """Return the command that shows the jobs."""
        return f"coevo jobs {node}"


def prepare_launchpad(launchpad: LaunchPad) -> None:
    """Make a new launchpad usable (FireWorks wants a `reset`, which would empty one that is in use) and indexed."""
    first = {"next_fw_id": 1, "next_launch_id": 1}
    # the id of FireWorks' own document; whoever comes second finds it
    made = launchpad.fw_id_assigner.update_one({"_id": -1}, {"$setOnInsert": first}, upsert=True)
    if made.upserted_id is not None:
        launchpad.tuneup(bkground=True)
    launchpad.fireworks.create_index("spec.coevo.node")
    launchpad.fireworks.create_index("spec.coevo.key")
    launchpad.workflows.create_index("metadata.coevo.key")
