"""What is run again, how often, with which walltime; and what stands in the way of it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from fireworks import FWAction, FWorker, LaunchPad, Workflow
from jobflow import Job
from jobflow.managers.fireworks import job_to_firework

from coevo.configs.site_loading import parse_site
from coevo.configs.site_tree import Site
from coevo.slurm import job_table, rerunning
from coevo.slurm.job_table import JobRow, job_rows
from coevo.slurm.queue_state import QueuedJob
from coevo.slurm.rerunning import pause_jobs, rerun_jobs

pytestmark = pytest.mark.filterwarnings("ignore")

ABOUT = {"node": "n", "branch": "main", "campaign": "c", "iteration": 1, "key": "c/1"}
SITE = """
site: s
database: mongodb://h/d
artifacts: s3://b/p
directory: /x
retries: 2
classes:
  gpu: {walltime: 1:00:00}
  screen: {walltime: 1:00:00}
  label: {walltime: 1:00:00, longer_walltimes: [2:00:00, 4:00:00]}
  small: {walltime: 1:00:00, mode: packed}
"""


@pytest.fixture
def site() -> Site:
    return parse_site(SITE, "site.yaml", {}).site


@pytest.fixture
def job(launchpad: LaunchPad) -> int:
    """A job of the class label."""
    # a task of FireWorks' own would make it import all of its user objects, with their tests
    firework = job_to_firework(Job(math.sqrt, function_args=(4.0,), name="n/1/label/0000", metadata={"coevo": ABOUT}))
    firework.spec["_category"] = "label"
    launchpad.add_wf(Workflow([firework]))
    found: int = launchpad.fireworks.find_one({})["fw_id"]
    return found


def row_of(launchpad: LaunchPad, there: dict[str, QueuedJob] | None = None) -> JobRow:
    (row,) = job_rows(launchpad, "n", active=None if there is None else lambda: there)
    return row


def fail(launchpad: LaunchPad, told: str = "Traceback (most recent call last):\n  File x\nValueError: no\nmore") -> None:
    _, launch = launchpad.checkout_fw(FWorker(category="label", env={"slurm_job_id": "7"}), "/x")
    stored = {"_exception": {"_stacktrace": told}}
    launchpad.complete_launch(launch, FWAction(stored_data=stored, exit=True), "FIZZLED")


def test_a_job_is_run_again_as_often_as_the_site_says(launchpad: LaunchPad, site: Site, job: int) -> None:
    for number in range(2):
        fail(launchpad)
        row = row_of(launchpad)
        assert (row.state, row.error, row.reruns) == ("fizzled", "ValueError: no", number)
        (decided,) = rerun_jobs(launchpad, site, [row])
        assert (decided.done, decided.reason) == (True, "ValueError: no")
        assert row_of(launchpad).state == "ready"
    fail(launchpad)
    (decided,) = rerun_jobs(launchpad, site, [row_of(launchpad)])
    assert not decided.done
    assert decided.reason == (
        f"was run again 2 times already (retries of the site); last: ValueError: no; repair the cause and name it: --job {job}"
    )
    assert row_of(launchpad).state == "fizzled"
    (decided,) = rerun_jobs(launchpad, site, [row_of(launchpad)], beyond_limit=True)
    assert decided.done
    notes = launchpad.fireworks.find_one({})["spec"]["coevo_reruns"]
    assert [(note["reason"], note["slurm_id"]) for note in notes] == [("ValueError: no", "7")] * 3


def test_walltimes_grow_to_the_longest(launchpad: LaunchPad, site: Site, job: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rerunning, "end_of_job", lambda _: "TIMEOUT")
    given: list[Any] = []
    for _ in range(3):
        launchpad.checkout_fw(FWorker(category="label", env={"slurm_job_id": "7"}), "/x")
        row = row_of(launchpad, there={})
        assert (row.state, row.error) == ("lost", "SLURM job 7 is gone")
        (decided,) = rerun_jobs(launchpad, site, [replace(row, reruns=0)])
        given.append((decided.reason, decided.walltime, row_of(launchpad).walltime))
    gone = "SLURM job 7 is gone: TIMEOUT"
    assert given == [(gone, "2:00:00", "2:00:00"), (gone, "4:00:00", "4:00:00"), (gone, None, "4:00:00")]


def test_a_job_that_slurm_has_is_not_lost(launchpad: LaunchPad, job: int) -> None:
    launchpad.checkout_fw(FWorker(category="label", env={"slurm_job_id": "7"}), "/x")
    assert row_of(launchpad, there={"7": QueuedJob("RUNNING", "None", "")}).state == "running"
    # nobody could be asked
    assert row_of(launchpad).state == "running"
    assert row_of(launchpad, there={}).state == "lost"


def test_a_reservation_that_was_never_submitted_is_lost(
    launchpad: LaunchPad, site: Site, job: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_table, "RESERVATION_SECONDS", 86_400.0)
    launchpad.reserve_fw(FWorker(category="label"), "/x")
    assert row_of(launchpad, there={}).state == "queued"
    past = "2020-01-01T00:00:00"
    launchpad.launches.update_one({}, {"$set": {"state_history.0.created_on": past}})
    row = row_of(launchpad, there={})
    assert (row.state, row.error) == ("lost", "it was reserved and never submitted")
    (decided,) = rerun_jobs(launchpad, site, [row])
    assert decided.done
    assert row_of(launchpad).state == "ready"


def test_a_lock_that_a_killed_process_left_is_taken_away(launchpad: LaunchPad, job: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """scancel may meet a job in the moment in which it updates its workflow, which then stays locked."""
    monkeypatch.setattr(rerunning, "LOCK_SECONDS", 1.0)
    launchpad.workflows.update_one({}, {"$set": {"locked": True}})
    assert pause_jobs(launchpad, job_rows(launchpad, "n")) == 1
    assert launchpad.workflows.find_one({"locked": True}) is None
    assert row_of(launchpad).state == "paused"
    assert job
