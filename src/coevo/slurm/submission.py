"""Adding a workflow once, whoever asks and however often, to whichever manager runs the jobs.

The manager is known to the :class:`WorkflowQueue` alone: FireWorks' launchpad to :class:`FireworksQueue`, here, jobflow-remote to
that of :mod:`coevo.slurm.jobflow_remote.submission`.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from coevo.errors import CampaignError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fireworks.core.launchpad import LaunchPad
    from jobflow import Flow

    from coevo.configs.step_classes import ClassName
    from coevo.node_store.documents import CampaignDocument


Manager = Literal["fireworks", "jobflow-remote"]

CLAIMS = "coevo_submissions"
STALE_CLAIM = 120.0
"""Seconds after which an insert that was begun and not finished is taken for dead."""


@dataclass(frozen=True)
class Submission:
    """What asking for the next workflow of a campaign came to.

    Attributes
    ----------
    verdict : {"continue", "finished", "mature", "cancelled"}
    iteration : int
        Of the workflow, or of the branch head if there is none.
    added : bool
        Whether it was added now; False if it was there already.
    """

    verdict: str
    iteration: int
    added: bool


class WorkflowQueue(Protocol):
    """Where a manager of jobs keeps its workflows.

    Attributes
    ----------
    manager : {"fireworks", "jobflow-remote"}
    place : str
        What messages call it.
    claims : Collection
        Of MongoDB; the same for all managers of a site.
    """

    manager: Manager
    place: str

    @property
    def claims(self) -> Any:
        """Where the claims of keys are."""

    def has(self, key: str) -> bool:
        """Whether the workflow of this key was added, and completely."""

    def discard(self, key: str) -> None:
        """Remove what an insert of this key left that was not finished."""

    def was_cancelled(self, key: str) -> bool:
        """Whether the workflow of this key was added and then put out by `coevo cancel`."""

    def add(self, flow: Flow, described: dict[str, Any]) -> None:
        """Add a workflow; ``described`` is its metadata, with its key."""

    def job_config(self, name: ClassName) -> dict[str, Any]:
        """Return what the manager has to know of a job of a class (``JobConfig.manager_config``)."""

    def next_step(self, node: str) -> str:
        """Return the command that runs the jobs."""

    def watching(self, node: str) -> str:
        """Return the command that shows the jobs."""


def insert_once(queue: WorkflowQueue, key: str, add: Callable[[], None]) -> bool:
    """Add a workflow unless one of this key was added before, by whomever.

    The claim of a key is atomic; a process that died between its claim and the end of its insert is replaced after
    :data:`STALE_CLAIM` seconds, and what it left without a workflow is removed.

    Parameters
    ----------
    queue : WorkflowQueue
    key : str
    add : callable
        Adds the workflow, with ``key`` in its metadata.

    Returns
    -------
    bool
        Whether it was added now.

    Raises
    ------
    CampaignError
        If it was added to another manager.
    """
    claims = queue.claims
    token = uuid.uuid4().hex
    while True:
        if queue.has(key):
            return False
        mine = {"token": token, "at": time.time(), "manager": queue.manager}
        if claims.update_one({"_id": key}, {"$setOnInsert": mine}, upsert=True).upserted_id is not None:
            break
        claim = claims.find_one({"_id": key})
        if claim is None:
            continue
        if claim["manager"] != queue.manager:
            what = f"iteration {key.rpartition('/')[2]} of this campaign"
            end = ", or end the campaign by `coevo cancel` and submit"
            if key.startswith("study-"):
                what, end = "this study", ""
            raise CampaignError(
                f"{what} was submitted to {claim['manager']}, and {queue.manager} would run it again: go on with "
                f"--manager {claim['manager']}{end}"
            )
        if time.time() - claim["at"] > STALE_CLAIM:
            if claims.find_one_and_update({"_id": key, "token": claim["token"]}, {"$set": mine}) is not None:
                break
        else:
            time.sleep(0.5)
    try:
        queue.discard(key)
        add()
    except BaseException:
        claims.delete_one({"_id": key, "token": token})  # the next attempt need not wait
        raise
    return True


def describe_submission(submission: Submission, campaign: CampaignDocument) -> dict[str, Any]:
    """Return a submission as plain JSON types."""
    return {
        "node": campaign.node,
        "branch": campaign.branch,
        "campaign": campaign.id,
        "iterations": campaign.iterations,
        "verdict": submission.verdict,
        "iteration": submission.iteration,
        "added": submission.added,
    }


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

    def was_cancelled(self, key: str) -> bool:
        """Whether a job of the workflow of this key was put out."""
        return self.launchpad.fireworks.find_one({"spec.coevo.key": key, "state": "DEFUSED"}, {"_id": 1}) is not None

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
