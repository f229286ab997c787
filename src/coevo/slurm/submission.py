"""Campaigns as workflows: one for each transition, each added once, the last job of each adding the next.

FireWorks' cost of a launch grows with the size of its workflow, and a job that is run again takes all its descendants along. So
an iteration is a workflow of its own, and starting the next one is an insert keyed by campaign and iteration: whoever asks, and
however often, adds nothing twice. Which manager runs the jobs (FireWorks here, or :mod:`coevo.slurm.jobflow_remote.submission`)
is known to the :class:`WorkflowQueue` alone.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from jobflow import Flow, JobConfig, OnMissing

from coevo.configs.step_classes import class_of, class_of_shards
from coevo.errors import CampaignError, ConfigError
from coevo.flows.campaign import create_node, decide, seed_flow
from coevo.flows.plain_inputs import check_inputs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fireworks.core.launchpad import LaunchPad

    from coevo.configs.loading import LoadedConfig
    from coevo.configs.step_classes import ClassName
    from coevo.flows.campaign import Say
    from coevo.node_store.documents import CampaignDocument
    from coevo.node_store.store import NodeStore

Manager = Literal["fireworks", "jobflow-remote"]

MAX_JOBS = 500
"""Jobs of a workflow, at most: launching one of 1,000 takes four times as long as launching one of 100."""
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


def submission_key(campaign: CampaignDocument, iteration: int) -> str:
    """Return the key under which a workflow is added once."""
    return f"{campaign.id}/{iteration}"


def add_transition(queue: WorkflowQueue, flow: Flow, campaign: CampaignDocument, iteration: int) -> None:
    """Add a transition: each job with its class, node, branch and iteration, then the job that goes on.

    Parameters
    ----------
    queue : WorkflowQueue
    flow : Flow
        Its output is that of the commit.
    campaign : CampaignDocument
    iteration : int
        Of the state that the flow makes.

    Raises
    ------
    ConfigError
        If a step has no class, or the transition has more jobs than a workflow may have.
    """
    from coevo.slurm.continuation import ContinueMaker

    check_inputs(flow)
    prefix = f"{campaign.node}/{iteration}"
    proceed = ContinueMaker(name=f"{prefix}/continue").make(flow.output, campaign.node, campaign.id)
    whole = Flow([flow, proceed], name=flow.name)
    jobs = [job for job, _ in whole.iterflow()]
    if len(jobs) > MAX_JOBS:
        raise ConfigError(
            f"iteration {iteration} of {campaign.node} would have {len(jobs)} jobs, allowed: {MAX_JOBS} in a workflow; "
            "raise generator.shard_size"
        )
    described = {
        "node": campaign.node,
        "branch": campaign.branch,
        "campaign": campaign.id,
        "iteration": iteration,
        "key": submission_key(campaign, iteration),
    }
    for job in jobs:
        config, shards = queue.job_config(class_of(job.name)), queue.job_config(class_of_shards(job.name))
        job.update_config(JobConfig(manager_config=config, response_manager_config=shards), dynamic=False)
        # jobflow lets the job that collects the outputs of the shards run without them; then others would fail in their place
        job.update_config({"on_missing_references": OnMissing.ERROR}, name_filter="store_inputs", dynamic=True)
    whole.update_metadata({"coevo": described}, dynamic=True)
    queue.add(whole, described)


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


def advance(store: NodeStore, queue: WorkflowQueue, campaign: CampaignDocument, say: Say) -> Submission:
    """Add the workflow of the next transition of a campaign, or record that it has ended.

    Raises
    ------
    CampaignError
        If the branch no longer descends from where the campaign started, or the workflow was added to another manager.
    ConfigError
        If the node's configuration is not valid any more.
    """
    if campaign.status != "running":
        return Submission(campaign.status, -1, added=False)
    decision, head = decide(store, campaign, say)
    flow = decision.flow
    if flow is None:
        store.finish_campaign(campaign.id, decision.verdict)
        return Submission(decision.verdict, head.iteration, added=False)
    iteration = head.iteration + 1
    key = submission_key(campaign, iteration)
    added = insert_once(queue, key, lambda: add_transition(queue, flow, campaign, iteration))
    return Submission("continue", iteration, added=added)


def submit_seed(
    store: NodeStore, queue: WorkflowQueue, loaded: LoadedConfig, iterations: int, *, base: Path | None = None
) -> tuple[CampaignDocument, Submission]:
    """Create a node and add the workflow of its first state, which then goes on with the campaign.

    Parameters
    ----------
    store : NodeStore
    queue : WorkflowQueue
    loaded : LoadedConfig
    iterations : int
        Transitions after the first state.
    base : Path or None
        Directory that a relative file of references starts from.

    Raises
    ------
    NodeExistsError
        The node exists with another configuration.
    """
    config = loaded.config
    create_node(store, loaded, base=base)
    campaign = store.unfinished_campaign(config.node.name) or store.start_campaign(config.node.name, "main", iterations, None)
    key = submission_key(campaign, 0)
    added = insert_once(queue, key, lambda: add_transition(queue, seed_flow(loaded, base=base), campaign, 0))
    return campaign, Submission("continue", 0, added=added)


def campaign_of(store: NodeStore, node: str, identifier: str) -> CampaignDocument:
    """Return a recorded campaign.

    Raises
    ------
    CampaignError
        If there is none of this id.
    """
    for campaign in store.campaigns(node):
        if campaign.id == identifier:
            return campaign
    raise CampaignError(f"node {node} has no campaign {identifier}; it was removed, or the worker uses another database")


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
