"""Adding a workflow once, whoever asks and however often, to whichever manager runs the jobs.

The manager (FireWorks in :mod:`coevo.slurm.fireworks_queue`, or :mod:`coevo.slurm.jobflow_remote.submission`) is known to the
:class:`WorkflowQueue` alone.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from coevo.errors import CampaignError

if TYPE_CHECKING:
    from collections.abc import Callable

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
            raise CampaignError(
                f"iteration {key.rpartition('/')[2]} of this campaign was submitted to {claim['manager']}, and {queue.manager} "
                f"would run it again: go on with --manager {claim['manager']}, or end the campaign by `coevo cancel` and submit"
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
