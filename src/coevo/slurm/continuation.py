"""Campaigns as workflows: one for each transition, the last job of each adding the next.

FireWorks' cost of a launch grows with the size of its workflow, and a job that is run again takes all its descendants along. So
an iteration is a workflow of its own, and starting the next one is an insert keyed by campaign and iteration
(:mod:`coevo.slurm.submission`): whoever asks, and however often, adds nothing twice.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobflow import Flow, Maker, job

from coevo.errors import CampaignError
from coevo.flows.campaign import check_inputs, create_node, decide, seed_flow
from coevo.slurm.submission import Submission, insert_once
from coevo.slurm.workflows import add_workflow

if TYPE_CHECKING:
    from coevo.configs.loading import LoadedConfig
    from coevo.flows.campaign import Say
    from coevo.node_store.documents import CampaignDocument
    from coevo.node_store.store import NodeStore
    from coevo.slurm.submission import WorkflowQueue


@dataclass
class ContinueMaker(Maker):
    """Go on with a campaign, or end it.

    The decision rests on the branch head alone, and a workflow is added once only; so this job may be run again at any time, like
    every other one.

    Attributes
    ----------
    name : str
    """

    name: str = "continue"

    @job
    def make(self, committed: dict[str, Any], node: str, campaign: str) -> dict[str, Any]:
        """Go on.

        Parameters
        ----------
        committed : dict
            Output of the commit job; it says that there is a state to go on from.
        node, campaign : str

        Returns
        -------
        dict
            ``state``, ``verdict`` and ``iteration`` of the workflow that follows.
        """
        from coevo.node_store.current import current_store

        store = current_store()
        submission = advance(store, current_queue(), campaign_of(store, node, campaign), print)
        return {"state": committed["state"], "verdict": submission.verdict, "iteration": submission.iteration}


def current_queue() -> WorkflowQueue:
    """Return the workflows of the manager that runs this job.

    Raises
    ------
    CampaignError
        If this process is no worker of a site.
    """
    folder, project = os.environ.get("JFREMOTE_PROJECTS_FOLDER"), os.environ.get("JFREMOTE_PROJECT")
    if folder and project and "FW_CONFIG_FILE" not in os.environ:  # a job script sets either
        from coevo.slurm.jobflow_remote.submission import open_queue

        return open_queue(Path(folder) / f"{project}.yaml")
    from coevo.slurm.submission import FireworksQueue
    from coevo.slurm.worker import open_launchpad

    return FireworksQueue(open_launchpad(worker_files()))


def worker_files() -> Path:
    """Return the directory of the worker files that this process was started with.

    Raises
    ------
    CampaignError
        If this process is no worker of a site.
    """
    config = os.environ.get("FW_CONFIG_FILE")
    if not config or not (Path(config).parent / "my_launchpad.yaml").exists():
        raise CampaignError(
            "this process is no worker of a site: FW_CONFIG_FILE names no directory with my_launchpad.yaml; "
            "start workers by `coevo launch`"
        )
    return Path(config).parent


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
    check_inputs(flow)
    prefix = f"{campaign.node}/{iteration}"
    proceed = ContinueMaker(name=f"{prefix}/continue").make(flow.output, campaign.node, campaign.id)
    whole = Flow([flow, proceed], name=flow.name)
    described = {
        "node": campaign.node,
        "branch": campaign.branch,
        "campaign": campaign.id,
        "iteration": iteration,
        "key": submission_key(campaign, iteration),
    }
    what = f"iteration {iteration} of {campaign.node}"
    add_workflow(queue, whole, described, what=what, remedy="raise generator.shard_size")


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
