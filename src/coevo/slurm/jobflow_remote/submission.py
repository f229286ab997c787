"""Workflows in the queue of jobflow-remote, the second manager: each added once, run by its own ``jf runner``."""

from __future__ import annotations

import shlex
from functools import cached_property
from typing import TYPE_CHECKING, Any

from coevo.slurm.jobflow_remote.project import job_config, project_variables, read_project
from coevo.slurm.submission import CLAIMS

if TYPE_CHECKING:
    from pathlib import Path

    from jobflow import Flow
    from jobflow_remote.config.base import Project
    from jobflow_remote.jobs.jobcontroller import JobController

    from coevo.configs.step_classes import ClassName
    from coevo.slurm.submission import Manager


class JobflowRemoteQueue:
    """The workflows of a project.

    Parameters
    ----------
    project_file : Path
        Written by :func:`coevo.slurm.jobflow_remote.project.write_project`.
    project : Project
        What is in it.
    """

    manager: Manager = "jobflow-remote"
    place = "the queue of jobflow-remote"

    def __init__(self, project_file: Path, project: Project):
        self.project_file, self.project = project_file, project

    @cached_property
    def controller(self) -> JobController:
        """jobflow-remote's own access to the queue; connects when it is first used."""
        controller: JobController = self.project.get_job_controller()
        return controller

    @property
    def claims(self) -> Any:
        """Where the claims of keys are."""
        return self.controller.db[CLAIMS]

    def prepare(self) -> None:
        """Make a new queue usable (`jf admin reset` would empty one that is in use) and indexed."""
        auxiliary = self.controller.auxiliary
        for field, value in (("next_id", 1), ("running_runner", None), ("runner_pings", [])):
            if auxiliary.find_one({field: {"$exists": True}}, {"_id": 1}) is None:
                # an id of its own, so that of two who find nothing only one inserts
                auxiliary.update_one({"_id": f"coevo-{field}"}, {"$setOnInsert": {field: value}}, upsert=True)
        if auxiliary.find_one({"jobflow_remote_version": {"$exists": True}}, {"_id": 1}) is None:
            self.controller.update_version_information()
            self.controller.build_indexes()
            self.controller.jobs.create_index("job.metadata.coevo.key")
            self.controller.flows.create_index("metadata.coevo.key")

    def has(self, key: str) -> bool:
        """Whether the workflow of this key was added, and completely: its document is inserted first, its jobs after it."""
        flow = self._flow(key)
        if flow is None:
            return False
        jobs: list[str] = flow["metadata"]["coevo"]["jobs"]
        # a job that replaced itself is there once more, with another index
        return bool(self.controller.jobs.count_documents({"uuid": {"$in": jobs}, "index": 1}) == len(jobs))

    def discard(self, key: str) -> None:
        """Remove what an insert that was not finished left."""
        flow = self._flow(key)
        if flow is not None:
            self.controller.jobs.delete_many({"uuid": {"$in": flow["jobs"]}})
            self.controller.flows.delete_one({"_id": flow["_id"]})

    def was_cancelled(self, key: str) -> bool:  # noqa: ARG002
        """Whether `coevo cancel` put it out, which it does not do with jobs of jobflow-remote."""
        return False

    def _flow(self, key: str) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self.controller.flows.find_one({"metadata.coevo.key": key}, {"metadata": 1, "jobs": 1})
        return found

    def add(self, flow: Flow, described: dict[str, Any]) -> None:
        """Add a workflow."""
        # of the workflow alone: 500 ids in each of 500 jobs would be a burden
        flow.metadata["coevo"] = {**described, "jobs": list(flow.job_uuids)}
        self.controller.add_flow(flow, worker=next(iter(self.project.workers)))

    def job_config(self, name: ClassName) -> dict[str, Any]:
        """Return which worker takes a job of a class, and in which environment."""
        return dict(job_config(self.project, name))

    def next_step(self, node: str) -> str:  # noqa: ARG002
        """Return the commands that run the jobs."""
        exports = (f"{name}={shlex.quote(value)}" for name, value in project_variables(self.project_file).items())
        return f"export {' '.join(exports)}; jf runner start"

    def watching(self, node: str) -> str:  # noqa: ARG002
        """Return the command that shows the jobs."""
        return "jf job list"

    def close(self) -> None:
        """Close the connections, if there are any."""
        if "controller" in self.__dict__:
            self.controller.close()


def open_queue(project_file: Path) -> JobflowRemoteQueue:
    """Return the workflows of a project.

    Parameters
    ----------
    project_file : Path

    Raises
    ------
    CampaignError
        If there is no such project, or jobflow-remote is not installed.
    ConfigError
        If jobflow-remote does not take the project.
    """
    return JobflowRemoteQueue(project_file, read_project(project_file))
