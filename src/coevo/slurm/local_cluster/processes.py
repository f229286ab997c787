"""The processes of a one-host SLURM cluster: which they are, how they are started, and how exactly they are ended.

A process is known by its id, the moment it started and a command line or environment that names the cluster's directory: the id
alone may be another process's by now.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from coevo.errors import LocalClusterError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from coevo.slurm.local_cluster.files import ClusterFiles

PROC = Path("/proc")
DEATH_PATIENCE = 60.0
"""Seconds for killed processes to be gone."""


@dataclass(frozen=True)
class Process:
    """A process of this machine.

    Attributes
    ----------
    pid : int
        Its id.
    started : int
        When it started, in clock ticks since the machine did.
    """

    pid: int
    started: int

    @property
    def runs(self) -> bool:
        """Whether it is still there, and not merely waiting for its parent to ask how it ended."""
        return _find(self.pid) == self

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, if it is still there."""
        if self.runs:
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return


def start_daemon(files: ClusterFiles, daemon: str, command: list[str]) -> subprocess.Popen[bytes]:
    """Start a daemon in a session of its own and note which process it is.

    What it writes is appended to its log. It inherits no ``SLURM_*`` variable but the one that names the cluster's configuration.

    Raises
    ------
    LocalClusterError
        If it cannot be run.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH", "MUNGE"))}
    environment["SLURM_CONF"] = str(files.configuration)
    with files.log(daemon).open("ab") as log:
        try:
            started = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=files.directory,
                env=environment,
                start_new_session=True,
            )
        except OSError as err:  # its interpreter is missing, or closed to this user
            raise LocalClusterError(f"{daemon}: {command[0]} cannot be run: {err.strerror}") from None
    process = _find(started.pid)
    if process is not None:
        files.pid_file(daemon).write_text(f"{process.pid} {process.started}\n", encoding="ascii")
    return started


def running_daemon(files: ClusterFiles, daemon: str) -> Process | None:
    """Return the process of a daemon, or None if it is gone.

    A pid file may outlive its process; then the process that has its id now is not ours, and None is returned.
    """
    try:
        pid, started = map(int, files.pid_file(daemon).read_text(encoding="ascii").split())
    except (FileNotFoundError, ValueError):
        return None
    process = Process(pid, started)
    if not process.runs or str(files.directory).encode() not in _read(pid, "cmdline"):
        return None
    return process


def job_processes(files: ClusterFiles) -> tuple[list[Process], list[Process]]:
    """Return the processes that look after the cluster's jobs (slurmstepd), and those of the jobs themselves.

    A slurmstepd writes its title over its environment, and stays in the directory of the slurmd that started it. What a job runs
    has ``SLURM_CONF`` and ``SLURMD_NODENAME`` from slurmd; a shell of the user may have the former, never the latter.
    """
    ours = f"SLURM_CONF={files.configuration}".encode()
    keepers, jobs = [], []
    for entry in PROC.iterdir():
        process = _find(int(entry.name)) if entry.name.isdecimal() else None
        if process is None or process.pid == os.getpid():
            continue
        if _read(process.pid, "comm").strip() == b"slurmstepd":
            if _directory(process.pid) == files.directory:
                keepers.append(process)
            continue
        environment = _read(process.pid, "environ").split(b"\0")
        if ours in environment and any(name.startswith(b"SLURMD_NODENAME=") for name in environment):
            jobs.append(process)
    return keepers, jobs


def end(processes: Iterable[Process], *, patience: float) -> bool:
    """Ask processes to end, and end those that do not within the patience (seconds).

    Returns
    -------
    bool
        Whether all ended by themselves.
    """
    waited_for = list(processes)
    for process in waited_for:
        process.send(signal.SIGTERM)
    if wait_until(lambda: not any(process.runs for process in waited_for), patience):
        return True
    for process in waited_for:
        process.send(signal.SIGKILL)
    # a process that is killed lives until it is given a processor once more
    wait_until(lambda: not any(process.runs for process in waited_for), DEATH_PATIENCE)
    return False


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for a condition; return whether it came true within so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        # asked before the last look: who was held up for long between two looks looks once more
        is_over = time.monotonic() > deadline
        if condition():
            return True
        if is_over:
            return False
        time.sleep(0.05)


def _find(pid: int) -> Process | None:
    """Return the living process with an id (a zombie does not live, unless other threads of it do)."""
    # the name of the command stands in brackets and may hold blanks and brackets itself
    fields = _read(pid, "stat").rpartition(b")")[2].split()
    # its ports and locks are free when the last of its threads has ended, whichever that is
    if len(fields) < 20 or fields[0] == b"X" or (fields[0] == b"Z" and int(fields[17]) <= 1):
        return None
    return Process(pid, int(fields[19]))


def _read(pid: int, name: str) -> bytes:
    """Return a file of a process; nothing if the process is gone or somebody else's."""
    try:
        return (PROC / str(pid) / name).read_bytes()
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return b""


def _directory(pid: int) -> Path | None:
    try:
        return (PROC / str(pid) / "cwd").readlink()
    except OSError:
        return None
