"""A study as a workflow of a site: added once, whoever asks and however often."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

from coevo.flows.campaign import check_inputs
from coevo.slurm.submission import insert_once
from coevo.slurm.workflows import add_workflow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobflow import Flow

    from coevo.slurm.submission import WorkflowQueue

STUDY = "study-"
"""How the names begin that stand in the place of a campaign's id in jobs of studies."""


def submit_study(queue: WorkflowQueue, flow: Flow, asked: Mapping[str, Any], iteration: int) -> tuple[str, bool]:
    """Add the workflow of a study.

    Parameters
    ----------
    queue : WorkflowQueue
        Of the manager that is to run the jobs.
    flow : Flow
        Of :func:`coevo.flows.studies.flow.study_flow`.
    asked : mapping
        What the study is asked, with its ``node`` and ``study``; equal questions are one workflow, unless it was cancelled.
    iteration : int
        Of the state.

    Returns
    -------
    name : str
        Of the workflow, in the place of a campaign's id.
    added : bool
        Whether it was added now.

    Raises
    ------
    ConfigError
        If the study has more jobs than a workflow may have.
    """
    from coevo.node_store.canonical import digest

    start = STUDY + digest(dict(asked))[:16]
    names = (start if number == 0 else f"{start}-{number}" for number in count())
    name = next(name for name in names if not queue.was_cancelled(f"{name}/{iteration}"))
    key = f"{name}/{iteration}"
    described = {"node": asked["node"], "branch": "", "campaign": name, "iteration": iteration, "key": key}

    def add() -> None:
        check_inputs(flow)
        remedy = "choose fewer phases: a FILTER, --formula or --limit"
        add_workflow(queue, flow, described, what=f"this study of {asked['node']}", remedy=remedy)

    return name, insert_once(queue, key, add)
