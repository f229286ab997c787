"""A real SLURM cluster of four nodes on this host, with a MongoDB server, for tests: ``slurm/local-cluster`` in a fixture."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from coevo.slurm.local_cluster.processes import Process, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCAL_CLUSTER = Path(__file__).resolve().parents[1] / "slurm" / "local-cluster"
PATIENCE = 600.0
"""Seconds that a cluster on a busy machine is given for any one thing."""
ENDED = (
    "BOOT_FAIL CANCELLED COMPLETED DEADLINE FAILED NODE_FAIL OUT_OF_MEMORY PREEMPTED TIMEOUT".split()  # noqa: SIM905
)


def local_cluster(verb: str, directory: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``slurm/local-cluster`` outside any cluster, or in the environment that is given."""
    command = [sys.executable, str(LOCAL_CLUSTER), verb, "--directory", str(directory), *options]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=PATIENCE, env={**without_slurm(), **environment}
    )


def without_slurm() -> dict[str, str]:
    """Return this process's environment without what points to a cluster or to a database of somebody's."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH", "COEVO_"))}


@dataclass(frozen=True)
class SlurmCluster:
    """A cluster that runs.

    Attributes
    ----------
    directory : Path
        All that is the cluster's: logs in ``log``, ``etc/slurm.conf``.
    environment : dict of str to str
        What ``slurm/local-cluster start`` prints: COEVO_LOCAL_CLUSTER, SLURM_CONF, COEVO_DATABASE, COEVO_ARTIFACTS and
        COEVO_LAUNCHPAD.
    """

    directory: Path
    environment: dict[str, str]

    @classmethod
    def start(cls, directory: Path, *options: str) -> SlurmCluster:
        """Start a cluster, or what is missing of it."""
        done = local_cluster("start", directory, *options)
        assert done.returncode == 0, done.stderr
        words = [shlex.split(line) for line in done.stdout.splitlines()]
        return cls(directory, dict(word.split("=", 1) for _, word in words))

    @property
    def mongodb(self) -> str:
        """The MongoDB server, without a database."""
        return self.environment["COEVO_DATABASE"].rpartition("/")[0]

    def run(self, *command: str, check: bool = True) -> str:
        """Run a command in the cluster's environment; return what it wrote to stdout (and to stderr if it may fail)."""
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
            cwd=self.directory,
            env={**without_slurm(), **self.environment},
        )
        assert done.returncode == 0 or not check, f"{shlex.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout if check else done.stdout + done.stderr

    def submit(self, script: str, *options: str) -> int:
        """Submit a bash script; return the job's id. What it writes lies in :meth:`output`."""
        given = ["--parsable", "--output", f"{self.directory}/log/job-%j.txt", *options, "--wrap", script]
        return int(self.run("sbatch", *given))

    def begin(self, script: str, *options: str) -> int:
        """Submit a script that writes a line once it has begun, and wait for that; return the job's id.

        SLURM calls a job running from the moment at which it has a node, before the node has started anything.
        """
        job = self.submit(script, *options)
        self.wait(job, "RUNNING")
        self.wait_for_output(job)
        return job

    def output(self, job: int) -> str:
        """Return what a job wrote so far."""
        path = self.directory / "log" / f"job-{job}.txt"
        return path.read_text() if path.exists() else ""

    def wait_for_output(self, job: int, seconds: float = PATIENCE) -> str:
        """Wait until a job wrote a line; return what it wrote."""
        assert wait_until(lambda: self.output(job).endswith("\n"), seconds), f"job {job} wrote no line: {self.job(job)}"
        return self.output(job)

    def job(self, job: int) -> dict[str, str]:
        """Return what SLURM says of a job, such as ``{"JobState": "RUNNING", "NodeList": "cpu1", …}``."""
        return dict(word.split("=", 1) for word in self.run("scontrol", "show", "job", str(job), "-o").split() if "=" in word)

    def wait(self, job: int, *states: str, seconds: float = PATIENCE) -> dict[str, str]:
        """Wait until a job is in one of the states (without any: until it has ended); return what SLURM says of it."""
        deadline = time.monotonic() + seconds
        while (told := self.job(job))["JobState"] not in (states or ENDED):
            found = f"job {job} is {told['JobState']} ({told['Reason']})"
            assert told["JobState"] not in ENDED, f"{found} and not {states}"
            assert time.monotonic() < deadline, f"after {seconds} s {found} and not {states or 'at its end'}"
            time.sleep(0.05)
        return told

    def wait_for_restart(self, job: int) -> None:
        """Wait until SLURM has put a job that ran into the queue once more, where it may have begun again by now."""
        assert wait_until(lambda: self.job(job)["Restarts"] == "1", PATIENCE), f"job {job} was not restarted: {self.job(job)}"

    def wait_for_no_job(self, *, but: int | None = None, cancel: bool = False) -> None:
        """Wait until no job waits, runs or is ending but one, cancelling them if asked to.

        What jobs belong to may have ended long before: an allocation waits for more work, or its processes are being ended.
        """

        def is_empty() -> bool:
            jobs = set(self.run("squeue", "-h", "-o", "%A").split()) - {str(but)}
            if jobs and cancel:
                self.run("scancel", "--quiet", *jobs, check=False)  # some may have ended meanwhile
            return not jobs

        assert wait_until(is_empty, PATIENCE), f"jobs are left: {self.run('squeue')}"

    def reach_walltime(self, job: int) -> None:
        """Move a running job's end to now. SLURM ends it as TIMEOUT when it next looks for such jobs: every 30 s."""

        def moved() -> bool:
            # "now" is a whole second, of scontrol; slurmctld refuses one that is over when it looks
            told = self.run("scontrol", "update", f"jobid={job}", "EndTime=now", check=False)
            assert not told or "Invalid time specified" in told, told
            return not told

        assert wait_until(moved, PATIENCE), f"job {job} cannot be made to end: {self.job(job)}"

    def drain(self, node: str, reason: str = "test") -> None:
        """Let a node take no jobs; those that run there go on."""
        self.run("scontrol", "update", f"nodename={node}", "state=drain", f"reason={reason}")

    def fail(self, node: str, reason: str = "test") -> None:
        """Declare a node down: its jobs end as NODE_FAIL at once."""
        self.run("scontrol", "update", f"nodename={node}", "state=down", f"reason={reason}")

    def resume(self, node: str) -> None:
        """Let a node that was drained or down take jobs again."""
        # refused if the node has come back meanwhile, as one that is down does by itself (ReturnToService=2)
        told = self.run("scontrol", "update", f"nodename={node}", "state=resume", check=False)
        deadline = time.monotonic() + PATIENCE
        while (state := self.run("sinfo", "-h", "-N", "-n", node, "-o", "%T").split()[0]).startswith(("down", "drain")):
            assert time.monotonic() < deadline, f"{node} stays {state}: {told}"
            time.sleep(0.05)

    def pid(self, daemon: str) -> int:
        """Return the process of a daemon: munged, slurmctld, slurmd-cpu1, …, mongodb."""
        return int((self.directory / "pids" / daemon).read_text().split()[0])

    def kill(self, daemon: str) -> None:
        """End a daemon by SIGKILL and wait until it is gone; :meth:`repair` starts it again."""
        pid, started = map(int, (self.directory / "pids" / daemon).read_text().split())
        process = Process(pid, started)
        process.send(signal.SIGKILL)
        assert wait_until(lambda: not process.runs, PATIENCE), f"{daemon} survives SIGKILL"

    def repair(self) -> None:
        """Start the daemons that are gone."""
        options = [] if "COEVO_DATABASE" in self.environment else ["--no-database"]
        assert SlurmCluster.start(self.directory, *options).environment == self.environment

    def forget(self) -> None:
        """End the MongoDB server at once: asked to end, it would write its data to the disk first, which nobody reads again."""
        from coevo.slurm.local_cluster.files import DATABASE, locate
        from coevo.slurm.local_cluster.processes import running_daemon

        if server := running_daemon(locate(self.directory), DATABASE):
            server.send(signal.SIGKILL)

    def stop(self, *options: str) -> None:
        """Stop the cluster."""
        done = local_cluster("stop", self.directory, *options)
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def slurm_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlurmCluster]:
    """A cluster for this process's tests: each worker of pytest-xdist has its own. Leave its nodes up and its queue empty."""
    need_slurm()
    directory = tmp_path_factory.mktemp("slurm")
    cluster = SlurmCluster.start(directory)
    try:
        yield cluster
    finally:
        cluster.forget()
        cluster.stop()


def need_slurm() -> None:
    """Skip where SLURM may not or cannot be started, and say why; fail in CI."""
    from coevo.errors import LocalClusterError
    from coevo.slurm.local_cluster.daemons import find_programs, refuse_another
    from coevo.slurm.local_cluster.files import locate

    try:
        refuse_another(locate(Path("nowhere")), find_programs(), os.environ)
    except LocalClusterError as err:
        if os.environ.get("CI"):
            pytest.fail(f"no SLURM cluster for the tests: {err}")
        pytest.skip(f"no SLURM cluster for the tests: {err}")
