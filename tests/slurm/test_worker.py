"""The worker on a launchpad of its own: what it runs, what it leaves, and what it reports of a job that died."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fireworks import Firework, LaunchPad, PyTask, ScriptTask, Workflow

from coevo.slurm.worker import NOTHING_TO_DO, process_start, whereabouts

PATIENCE = 900
"""Seconds for a worker to end."""
pytestmark = [pytest.mark.timing, pytest.mark.filterwarnings("ignore")]


def run(files: Path, *arguments: str, slurm_job: str = "77") -> subprocess.CompletedProcess[str]:
    place = files / "here"
    place.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "coevo.slurm.worker", "--files", str(files), "--class", "label", *arguments]
    environment = {**os.environ, "SLURM_JOB_ID": slurm_job}
    return subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False)


def add(launchpad: LaunchPad, *tasks: Any, category: str = "label") -> list[int]:
    fireworks = [Firework([task], name=f"n/1/label/{i:04d}", spec={"_category": category}) for i, task in enumerate(tasks)]
    launchpad.add_wf(Workflow(fireworks))
    by_name = {firework["name"]: firework["fw_id"] for firework in launchpad.fireworks.find({})}
    return [by_name[firework.name] for firework in fireworks]


def script(text: str) -> ScriptTask:
    return ScriptTask(script=text, use_shell=True)


def launch_of(launchpad: LaunchPad, fw_id: int) -> dict[str, Any]:
    firework = launchpad.fireworks.find_one({"fw_id": fw_id})
    found: dict[str, Any] = launchpad.launches.find_one({"launch_id": firework["launches"][-1]})
    return found


def test_a_job_has_its_output_and_says_where_it_ran(files: Path, launchpad: LaunchPad) -> None:
    (fw_id,) = add(launchpad, script("echo printed; echo complained >&2"))
    done = run(files, "singleshot", "--fw_id", str(fw_id))
    assert done.returncode == 0, done.stderr
    launch = launch_of(launchpad, fw_id)
    assert launch["state"] == "COMPLETED"
    assert launch["fworker"]["env"]["slurm_job_id"] == "77"
    assert Path(launch["launch_dir"]) == files / "here"
    assert "printed" in (files / "here" / "job.out").read_text()
    assert "complained" in (files / "here" / "job.err").read_text()


@pytest.mark.long
def test_a_worker_without_a_job_of_its_class_ends(files: Path, launchpad: LaunchPad) -> None:
    add(launchpad, script("true"), category="gpu")
    assert run(files, "singleshot").returncode == 1
    assert run(files, "packed", "--idle", "1", "--retry", "0.5").returncode == 0
    assert list((files / "here").glob("job-*")) == []


@pytest.mark.long
def test_a_packed_allocation_runs_all_and_reports_those_that_died(files: Path, launchpad: LaunchPad) -> None:
    """Of five jobs one fails, one is killed together with nothing else, and one leaves a process behind that holds its files."""
    sound, failing, dying, leaving, last = add(
        launchpad,
        script("echo sound"),
        PyTask(func="json.loads", args=["no json"]),
        script("kill -9 $PPID"),
        script("sleep 5 & echo left"),
        script("echo last"),
    )
    done = run(files, "packed", "--at-once", "2", "--idle", "2", "--retry", "0.5")
    assert done.returncode == 1
    states = {firework["fw_id"]: firework["state"] for firework in launchpad.fireworks.find({})}
    assert states == {sound: "COMPLETED", failing: "FIZZLED", dying: "FIZZLED", leaving: "COMPLETED", last: "COMPLETED"}
    told = launch_of(launchpad, dying)["action"]["stored_data"]["_exception"]["_stacktrace"]
    assert told == "the process of the job was killed by SIGKILL (out of memory?)"
    assert "JSONDecodeError" in launch_of(launchpad, failing)["action"]["stored_data"]["_exception"]["_stacktrace"]
    assert "killed by SIGKILL" in done.stderr
    directories = {launch_of(launchpad, fw_id)["launch_dir"] for fw_id in states}
    assert len(directories) == 5


COUNTING = """
import sys, time, types
from pathlib import Path
from coevo.slurm import worker
ended = Path(sys.argv.pop(1))
# a clock that goes on by a second with each job
worker.time = types.SimpleNamespace(sleep=time.sleep, monotonic=lambda: float(len(ended.read_text().splitlines())))
sys.exit(worker.main())
"""


@pytest.mark.long
def test_no_job_is_started_when_the_time_is_up(files: Path, launchpad: LaunchPad) -> None:
    ended = files / "ended"
    ended.touch()
    add(launchpad, *[script(f"echo one >> {ended}") for _ in range(5)])
    command = [
        sys.executable,
        "-c",
        COUNTING,
        ended,
        "--files",
        files,
        "--class",
        "label",
        "packed",
        "--seconds",
        "2",
        "--idle",
        "5",
    ]
    done = subprocess.run(command, cwd=files, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    assert launchpad.fireworks.count_documents({"state": "COMPLETED"}) == 2
    assert launchpad.fireworks.count_documents({"state": "READY"}) == 3


def test_a_process_is_known_by_its_start(tmp_path: Path) -> None:
    here = whereabouts()
    assert process_start(here["pid"]) == here["started"]
    child = subprocess.Popen(["sleep", "3000"], cwd=tmp_path)
    began = process_start(child.pid)
    assert began is not None
    assert began >= here["started"]
    child.kill()
    child.wait()
    assert process_start(child.pid) != began  # the id may be that of another process by now
    assert NOTHING_TO_DO not in (0, 1)
