"""What the one-host cluster does with jobs: the behaviour of SLURM that submitting, watching and rerunning rest on."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from coevo.slurm.local_cluster.processes import wait_until
from slurm_cluster import PATIENCE, local_cluster

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slurm_cluster import SlurmCluster

pytestmark = [pytest.mark.service, pytest.mark.timing]


@pytest.fixture(autouse=True)
def nothing_left(slurm_cluster: SlurmCluster, out_of_time: int) -> Iterator[None]:
    yield
    jobs = set(slurm_cluster.run("squeue", "-h", "-o", "%A").split()) - {str(out_of_time)}
    slurm_cluster.wait_for_no_job(but=out_of_time, cancel=True)
    assert not jobs
    assert not {"down", "drained"} & set(slurm_cluster.run("sinfo", "-h", "-o", "%T").split())


@pytest.fixture(scope="module")
def out_of_time(slurm_cluster: SlurmCluster) -> Iterator[int]:
    """A job that does not end when it is asked to and is out of time; what becomes of it is looked at last."""
    slurm_cluster.wait_for_no_job()  # of modules before this one
    job = slurm_cluster.begin("trap '' TERM; echo began; sleep 3000 && echo survived")
    slurm_cluster.reach_walltime(job)
    yield job
    slurm_cluster.wait_for_no_job(cancel=True)


@pytest.mark.parametrize(("partition", "nodes"), [("cpu", "cpu"), ("gpu", "gpu"), ("preempt", "cpu")])
def test_each_partition_runs_jobs(slurm_cluster: SlurmCluster, partition: str, nodes: str) -> None:
    job = slurm_cluster.submit('echo "$SLURM_JOB_PARTITION $SLURMD_NODENAME"; exit 3', "-p", partition)
    told = slurm_cluster.wait(job)
    assert (told["JobState"], told["ExitCode"]) == ("FAILED", "3:0")
    assert slurm_cluster.output(job).split() == [partition, told["NodeList"]]
    assert told["NodeList"] in {f"{nodes}1", f"{nodes}2"}


def test_a_job_sees_the_gpus_that_it_asked_for(slurm_cluster: SlurmCluster, tmp_path: Path) -> None:
    # both on one node, at the same time: each waits for the other
    options = ["-p", "gpu", "-w", "gpu2", "--gres", "gpu:1"]
    script = "echo $CUDA_VISIBLE_DEVICES; touch {tmp}/{mine}; until [ -e {tmp}/{other} ]; do sleep 0.1; done"
    first = slurm_cluster.submit(script.format(tmp=tmp_path, mine=1, other=2), *options)
    second = slurm_cluster.submit(script.format(tmp=tmp_path, mine=2, other=1), *options)
    both = slurm_cluster.submit("echo $CUDA_VISIBLE_DEVICES", "-p", "gpu", "-w", "gpu1", "--gres", "gpu:2")
    none = slurm_cluster.submit("echo none$CUDA_VISIBLE_DEVICES", "-p", "cpu")
    assert {slurm_cluster.wait(job)["JobState"] for job in (first, second, both, none)} == {"COMPLETED"}
    assert sorted([slurm_cluster.output(first), slurm_cluster.output(second)]) == ["0\n", "1\n"]
    assert slurm_cluster.output(both) == "0,1\n"
    assert slurm_cluster.output(none) == "none\n"


@pytest.mark.long
def test_two_jobs_run_at_once_on_two_nodes(slurm_cluster: SlurmCluster, tmp_path: Path) -> None:
    # each waits for the other, so that one after the other would never end
    script = "touch {tmp}/{mine}; until [ -e {tmp}/{other} ]; do sleep 0.1; done"
    first = slurm_cluster.submit(script.format(tmp=tmp_path, mine=1, other=2), "-w", "cpu1")
    second = slurm_cluster.submit(script.format(tmp=tmp_path, mine=2, other=1), "-w", "cpu2")
    told = [slurm_cluster.wait(job) for job in (first, second)]
    assert [job["JobState"] for job in told] == ["COMPLETED", "COMPLETED"]


def command_of(process: Path) -> bytes:
    """Nothing if it has ended."""
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""


def test_a_cancelled_job_ends_with_what_it_started(slurm_cluster: SlurmCluster) -> None:
    job = slurm_cluster.begin("sleep 3210 & echo $!; wait")
    child = Path("/proc") / slurm_cluster.wait_for_output(job).strip()
    # it is the shell's copy for a moment
    assert wait_until(lambda: command_of(child) == b"sleep\x003210\x00", PATIENCE)
    slurm_cluster.run("scancel", str(job))
    assert slurm_cluster.wait(job)["JobState"] == "CANCELLED"
    assert wait_until(lambda: command_of(child) != b"sleep\x003210\x00", PATIENCE)


def test_a_drained_node_takes_no_jobs_until_it_is_resumed(slurm_cluster: SlurmCluster, tmp_path: Path) -> None:
    running = slurm_cluster.begin(f"echo began; until [ -e {tmp_path}/go ]; do sleep 0.1; done", "-w", "cpu2")
    slurm_cluster.drain("cpu2", "disk")
    try:
        waiting = slurm_cluster.submit("true", "-w", "cpu2")
        (tmp_path / "go").touch()
        assert slurm_cluster.wait(running)["JobState"] == "COMPLETED"
        shown = ["sinfo", "-h", "-n", "cpu2", "-p", "cpu", "-o", "%T %E"]
        assert wait_until(lambda: slurm_cluster.run(*shown).split() == ["drained", "disk"], PATIENCE)
        # why it waits is known once SLURM has tried to start it
        tried = ("ReqNodeNotAvail", "Resources")
        assert wait_until(lambda: slurm_cluster.job(waiting)["Reason"].startswith(tried), PATIENCE), slurm_cluster.job(waiting)
        assert slurm_cluster.job(waiting)["JobState"] == "PENDING"
    finally:
        slurm_cluster.resume("cpu2")
    assert slurm_cluster.wait(waiting)["JobState"] == "COMPLETED"


def test_jobs_of_a_node_that_fails_are_not_started_again(slurm_cluster: SlurmCluster) -> None:
    job = slurm_cluster.begin("echo began; sleep 3000", "-w", "gpu1", "-p", "gpu")
    slurm_cluster.fail("gpu1")
    slurm_cluster.resume("gpu1")
    told = slurm_cluster.wait(job)
    assert (told["JobState"], told["Requeue"], told["Restarts"]) == ("NODE_FAIL", "0", "0")


def test_preempted_jobs_end_and_wait_again_only_if_they_asked_for_it(slurm_cluster: SlurmCluster) -> None:
    options = ["-p", "preempt", "--exclusive"]
    ends = slurm_cluster.begin("echo began; sleep 3000", *options, "-w", "gpu1")
    returns = slurm_cluster.begin("echo began; sleep 3000", *options, "-w", "gpu2", "--requeue")
    stronger = [slurm_cluster.submit("true", "-p", "gpu", "-w", node) for node in ("gpu1", "gpu2")]
    assert {slurm_cluster.wait(job)["JobState"] for job in stronger} == {"COMPLETED"}
    assert slurm_cluster.wait(ends)["JobState"] == "PREEMPTED"
    slurm_cluster.wait_for_restart(returns)
    slurm_cluster.run("scancel", str(returns))
    assert slurm_cluster.wait(returns)["JobState"] == "CANCELLED"


TOO_MUCH = ("-p gpu -t 13:00:00", "--mem 20G", "-p gpu -N 1 --gres gpu:3", "-p big", "-C big")


@pytest.mark.parametrize("options", TOO_MUCH)
def test_what_no_node_can_give_is_refused(slurm_cluster: SlurmCluster, options: str) -> None:
    told = slurm_cluster.run("sbatch", "--test-only", *options.split(), "--wrap", "true", check=False)
    assert "error" in told or "failure" in told
    assert "to start at" not in told
    assert "error" in slurm_cluster.run("sbatch", *options.split(), "--wrap", "true", check=False)
    assert slurm_cluster.run("squeue", "-h", "-t", "PENDING") == ""


def test_what_a_node_can_give_is_accepted(slurm_cluster: SlurmCluster) -> None:
    options = ["-p", "gpu", "-t", "12:00:00", "-N", "2", "--gres", "gpu:2", "--mem", "8G", "-C", "gpu"]
    assert "to start at" in slurm_cluster.run("sbatch", "--test-only", *options, "--wrap", "true", check=False)


def test_everything_listens_on_the_loopback_interface_alone(slurm_cluster: SlurmCluster) -> None:
    ports = json.loads((slurm_cluster.directory / "cluster.json").read_text())["ports"]
    expected = {ports["database"]}
    if "NoInAddrAny" in Path(slurm_cluster.environment["SLURM_CONF"]).read_text():  # as start says where it is not so
        expected |= {ports["controller"], *ports["nodes"].values()}
    listening: dict[int, set[str]] = {}
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            _, local, _, state = line.split()[:4]
            address, port = local.split(":")
            if state == "0A":
                listening.setdefault(int(port, 16), set()).add(address[-2:] if table == "tcp" else "any")
    assert {port: listening.get(port) for port in expected} == {port: {"7F"} for port in expected}


@pytest.mark.long
def test_the_status_counts_jobs(slurm_cluster: SlurmCluster) -> None:
    done = local_cluster("status", slurm_cluster.directory)
    assert done.returncode == 0
    assert done.stdout.startswith(f"up: {slurm_cluster.directory}\n")
    assert " gone" not in done.stdout
    assert "jobs: " in done.stdout


@pytest.mark.long
def test_a_job_that_is_out_of_time_is_ended_even_if_it_refuses(slurm_cluster: SlurmCluster, out_of_time: int) -> None:
    told = slurm_cluster.wait(out_of_time)
    assert (told["JobState"], told["Reason"]) == ("TIMEOUT", "TimeLimit")
    assert slurm_cluster.output(out_of_time).startswith("began\n")
    assert "survived" not in slurm_cluster.output(out_of_time)
    assert "TIME LIMIT" in slurm_cluster.output(out_of_time)
    finished = (slurm_cluster.directory / "log" / "finished-jobs.txt").read_text()
    assert f"JobId={out_of_time} " in finished
    assert os.environ.get("SLURM_CONF") != slurm_cluster.environment["SLURM_CONF"]
