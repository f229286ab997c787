"""Studies in a queue: once for each question, with the classes of their steps, and again after they were cancelled."""

from __future__ import annotations

from pathlib import Path

import pytest
from fireworks import LaunchPad
from jobflow import Flow

import tiny_study
from coevo.campaigns.study import submit_study
from coevo.campaigns.study_phases import choose_phases
from coevo.errors import CampaignError, ConfigError
from coevo.flows.studies.registry import KINDS
from coevo.makers.studies.commit import CommitStudyMaker
from coevo.node_store.current import current_store
from coevo.slurm import workflows
from coevo.slurm.job_table import job_rows
from coevo.slurm.rerunning import put_out
from coevo.slurm.study_submission import submit_study as submit_flow
from coevo.slurm.submission import CLAIMS, FireworksQueue
from tiny_node import Coevo, copy_of
from tiny_study import TinyStudy

pytestmark = [pytest.mark.service, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def queue(launchpad: LaunchPad) -> FireworksQueue:
    return FireworksQueue(launchpad)


def test_a_question_is_one_workflow_until_it_is_cancelled(
    queue: FireworksQueue, launchpad: LaunchPad, finished: Coevo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    coevo = copy_of(finished.directory, tmp_path)
    monkeypatch.setenv("COEVO_DATABASE", coevo.environment["COEVO_DATABASE"])
    monkeypatch.setitem(KINDS, "tiny", tiny_study.TINY_KIND)
    store = current_store()
    view = store.state("tiny")
    phases = choose_phases(view, limit=2)
    name, added = submit_study(store, queue, view, "tiny", TinyStudy(), phases)
    assert added
    assert submit_study(store, queue, view, "tiny", TinyStudy(), phases) == (name, False)
    other, _ = submit_study(store, queue, view, "tiny", TinyStudy(scale=2.0), phases)
    few, _ = submit_study(store, queue, view, "tiny", TinyStudy(), choose_phases(view, limit=1))
    assert len({name, other, few}) == 3
    rows = job_rows(launchpad, "tiny", campaign=name)
    assert {(row.step, row.category, row.iteration) for row in rows} == {
        ("screen", "screen", view.iteration),
        ("assess", "small", view.iteration),
        ("commit-study", "small", view.iteration),
    }
    assert put_out(launchpad, rows, packed=frozenset()) == 3
    again, added = submit_study(store, queue, view, "tiny", TinyStudy(), phases)
    assert (again, added) == (f"{name}-1", True)
    assert submit_study(store, queue, view, "tiny", TinyStudy(), phases) == (again, False)


def flow(jobs: int = 1, step: str = "commit-study") -> Flow:
    return Flow([CommitStudyMaker(f"tiny/phonons-cccccccc/{step}", head={}).make({}) for _ in range(jobs)])


def test_a_study_with_too_many_jobs_or_an_unknown_step_is_refused_and_leaves_no_claim(
    queue: FireworksQueue, launchpad: LaunchPad, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workflows, "MAX_JOBS", 3)
    asked = {"node": "tiny", "study": "phonons"}
    with pytest.raises(ConfigError, match=r"this study of tiny would have 4 jobs, allowed: 3 .* choose fewer phases: a FILTER"):
        submit_flow(queue, flow(4), asked, 2)
    with pytest.raises(ConfigError, match="no class for the step 'nonsense'"):
        submit_flow(queue, flow(1, "nonsense"), asked, 2)
    assert launchpad.db[CLAIMS].count_documents({}) == launchpad.fireworks.count_documents({}) == 0
    assert submit_flow(queue, flow(3), asked, 2)[1]


def test_a_study_that_another_manager_has_is_not_submitted_twice(queue: FireworksQueue, launchpad: LaunchPad) -> None:
    name, _ = submit_flow(queue, flow(), {"node": "tiny", "study": "phonons"}, 2)
    launchpad.db[CLAIMS].update_one({"_id": f"{name}/2"}, {"$set": {"manager": "jobflow-remote"}})
    launchpad.workflows.delete_many({})
    with pytest.raises(CampaignError, match="this study was submitted to jobflow-remote, and fireworks would run it again"):
        submit_flow(queue, flow(), {"node": "tiny", "study": "phonons"}, 2)
