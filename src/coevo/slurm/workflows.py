"""Adding a Flow to the queue of a manager: each job with its class and with what it belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobflow import JobConfig, OnMissing

from coevo.configs.step_classes import class_of, class_of_shards
from coevo.errors import ConfigError

if TYPE_CHECKING:
    from jobflow import Flow

    from coevo.slurm.submission import WorkflowQueue

MAX_JOBS = 500
"""Jobs of a workflow, at most: launching one of 1,000 takes four times as long as launching one of 100."""


def add_workflow(queue: WorkflowQueue, flow: Flow, described: dict[str, Any], *, what: str, remedy: str) -> None:
    """Add a workflow.

    Parameters
    ----------
    queue : WorkflowQueue
    flow : Flow
    described : dict
        ``node``, ``branch``, ``campaign``, ``iteration`` and ``key``, which go to each job.
    what, remedy : str
        What the workflow is called where it has too many jobs, and what to do then.

    Raises
    ------
    ConfigError
        If a step has no class, or there are more jobs than a workflow may have.
    """
    jobs = [job for job, _ in flow.iterflow()]
    if len(jobs) > MAX_JOBS:
        raise ConfigError(f"{what} would have {len(jobs)} jobs, allowed: {MAX_JOBS} in a workflow; {remedy}")
    for each in jobs:
        config, shards = queue.job_config(class_of(each.name)), queue.job_config(class_of_shards(each.name))
        each.update_config(JobConfig(manager_config=config, response_manager_config=shards), dynamic=False)
        # jobflow lets the job that collects the outputs of the shards run without them; then others would fail in their place
        each.update_config({"on_missing_references": OnMissing.ERROR}, name_filter="store_inputs", dynamic=True)
    flow.update_metadata({"coevo": described}, dynamic=True)
    queue.add(flow, described)
