"""A campaign run by jobflow-remote's runner through a real SLURM, disturbed on the way, ends in the state of ``coevo run``."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import yaml

from coevo.configs.step_classes import class_of
from job_gates import JobGates
from slurm_cluster import SlurmCluster, without_slurm
from tiny_node import Coevo, copy_of

if not os.environ.get("CI"):  # there it must be installed
    pytest.importorskip("jobflow_remote", reason="jobflow-remote, an optional extra, is not installed")

from coevo.slurm.jobflow_remote.project import project_variables
from coevo.slurm.jobflow_remote.submission import JobflowRemoteQueue, open_queue

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore")]

SITE = """
site: tests
database: {server}/{database}
artifacts: file://{directory}/artifacts
directory: {directory}/jobs
environments:
  default:
    commands: ["export PATH={python}:$PATH"]
    variables: {{COEVO_DEVICE: cpu, {gates}}}
"""
CLASSES = """
classes:
  gpu: {partition: gpu, gres: gpu:1, walltime: 0:10:00}
  screen: {partition: gpu, gres: gpu:1, walltime: 0:10:00}
  label: {partition: cpu, walltime: 0:10:00}
  small: {partition: cpu, walltime: 0:10:00}
"""
KILLED_AT = ("tiny/1/select", "tiny/1/train-force-field")
HELD = ("tiny/0/evaluate-references/0000", "tiny/1/screen/0001", *KILLED_AT, "tiny/1/commit")
"""Jobs that wait when they run until the campaign lets them go."""
EAGER = {"delay_checkout": 1, "delay_check_run_status": 1, "delay_advance_status": 1}
PATIENCE = 900.0
"""Seconds for anything to happen on a busy machine."""


class Remote(Coevo):
    """``coevo`` and ``jf`` in processes of their own, on a site with a database of its own."""

    def __init__(self, directory: Path, server: str, classes: str, environment: dict[str, str]):
        super().__init__(directory)
        self.gates = JobGates(directory / "gates")
        site = SITE.format(
            server=server,
            database=f"remote_{uuid.uuid4().hex[:8]}",
            directory=directory,
            python=Path(sys.executable).parent,
            gates=self.gates.variables,
        )
        (directory / "site.yaml").write_text(site + classes)
        data = yaml.safe_load(site)
        self.project = directory / "jobs" / "jobflow-remote" / "tests.yaml"
        self.environment = {
            **without_slurm(),
            **environment,
            **project_variables(self.project),
            "COEVO_DATABASE": data["database"],
            "COEVO_ARTIFACTS": data["artifacts"],
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "200",
        }
        self.runner: subprocess.Popen[bytes] | None = None

    def submit(self, *arguments: str) -> str:
        told = self("submit", *arguments, "--manager", "jobflow-remote").stderr
        written = yaml.safe_load(self.project.read_text())
        if written["runner"] != EAGER:
            self.project.write_text(yaml.safe_dump({**written, "runner": EAGER}))
        return told

    def jf(self, *arguments: str) -> str:
        jf = Path(sys.executable).with_name("jf")
        done = subprocess.run(
            [jf, *arguments], env=self.environment, cwd=self.directory, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def start_runner(self) -> None:
        jf = Path(sys.executable).with_name("jf")
        with (self.directory / "runner.log").open("ab") as log:
            self.runner = subprocess.Popen(
                [jf, "runner", "run"], env=self.environment, cwd=self.directory, stdout=log, stderr=log
            )

    def kill_runner(self) -> None:
        """End the runner by SIGKILL; it may have a job or a workflow locked."""
        if self.runner is not None:
            self.runner.kill()
            self.runner.wait()
            self.runner = None

    def start_runner_again(self) -> None:
        """Start a runner after one that was killed, as the documentation says."""
        self.jf("admin", "unlock", "-y")
        self.jf("admin", "unlock-flow", "-y")
        self.start_runner()

    @cached_property
    def queue(self) -> JobflowRemoteQueue:
        return open_queue(self.project)

    def jobs(self, **query: Any) -> list[dict[str, Any]]:
        return list(self.queue.controller.jobs.find(query, {"job.function": 0}))

    def job(self, name: str) -> dict[str, Any]:
        (job,) = self.jobs(**{"job.name": name})
        return job

    def flows(self) -> list[dict[str, Any]]:
        return list(self.queue.controller.flows.find())

    def wait_for_flows(self) -> None:
        """Wait until the workflows have ended, which jobflow-remote notes after it has noted the end of their jobs."""
        self.wait_for(lambda: {flow["state"] for flow in self.flows()} == {"COMPLETED"}, "the workflows to end")

    def wait_for_job(self, name: str, *states: str) -> dict[str, Any]:
        (found,) = self.wait_for(
            lambda: self.jobs(**{"job.name": name, "state": {"$in": states}}), f"{name} to be {' or '.join(states)}"
        )
        job: dict[str, Any] = found
        return job

    def held(self, name: str) -> dict[str, Any]:
        """Wait until a job runs, waits at its gate, and is known to run."""
        self.wait_for(lambda: self.gates.waiting(name), f"{name} to wait at its gate")
        return self.wait_for_job(name, "RUNNING")

    def wait_for(self, look: Callable[[], Any], what: str) -> Any:
        deadline = time.monotonic() + PATIENCE
        while not (found := look()):
            states = {job["job"]["name"]: job["state"] for job in self.jobs()}
            assert time.monotonic() < deadline, f"waited {PATIENCE:g} s for {what}: {states}"
            time.sleep(0.3)
        return found


@pytest.fixture(scope="module")
def undisturbed(seeded: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The state of ``coevo run`` with the same seed."""
    coevo = copy_of(seeded, tmp_path_factory.mktemp("undisturbed"))
    coevo("run", "tiny", "-n", "1")
    return str(json.loads(coevo("show", "tiny", "--format", "json").stdout)["id"])


@pytest.fixture(scope="module")
def remote(slurm_cluster: SlurmCluster, tmp_path_factory: pytest.TempPathFactory, tiny_text: str) -> Iterator[Remote]:
    """A campaign from its submission to its end, with every disturbance on the way."""
    directory = tmp_path_factory.mktemp("remote")
    (directory / "tiny.yaml").write_text(tiny_text)
    remote = Remote(directory, slurm_cluster.mongodb, CLASSES, {"SLURM_CONF": slurm_cluster.environment["SLURM_CONF"]})
    told = remote.submit("tiny.yaml", "-n", "1")
    assert "submitted iteration 0 of tiny@main" in told
    assert "jf runner start" in " ".join(told.split())
    assert "is in the queue of jobflow-remote already" in remote.submit("tiny.yaml", "-n", "1")
    remote.gates.hold(*HELD)
    remote.start_runner()
    try:
        kill_the_runner_while_a_job_runs(remote)
        scancel_a_job(remote, slurm_cluster)
        run_the_decision_again(remote)
        kill_the_runner_at_any_time(remote)
        remote.wait_for_job("tiny/1/continue", "COMPLETED")
        remote.wait_for_flows()
        yield remote
    finally:
        remote.kill_runner()
        slurm_cluster.wait_for_no_job(cancel=True)


def kill_the_runner_while_a_job_runs(remote: Remote) -> None:
    """The job goes on in SLURM, and the next runner finds its result."""
    name = "tiny/0/evaluate-references/0000"
    before = remote.held(name)
    remote.kill_runner()
    remote.gates.let_go(name)
    result = Path(before["run_dir"]) / "remote_job_data.json"
    remote.wait_for(result.exists, f"{name} to end without a runner")
    remote.start_runner_again()
    after = remote.wait_for_job(name, "COMPLETED")
    assert after["remote"]["process_id"] == before["remote"]["process_id"]


def scancel_a_job(remote: Remote, cluster: SlurmCluster) -> None:
    name = "tiny/1/screen/0001"
    job = remote.held(name)
    cluster.run("scancel", job["remote"]["process_id"])
    failed = remote.wait_for_job(name, "FAILED")
    assert "killed before completing" in failed["error"] or "not present" in failed["error"]
    assert name in remote.jf("job", "list", "-s", "FAILED")
    remote.gates.let_go(name)
    remote.jf("job", "rerun", failed["db_id"])
    again = remote.wait_for_job(name, "RUNNING", "COMPLETED")
    assert again["remote"]["process_id"] != job["remote"]["process_id"]


def run_the_decision_again(remote: Remote) -> None:
    """The last job of iteration 0, while the workflow that it added is under way: nothing is added twice."""
    # it has added the workflow of iteration 1 for sure, and may have ended by now
    before = remote.wait_for_job("tiny/0/continue", "COMPLETED")
    remote.jf("job", "rerun", "--force", before["db_id"])
    assert remote.wait_for_job("tiny/0/continue", "COMPLETED")["end_time"] > before["end_time"]
    assert remote.flows()[-1]["state"] == "RUNNING"
    assert len(remote.flows()) == 2
    remote.gates.let_go("tiny/1/commit")


def kill_the_runner_at_any_time(remote: Remote) -> None:
    """On the way of a job from its checkout to its end.

    What follows is jobflow-remote's: it notes the jobs that a job made before it notes that this is done, and does so again.
    """
    for name in KILLED_AT:
        remote.wait_for_job(name, "CHECKED_OUT", "UPLOADED", "SUBMITTED", "RUNNING")
        remote.kill_runner()
        remote.gates.let_go(name)
        remote.start_runner_again()


def test_it_ends_in_the_state_of_an_undisturbed_run(remote: Remote, undisturbed: str) -> None:
    assert json.loads(remote("show", "tiny", "--format", "json").stdout)["id"] == undisturbed
    assert json.loads(remote("log", "tiny", "--format", "json").stdout)[0]["iteration"] == 1


def test_the_store_is_whole(remote: Remote) -> None:
    remote("verify", "tiny")


def test_nothing_is_there_twice(remote: Remote) -> None:
    flows = remote.flows()
    keys = Counter(flow["metadata"]["coevo"]["iteration"] for flow in flows)
    assert keys == {0: 1, 1: 1}
    assert {flow["state"] for flow in flows} == {"COMPLETED"}
    jobs = remote.jobs()
    assert {job["state"] for job in jobs} == {"COMPLETED"}
    names = Counter((job["job"]["name"], job["uuid"], job["index"]) for job in jobs)
    assert set(names.values()) == {1}
    steps = Counter(job["job"]["name"] for job in jobs if job["job"]["name"] != "store_inputs")
    assert set(steps.values()) == {1}
    # shards of re-evaluate are there only if a force field was adopted, which differs between classes of machines
    assert {"tiny/1/label/0002", "tiny/1/re-evaluate", "tiny/1/generate/0001"} <= set(steps)


def test_jobs_that_a_job_made_run_in_their_class(remote: Remote) -> None:
    for job in remote.jobs():
        if job["job"]["name"] != "store_inputs":
            assert job["worker"] == class_of(job["job"]["name"]), job["job"]["name"]
        assert job["job"]["metadata"]["coevo"]["node"] == "tiny"


def test_a_job_that_ended_the_campaign_may_run_again(remote: Remote) -> None:
    before = remote.job("tiny/1/continue")
    remote.jf("job", "rerun", "--force", before["db_id"])
    assert remote.wait_for_job("tiny/1/continue", "COMPLETED")["end_time"] > before["end_time"]
    remote.wait_for_flows()
    assert len(remote.flows()) == 2


def test_files_of_jobs_hold_no_uri_of_the_database(remote: Remote) -> None:
    folder = remote.directory / "jobs" / "jobflow-remote-jobs"
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 100
    assert not [path for path in files if b"mongodb://" in path.read_bytes()]


@pytest.mark.service
def test_a_workstation_without_a_queue_runs_jobs_too(mongodb_server: str, tmp_path: Path, tiny_text: str) -> None:
    (tmp_path / "tiny.yaml").write_text(tiny_text)
    remote = Remote(tmp_path, mongodb_server, "queue: none\nworkers: 2\n", {})
    remote.submit("tiny.yaml", "-n", "1")
    remote.start_runner()
    try:
        shard = remote.wait_for_job("tiny/0/evaluate-references/0000", "COMPLETED")
        assert (shard["worker"], shard["exec_config"]) == ("local", "screen")
        assert remote.wait_for_job("tiny/0/assess", "COMPLETED")["exec_config"] == "small"
    finally:
        assert remote.runner is not None
        remote.runner.send_signal(signal.SIGTERM)
        assert remote.runner.wait(timeout=PATIENCE) == 0
