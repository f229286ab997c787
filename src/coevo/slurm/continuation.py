"""The last job of each workflow: decides on the next transition of the campaign and adds its workflow."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobflow import Maker, job

from coevo.errors import CampaignError

if TYPE_CHECKING:
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
        from coevo.makers.step import current_store
        from coevo.slurm.submission import advance, campaign_of

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
    from coevo.slurm.fireworks_queue import FireworksQueue
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
