"""Starting, stopping and repairing a one-host cluster, and keeping its hands off everything else."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from coevo.errors import LocalClusterError
from coevo.settings import read_settings
from coevo.slurm.local_cluster.daemons import find_programs, refuse_another
from coevo.slurm.local_cluster.files import LONGEST_DIRECTORY, locate
from coevo.slurm.local_cluster.processes import Process, end, running_daemon, wait_until
from slurm_cluster import LOCAL_CLUSTER, PATIENCE, SlurmCluster, local_cluster, need_slurm, without_slurm

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.service, pytest.mark.timing]


def processes_of(directory: Path) -> list[str]:
    """Every living process whose command line, environment or directory names the cluster's."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            told = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes() + bytes((entry / "cwd").readlink())
        except OSError:  # ended meanwhile
            continue
        if str(directory).encode() in told:
            found.append(f"{entry.name} {(entry / 'cmdline').read_bytes()!r}")
    return found


def read_settings_in(environment: dict[str, str]) -> tuple[str, str | None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        settings = read_settings()
    return settings.database, settings.artifacts


@pytest.fixture
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory whose path is short enough for sockets, as that of tmp_path is not."""
    return tmp_path_factory.mktemp("own")


@pytest.fixture
def place(short: Path) -> Iterator[Path]:
    """A directory for a cluster, which is stopped at the end whatever happens."""
    need_slurm()
    directory = short / "c"
    yield directory
    local_cluster("stop", directory)
    assert processes_of(directory) == []


@pytest.mark.long
def test_a_cluster_starts_stops_and_starts_again(place: Path) -> None:
    assert local_cluster("status", place).returncode == 3
    done = local_cluster("start", place, "--no-database")
    assert (done.returncode, done.stdout) == (
        0,
        f"export COEVO_LOCAL_CLUSTER={place}\nexport SLURM_CONF={place}/etc/slurm.conf\n",
    ), done.stderr
    again = local_cluster("start", place, "--no-database")
    assert (again.returncode, again.stdout) == (0, done.stdout)
    assert "started" not in again.stderr
    assert local_cluster("status", place).returncode == 0

    cluster = SlurmCluster.start(place, "--no-database")
    stubborn = cluster.begin("trap '' TERM; echo began; sleep 3000 & sleep 3000")
    cluster.submit("true", "-w", "cpu1", "--exclusive")
    logs = set((place / "log").iterdir())
    cluster.stop()
    assert processes_of(place) == []
    assert logs <= set((place / "log").iterdir())
    assert local_cluster("status", place).returncode == 3
    assert "stopped" in local_cluster("status", place).stdout
    cluster.stop()

    # a job's id may stand in a launchpad, and is not given away again
    cluster.repair()
    assert cluster.submit("true") == stubborn + 2
    cluster.stop("--purge")
    assert not place.exists()


def test_a_shell_evaluates_what_start_prints(place: Path) -> None:
    script = f'eval "$("{LOCAL_CLUSTER}" start --no-database)" && sinfo -h -p gpu -o %D && "{LOCAL_CLUSTER}" stop --purge'
    done = subprocess.run(
        ["sh", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={**without_slurm(), "COEVO_LOCAL_CLUSTER": str(place)},
    )
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
    assert not place.exists()


def saved_jobs(place: Path) -> bytes:
    """Return what slurmctld has saved of its jobs; nothing at the moment at which it puts a new file in place of the old one."""
    try:
        return (place / "state" / "job_state").read_bytes()
    except FileNotFoundError:
        return b""


@pytest.mark.long
def test_daemons_that_were_killed_are_shown_and_started_again(place: Path) -> None:
    cluster = SlurmCluster.start(place, "--no-database")
    job = cluster.begin(f"echo began; until [ -e {place}/go ]; do sleep 0.1; done; echo done")
    # slurmctld saves what it knows of jobs within seconds; what it saved before the job ran would let it start the job again
    cluster.run("scontrol", "update", f"jobid={job}", "comment=known-to-run")
    assert wait_until(lambda: b"known-to-run" in saved_jobs(place), PATIENCE)
    kept = {name: cluster.pid(name) for name in ("munged", "slurmd-cpu1", "slurmd-gpu2")}
    cluster.kill("slurmctld")
    cluster.kill("slurmd-cpu2")
    done = local_cluster("status", place)
    assert done.returncode == 1
    assert "slurmctld    gone\n" in done.stdout
    assert "slurmd-cpu2  gone\n" in done.stdout
    assert done.stdout.count("gone") == 2
    cluster.repair()
    assert local_cluster("status", place).returncode == 0
    assert kept == {name: cluster.pid(name) for name in kept}
    (place / "go").touch()
    assert cluster.wait(job)["JobState"] == "COMPLETED"
    assert cluster.output(job) == "began\ndone\n"


@pytest.mark.long
def test_jobs_are_ended_although_no_daemon_is_left_to_do_it(place: Path) -> None:
    cluster = SlurmCluster.start(place, "--no-database")
    cluster.begin("echo began; sleep 3000")
    for daemon in ("slurmctld", "slurmd-cpu1", "slurmd-cpu2", "slurmd-gpu1", "slurmd-gpu2", "munged"):
        cluster.kill(daemon)
    assert local_cluster("status", place).returncode == 3
    assert any("slurmstepd" in process for process in processes_of(place))
    assert "processes that jobs left" in local_cluster("stop", place).stderr
    assert processes_of(place) == []


@pytest.mark.long
def test_a_database_outlives_its_server(place: Path) -> None:
    from pymongo import MongoClient

    cluster = SlurmCluster.start(place)
    names = ["COEVO_LOCAL_CLUSTER", "SLURM_CONF", "COEVO_DATABASE", "COEVO_ARTIFACTS", "COEVO_LAUNCHPAD"]
    assert list(cluster.environment) == names
    assert read_settings_in(cluster.environment) == (f"{cluster.mongodb}/coevo", f"file://{place}/artifacts")
    with MongoClient(cluster.mongodb) as client:
        client["coevo"]["kept"].insert_one({"_id": 1})
    cluster.kill("mongodb")
    assert "mongodb      gone\n" in local_cluster("status", place).stdout
    cluster.repair()
    with MongoClient(cluster.mongodb) as client:
        assert list(client["coevo"]["kept"].find()) == [{"_id": 1}]
        client["coevo"]["kept"].insert_one({"_id": 2})
    cluster.stop()
    assert SlurmCluster.start(place).environment == cluster.environment
    with MongoClient(cluster.mongodb) as client:
        assert client["coevo"]["kept"].count_documents({}) == 2


@pytest.mark.long
def test_two_clusters_know_nothing_of_each_other(place: Path, slurm_cluster: SlurmCluster) -> None:
    other = SlurmCluster.start(place, "--no-database")
    theirs, ours = (json.loads((cluster.directory / "cluster.json").read_text())["ports"] for cluster in (slurm_cluster, other))
    assert not {theirs["controller"], *theirs["nodes"].values()} & {ours["controller"], *ours["nodes"].values()}
    jobs = [cluster.begin("echo began; sleep 3000", "-J", name) for cluster, name in ((slurm_cluster, "theirs"), (other, "ours"))]
    assert other.run("squeue", "-h", "-o", "%j") == "ours\n"
    other.stop()
    assert processes_of(place) == []
    assert local_cluster("status", slurm_cluster.directory).returncode == 0
    assert slurm_cluster.job(jobs[0])["JobState"] == "RUNNING"
    slurm_cluster.run("scancel", str(jobs[0]))


def test_nothing_is_started_where_the_user_works_with_another_cluster(short: Path, slurm_cluster: SlurmCluster) -> None:
    given = slurm_cluster.environment["SLURM_CONF"]
    done = local_cluster("start", short / "c", SLURM_CONF=given)
    assert (done.returncode, done.stdout) == (2, "")
    assert given in done.stderr
    assert "--beside" in done.stderr
    assert not (short / "c").exists()
    # its own file is nobody else's
    again = local_cluster("start", slurm_cluster.directory, **slurm_cluster.environment)
    assert again.returncode == 0, again.stderr


def test_nothing_is_started_where_the_machine_is_part_of_a_cluster_that_answers(place: Path, slurm_cluster: SlurmCluster) -> None:
    programs, system = find_programs(), [place / "absent.conf", Path(slurm_cluster.environment["SLURM_CONF"])]
    with pytest.raises(LocalClusterError, match=r"belongs to a SLURM cluster that answers .*slurm\.conf.*--beside"):
        refuse_another(locate(place), programs, {}, system)
    other = SlurmCluster.start(place, "--no-database", "--beside")
    other.stop()
    refuse_another(locate(slurm_cluster.directory), programs, {}, [Path(other.environment["SLURM_CONF"])])  # does not answer


@pytest.mark.long
def test_a_stale_pid_file_harms_no_foreign_process(place: Path) -> None:
    cluster = SlurmCluster.start(place, "--no-database")
    cluster.stop()
    # one started when its pid file says so, the other has the directory on its command line
    sleeping, reading = subprocess.Popen(["sleep", "3000"]), subprocess.Popen(["tail", "-f", place / "log" / "munged.log"])
    try:
        ticks = Path(f"/proc/{sleeping.pid}/stat").read_text().rpartition(")")[2].split()[19]
        (place / "pids" / "slurmctld").write_text(f"{sleeping.pid} {ticks}\n")
        (place / "pids" / "slurmd-cpu1").write_text(f"{reading.pid} 1\n")
        assert running_daemon(locate(place), "slurmctld") is None
        assert running_daemon(locate(place), "slurmd-cpu1") is None
        assert local_cluster("status", place).returncode == 3
        cluster.stop()
        cluster.repair()
        cluster.stop()
        assert (sleeping.poll(), reading.poll()) == (None, None)
    finally:
        for process in (sleeping, reading):
            process.kill()
            process.wait()


@pytest.mark.long
def test_a_port_that_somebody_took_meanwhile_is_not_used(place: Path) -> None:
    before = SlurmCluster.start(place)
    before.stop()
    port = int(before.mongodb.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)):
        after = SlurmCluster.start(place)
        assert after.mongodb != before.mongodb
        assert local_cluster("status", place).returncode == 0


def test_who_does_not_end_when_asked_to_is_ended() -> None:
    stubborn = subprocess.Popen(["sh", "-c", "trap '' TERM; echo ready; exec sleep 3000"], stdout=subprocess.PIPE)
    assert stubborn.stdout is not None
    with stubborn, stubborn.stdout:
        stubborn.stdout.readline()
        ticks = int(Path(f"/proc/{stubborn.pid}/stat").read_text().rpartition(")")[2].split()[19])
        assert end([Process(stubborn.pid, ticks + 1)], patience=0.3) is True  # that one, which had the id, is gone
        assert stubborn.poll() is None
        assert end([Process(stubborn.pid, ticks)], patience=0.3) is False
        assert stubborn.wait() == -signal.SIGKILL


@pytest.mark.parametrize("verb", ["start", "stop"])
def test_a_directory_with_something_else_is_left_alone(short: Path, verb: str) -> None:
    need_slurm()
    (short / "thesis.tex").write_text("precious")
    done = local_cluster(verb, short, *(["--purge"] if verb == "stop" else []))
    assert done.returncode == (2 if verb == "start" else 0)
    assert ("not empty" if verb == "start" else "no cluster") in done.stderr
    assert [path.name for path in short.iterdir()] == ["thesis.tex"]


def test_names_that_slurm_does_not_take_are_refused(short: Path) -> None:
    for name, told in (("a b", "characters other than"), ("x" * LONGEST_DIRECTORY, "a path of")):
        with pytest.raises(LocalClusterError, match=told):
            locate(short / name)
        assert local_cluster("start", short / name).returncode == 2


def test_what_is_missing_is_named(short: Path) -> None:
    done = local_cluster("start", short / "c", PATH=str(short))
    assert done.returncode == 2
    assert "sbatch" in done.stderr
    assert "apt-get install" in done.stderr
    assert not (short / "c").exists()


def test_it_runs_before_anything_is_installed(short: Path) -> None:
    room = LOCAL_CLUSTER.resolve().parent
    shutil.copytree(room.parent, short / "src" / "coevo")
    (short / "slurm").symlink_to("src/coevo/slurm")
    # no site-packages, no PYTHONPATH: the standard library and this copy of the source
    done = subprocess.run(
        [sys.executable, "-I", "-S", short / "slurm" / "local-cluster", "status", "--directory", short / "c"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (3, f"stopped: {short / 'c'}\n"), done.stderr
