"""Sites as projects of jobflow-remote, and workflows that are added to its queue once, whoever adds them."""

from __future__ import annotations

import json
import math
import os
import shlex
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from coevo.configs.loading import LoadedConfig, parse_config
from coevo.configs.site_loading import LoadedSite, parse_site
from coevo.configs.step_classes import CLASS_NAMES, class_of, class_of_shards
from coevo.configs.yaml_tree import write_value
from coevo.errors import CampaignError, ConfigError
from coevo.flows.campaign import seed_flow
from coevo.node_store.documents import CampaignDocument
from coevo.slurm import continuation, submission
from coevo.slurm.queue_scripts import job_script, launchpad
from coevo.slurm.submission import FireworksQueue, prepare_launchpad

if not os.environ.get("CI"):  # there it must be installed
    pytest.importorskip("jobflow_remote", reason="jobflow-remote, an optional extra, is not installed")

from coevo.slurm.jobflow_remote.project import project_variables, read_project, write_project
from coevo.slurm.jobflow_remote.submission import JobflowRemoteQueue, open_queue

SECRET = "h%40rd-to-guess"
CLASSES = {
    "gpu": {"partition": "gpu", "gres": "gpu:1", "walltime": "1-12", "account": "project", "qos": "normal", "memory": "16G"},
    "screen": {"walltime": "10", "cpus_per_task": 4, "constraint": "a100&nvlink", "extra": ["--mail-type=FAIL", "--exclusive"]},
    "label": {"walltime": "1:00:00", "nodes": 2, "tasks": 8, "max_in_queue": 7},
    "small": {"walltime": "0:20:00", "mode": "packed", "packed_jobs": 2, "packed_idle": 40, "packed_reserve": "0:05:00"},
}


def site_at(directory: Path, **keys: Any) -> LoadedSite:
    environment = {"commands": [f"export PATH={directory}/bin:$PATH"], "variables": {"COEVO_DEVICE": "cpu", "TOKEN": SECRET}}
    data = {
        "site": "here",
        "database": f"mongodb://me:{SECRET}@host/coevo",
        "artifacts": f"file://{directory}/artifacts",
        "directory": str(directory / "jobs"),
        "environments": {"default": {**environment, **keys.pop("environment", {})}},
        "classes": CLASSES,
        **keys,
    }
    return parse_site("\n".join(f"{key}: {write_value(value)}" for key, value in data.items() if value is not None), "s.yaml", {})


def script_of(project: Any, worker: str, directory: Path, exec_config: str | None = None) -> str:
    """The script that jobflow-remote's runner would submit."""
    from jobflow_remote.remote.host.local import LocalHost
    from jobflow_remote.remote.queue import QueueManager, set_name_out

    kind = project.workers[worker]
    resources = dict(kind.resources or {})
    set_name_out(resources, "tiny/1/screen/0000", directory / "queue.out", directory / "queue.err")
    pre_run = (kind.pre_run or "") + (project.exec_config[exec_config].pre_run if exec_config else "")
    manager = QueueManager(kind.get_scheduler_io(), LocalHost())
    command = f"jf -fe execution run {directory}"
    return manager.get_submission_script(commands=[command], options=resources, work_dir=directory, pre_run=pre_run)


def run_with_a_jf_that_tells(script: str, directory: Path) -> dict[str, Any]:
    """Run a job script by bash, with a ``jf`` that writes what it was started with."""
    (directory / "bin").mkdir(exist_ok=True)
    teller = directory / "bin" / "jf"
    teller.write_text(
        f"#!{sys.executable}\nimport json, os, sys\n"
        f"json.dump({{'words': sys.argv[1:], 'environment': dict(os.environ)}}, open({str(directory / 'told')!r}, 'w'))\n"
    )
    teller.chmod(0o755)
    stray = {"COEVO_DATABASE": "file:elsewhere", "COEVO_WORKERS": "77", "FW_CONFIG_FILE": "/stray", "JFREMOTE_PROJECT": "stray"}
    environment = {**os.environ, **stray}
    done = subprocess.run(["bash", "-c", script], cwd=directory, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads((directory / "told").read_text())
    return told


def test_only_its_owner_can_read_the_project(tmp_path: Path) -> None:
    path = write_project(site_at(tmp_path))
    assert SECRET in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for folder in (path.parent, path.parent / "here"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert project_variables(path) == {"JFREMOTE_PROJECTS_FOLDER": str(path.parent), "JFREMOTE_PROJECT": "here"}


@pytest.mark.long
def test_jobflow_remote_finds_the_project_by_itself(tmp_path: Path) -> None:
    path = write_project(site_at(tmp_path))
    jf = Path(sys.executable).with_name("jf")
    environment = {**os.environ, **project_variables(path), "COLUMNS": "200"}
    done = subprocess.run([jf, "project", "list"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "here" in done.stdout
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize("name", CLASS_NAMES)
def test_a_job_gets_the_allocation_that_it_gets_from_fireworks(tmp_path: Path, name: str) -> None:
    site = site_at(tmp_path)
    names_and_files = ("--job-name=", "--output=", "--error=")

    def options(script: str) -> set[str]:
        given = {line.removeprefix("#SBATCH ").strip() for line in script.splitlines() if line.startswith("#SBATCH")}
        return {option for option in given if not option.startswith(names_and_files)}

    project = read_project(write_project(site))
    assert options(script_of(project, name, tmp_path)) == options(job_script(site, name, tmp_path))  # type: ignore[arg-type]


def test_limits_and_packed_classes(tmp_path: Path) -> None:
    project = read_project(write_project(site_at(tmp_path)))
    assert {name: worker.max_jobs for name, worker in project.workers.items()} == {
        "gpu": 20,
        "screen": 20,
        "label": 7,
        "small": 20,
    }
    batch = project.workers["small"].batch
    assert batch is not None
    assert (batch.parallel_jobs, batch.max_time, batch.max_wait) == (2, 15 * 60, 40)
    assert [name for name, worker in project.workers.items() if worker.batch] == ["small"]


@pytest.mark.parametrize("prefix", ["", "env PREFIXED=${HOME}"])
def test_the_script_makes_the_environment_of_the_class(tmp_path: Path, prefix: str) -> None:
    site = site_at(tmp_path, environment={"prefix": prefix})
    project = read_project(write_project(site))
    script = script_of(project, "screen", tmp_path)
    assert SECRET not in script
    told = run_with_a_jf_that_tells(script, tmp_path)
    assert told["words"] == ["-fe", "execution", "run", str(tmp_path)]
    found = told["environment"]
    assert found["COEVO_DATABASE"] == site.site.database
    assert found["COEVO_ARTIFACTS"] == site.site.artifacts
    assert (found["COEVO_WORKERS"], found["COEVO_DEVICE"], found["TOKEN"]) == ("4", "cpu", SECRET)
    assert (found["JFREMOTE_PROJECT"], found["JFREMOTE_PROJECTS_FOLDER"]) == ("here", str(tmp_path / "jobs" / "jobflow-remote"))
    assert "FW_CONFIG_FILE" not in found
    assert found.get("PREFIXED") == (os.environ["HOME"] if prefix else None)


def test_a_command_that_fails_ends_the_script(tmp_path: Path) -> None:
    project = read_project(write_project(site_at(tmp_path, environment={"commands": ["false"]})))
    done = subprocess.run(["bash", "-c", script_of(project, "gpu", tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "environments.default.commands[0] failed" in done.stderr


def test_without_a_queue_one_worker_runs_all_classes(tmp_path: Path) -> None:
    path = write_project(site_at(tmp_path, queue="none", workers=3, classes=None))
    project = read_project(path)
    assert list(project.workers) == ["local"]
    assert project.workers["local"].max_jobs == 3
    queue = JobflowRemoteQueue(path, project)
    assert queue.job_config("label") == {"worker": "local", "exec_config": "label"}
    told = run_with_a_jf_that_tells(script_of(project, "local", tmp_path, "label"), tmp_path)
    assert (told["environment"]["COEVO_DEVICE"], told["environment"]["JFREMOTE_PROJECT"]) == ("cpu", "here")


def test_what_is_set_for_the_runner_by_hand_is_kept(tmp_path: Path) -> None:
    site = site_at(tmp_path)
    path = write_project(site)
    written = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**written, "runner": {"delay_checkout": 3}, "workers": {}}))
    project = read_project(write_project(site))
    assert project.runner.delay_checkout == 3
    assert set(project.workers) == set(CLASS_NAMES)


@pytest.mark.parametrize(
    "change", [{"runner": {"delay": 1}}, {"queue": {"store": {"type": "MongoStore", "uri": SECRET, "x": 1}}}]
)
def test_a_project_that_is_not_valid_is_told_without_secrets(tmp_path: Path, change: dict[str, Any]) -> None:
    path = write_project(site_at(tmp_path))
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **change}))
    with pytest.raises(ConfigError, match=f"jobflow-remote does not take {next(iter(change))}") as caught:
        read_project(path)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def test_it_is_said_when_jobflow_remote_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jobflow_remote", None)
    with pytest.raises(CampaignError, match=r"pip install 'coevo\[jobflow-remote\]'"):
        write_project(site_at(tmp_path))


class TestQueue:
    """On a server that speaks MongoDB's protocol."""

    campaign = CampaignDocument(
        id="c" * 24, node="tiny", branch="main", start=None, iterations=1, status="running", created="2026-01-01T00:00:00Z"
    )

    @pytest.fixture
    def loaded(self, tiny_text: str) -> LoadedConfig:
        return LoadedConfig(parse_config(tiny_text, "tiny"), tiny_text, "tiny.yaml")

    @pytest.fixture
    def site(self, tmp_path: Path, mongodb_uri: str, monkeypatch: pytest.MonkeyPatch) -> LoadedSite:
        monkeypatch.setenv("COEVO_DATABASE", mongodb_uri)
        monkeypatch.setenv("COEVO_ARTIFACTS", f"file://{tmp_path}/artifacts")
        return site_at(tmp_path, database=mongodb_uri, launchpad=mongodb_uri)

    @pytest.fixture
    def queue(self, site: LoadedSite) -> Iterator[JobflowRemoteQueue]:
        queue = open_queue(write_project(site))
        queue.prepare()
        yield queue
        queue.close()

    def add(self, queue: submission.WorkflowQueue, loaded: LoadedConfig, iteration: int = 0) -> bool:
        key = continuation.submission_key(self.campaign, iteration)
        return submission.insert_once(
            queue, key, lambda: continuation.add_transition(queue, seed_flow(loaded), self.campaign, iteration)
        )

    def test_every_job_has_its_worker_and_metadata(self, queue: JobflowRemoteQueue, loaded: LoadedConfig) -> None:
        assert self.add(queue, loaded)
        jobs = list(queue.controller.jobs.find())
        assert {job["job"]["name"]: job["worker"] for job in jobs} == {
            job["job"]["name"]: class_of(job["job"]["name"]) for job in jobs
        }
        assert {job["job"]["name"].rpartition("/")[2] for job in jobs} >= {"evaluate-references", "commit", "continue"}
        for job in jobs:
            shards = job["job"]["config"]["response_manager_config"]
            assert shards == {"worker": class_of_shards(job["job"]["name"])}
            assert job["job"]["metadata"]["coevo"] == {
                "node": "tiny",
                "branch": "main",
                "campaign": "c" * 24,
                "iteration": 0,
                "key": f"{'c' * 24}/0",
            }
        told = str(jobs) + str(list(queue.controller.flows.find()))
        assert SECRET not in told
        assert "mongodb://" not in told

    @pytest.mark.timing
    def test_who_adds_at_once_adds_one_workflow(
        self, site: LoadedSite, loaded: LoadedConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each with connections of its own, on a queue that nobody has prepared."""
        monkeypatch.setattr(submission, "STALE_CLAIM", math.inf)  # nobody is taken for dead who is slow
        path = write_project(site)

        def someone(_: int) -> bool:
            queue = open_queue(path)
            queue.prepare()
            try:
                return self.add(queue, loaded)
            finally:
                queue.close()

        with ThreadPoolExecutor(4) as threads:
            assert sorted(threads.map(someone, range(4))) == [False, False, False, True]
        queue = open_queue(path)
        flows = list(queue.controller.flows.find())
        assert [flow["metadata"]["coevo"]["key"] for flow in flows] == [f"{'c' * 24}/0"]
        assert queue.controller.jobs.count_documents({}) == len(flows[0]["jobs"])
        assert queue.controller.auxiliary.count_documents({"next_id": {"$exists": True}}) == 1
        queue.close()

    @pytest.mark.parametrize("left", [0, 3])
    def test_an_insert_that_died_is_replaced(
        self, queue: JobflowRemoteQueue, loaded: LoadedConfig, left: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert self.add(queue, loaded)
        first = queue.controller.flows.find_one({})
        assert first is not None
        queue.controller.jobs.delete_many({"uuid": {"$in": first["jobs"][left:]}})
        monkeypatch.setattr(submission, "STALE_CLAIM", 0.0)
        assert self.add(queue, loaded)
        flows = list(queue.controller.flows.find())
        assert len(flows) == 1
        assert flows[0]["uuid"] != first["uuid"]
        assert sorted(job["uuid"] for job in queue.controller.jobs.find()) == sorted(flows[0]["jobs"])
        assert not self.add(queue, loaded)

    def test_jobs_that_came_later_do_not_count(self, queue: JobflowRemoteQueue, loaded: LoadedConfig) -> None:
        """The runner notes the jobs of a fan-out in the workflow before it inserts them: that is no insert that died."""
        assert self.add(queue, loaded)
        queue.controller.flows.update_one({}, {"$addToSet": {"jobs": {"$each": ["shard-1", "shard-2"]}}})
        assert not self.add(queue, loaded)

    @pytest.mark.long
    def test_a_workflow_that_was_deleted_is_added_again(
        self, queue: JobflowRemoteQueue, loaded: LoadedConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert self.add(queue, loaded)
        flow = queue.controller.flows.find_one({})
        assert flow is not None
        environment = {**os.environ, **project_variables(queue.project_file)}
        jf = Path(sys.executable).with_name("jf")
        done = subprocess.run(
            [jf, "flow", "delete", "-y", "-fid", flow["uuid"]], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert queue.controller.jobs.count_documents({}) == 0
        monkeypatch.setattr(submission, "STALE_CLAIM", 0.0)
        assert self.add(queue, loaded)

    def test_an_insert_that_failed_is_tried_anew_at_once(self, queue: JobflowRemoteQueue, loaded: LoadedConfig) -> None:
        def fail() -> None:
            raise OSError("away")

        with pytest.raises(OSError, match="away"):
            submission.insert_once(queue, continuation.submission_key(self.campaign, 0), fail)
        assert self.add(queue, loaded)

    def test_what_one_manager_has_the_other_refuses(
        self, queue: JobflowRemoteQueue, site: LoadedSite, loaded: LoadedConfig
    ) -> None:
        fireworks = FireworksQueue(launchpad(site))
        prepare_launchpad(fireworks.launchpad)
        assert self.add(queue, loaded, 0)
        with pytest.raises(CampaignError, match="iteration 0 of this campaign was submitted to jobflow-remote"):
            self.add(fireworks, loaded, 0)
        assert self.add(fireworks, loaded, 1)
        with pytest.raises(CampaignError, match="iteration 1 of this campaign was submitted to fireworks"):
            self.add(queue, loaded, 1)
        assert queue.controller.flows.count_documents({}) == 1
        fireworks.launchpad.connection.close()


def test_the_next_step_is_a_line_of_shell(tmp_path: Path) -> None:
    path = tmp_path / "with space" / "here.yaml"
    path.parent.mkdir()
    line = JobflowRemoteQueue(path, None).next_step("tiny")  # type: ignore[arg-type]
    exported = subprocess.run(
        ["bash", "-c", line.replace("jf runner start", "env")], capture_output=True, text=True, check=True
    ).stdout
    assert f"JFREMOTE_PROJECTS_FOLDER={path.parent}" in exported.splitlines()
    assert shlex.split(line)[-3:] == ["jf", "runner", "start"]
