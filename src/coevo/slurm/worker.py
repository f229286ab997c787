"""A worker: takes jobs of its class from FireWorks' launchpad and runs each in a process of its own.

FireWorks' ``rlaunch`` does the same in the process itself. Here the worker outlives its job: a job that is killed (by the kernel
for memory, by a crash of a library) is reported at once with the signal, every job has its own output files, and a launch names
the SLURM job that it runs in, by which ``coevo rerun`` finds the lost ones.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.process import BaseProcess

    from fireworks.core.launchpad import LaunchPad

NOTHING_TO_DO = 75
"""Exit status of a job's process that found no job (EX_TEMPFAIL)."""
OUTPUT, ERRORS = "job.out", "job.err"
"""What a job prints, in its directory."""
POLL = 0.05
"""Seconds between looks at the clock while there is no job."""
LOOK = 1.0
"""Seconds between looks at running jobs; the end of one is seen at once."""


@dataclass(frozen=True)
class Allocation:
    """What a worker was started for.

    Attributes
    ----------
    files : Path
        The files of the site's workers.
    name : str
        Class of the jobs.
    at_once : int
        Jobs that run at the same time.
    seconds : float
        No job is started later than this.
    idle : float
        Seconds of waiting for jobs, in all, after which the worker ends.
    retry : float
        Seconds after which a worker that found no job asks again.
    """

    files: Path
    name: str
    at_once: int = 1
    seconds: float = float("inf")
    idle: float = 0.0
    retry: float = 10.0


def run_single(files: Path, name: str, fw_id: int | None) -> int:
    """Run one job, in this directory; return the exit status of the worker.

    Parameters
    ----------
    files : Path
        The files of the site's workers.
    name : str
        Class of the job.
    fw_id : int or None
        The Firework; the next one of the class if None.
    """
    process = _start(files, name, Path.cwd(), fw_id)
    process.join()
    return 0 if _ended_well(process, files, Path.cwd()) else 1


def run_packed(allocation: Allocation) -> int:
    """Run jobs, each in a directory of its own below this one, until the time is up or there are none; return the exit status."""
    started = time.monotonic()
    waited, number, ask_again, well = 0.0, 0, started, True
    running: list[tuple[BaseProcess, Path]] = []
    while True:
        now = time.monotonic()
        in_time = now - started < allocation.seconds
        # One at a time: processes that ask the launchpad in the same moment compete for the same job.
        if in_time and now >= ask_again and len(running) < allocation.at_once:
            number += 1
            directory = Path.cwd() / f"job-{number:06d}"
            directory.mkdir()
            running.append((_start(allocation.files, allocation.name, directory, None), directory))
        if not running:
            if not in_time or waited >= allocation.idle:
                return 0 if well else 1
            time.sleep(POLL)
            waited += time.monotonic() - now
            continue
        may_ask = in_time and len(running) < allocation.at_once
        # a process that a killed job leaves behind can keep its sentinel open: so never wait for that alone
        patience = min(LOOK, max(POLL, ask_again - now)) if may_ask else LOOK
        connection.wait([process.sentinel for process, _ in running], patience)
        for process, directory in [item for item in running if not item[0].is_alive()]:
            running.remove((process, directory))
            process.join()
            if process.exitcode == NOTHING_TO_DO:
                ask_again = time.monotonic() + allocation.retry
                _remove_empty(directory)
            else:
                ask_again = time.monotonic()
                well = _ended_well(process, allocation.files, directory) and well


def _start(files: Path, name: str, directory: Path, fw_id: int | None) -> BaseProcess:
    # What a job imports is imported once, before it is forked; no connection and no thread is made here.
    import fireworks.core.rocket_launcher  # noqa: F401
    import jobflow.core.schemas
    import jobflow.managers.fireworks  # noqa: F401

    process = multiprocessing.get_context("fork").Process(target=_run_job, args=(files, name, directory, fw_id))
    process.start()
    return process


def _run_job(files: Path, name: str, directory: Path, fw_id: int | None) -> None:
    """Take a job and run it; the body of its process."""
    os.chdir(directory)
    for target, file in ((1, OUTPUT), (2, ERRORS)):
        opened = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(opened, target)
        os.close(opened)
    from fireworks.core.fworker import FWorker
    from fireworks.core.rocket_launcher import launch_rocket

    fworker = FWorker.from_file(str(files / f"{name}.worker.yaml"))
    fworker.env = {**(fworker.env or {}), **whereabouts()}
    if not launch_rocket(open_launchpad(files), fworker, fw_id, strm_lvl="WARNING"):
        sys.exit(NOTHING_TO_DO)


def whereabouts() -> dict[str, Any]:
    """Say where this process is, as a launch records it: host, pid, and the SLURM job if there is one."""
    pid = os.getpid()
    found: dict[str, Any] = {"host": socket.gethostname(), "pid": pid, "started": process_start(pid)}
    job = os.environ.get("SLURM_JOB_ID")
    return {**found, "slurm_job_id": job} if job else found


def process_start(pid: int) -> int | None:
    """Return the start time of a process in clock ticks since boot, or None if there is no such process (any more)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # the name of the command, in parentheses, may hold anything
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


def open_launchpad(files: Path) -> LaunchPad:
    """Return the launchpad that the files of a site's workers name."""
    from fireworks.core.launchpad import LaunchPad

    return LaunchPad.from_file(str(files / "my_launchpad.yaml"))


def _ended_well(process: BaseProcess, files: Path, directory: Path) -> bool:
    """Report a job whose process died; a job that failed by an error has reported itself."""
    if process.exitcode in (0, NOTHING_TO_DO):
        return process.exitcode == 0
    code = process.exitcode or 0
    if code < 0:
        told = f"killed by {signal.Signals(-code).name}" + (" (out of memory?)" if -code == signal.SIGKILL else "")
    else:
        told = f"ended with exit status {code}"
    told = f"the process of the job was {told}" if code < 0 else f"the process of the job {told}"
    print(f"coevo: {directory.name}: {told}; see {directory / ERRORS}", file=sys.stderr, flush=True)
    reporter = multiprocessing.get_context("fork").Process(target=_report_death, args=(files, directory, told))
    reporter.start()
    reporter.join()
    return False


def _report_death(files: Path, directory: Path, told: str) -> None:
    """Mark the launch of a dead process as fizzled; in a process of its own, because a connection must not be forked."""
    from fireworks.core.firework import FWAction

    launchpad = open_launchpad(files)
    launch = launchpad.launches.find_one({"launch_dir": str(directory), "state": "RUNNING"}, {"launch_id": 1})
    if launch is not None:
        stored = {"_message": "the process died", "_exception": {"_stacktrace": told, "_details": None}}
        launchpad.complete_launch(launch["launch_id"], FWAction(stored_data=stored, exit=True), "FIZZLED")


def _remove_empty(directory: Path) -> None:
    """Remove the directory of a process that found no job, with FireWorks' line that says so."""
    for name in (OUTPUT, ERRORS):
        (directory / name).unlink(missing_ok=True)
    if not any(directory.iterdir()):
        directory.rmdir()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a worker; called by the job script of a site."""
    parser = argparse.ArgumentParser(prog="python -m coevo.slurm.worker", description=main.__doc__)
    parser.add_argument("--files", type=Path, required=True, help="directory of the site's worker files")
    parser.add_argument("--class", dest="name", required=True, help="class of the jobs")
    modes = parser.add_subparsers(dest="mode", required=True)
    single = modes.add_parser("singleshot", help="one job")
    single.add_argument("--fw_id", type=int, help="the Firework; the next one of the class if not given")
    packed = modes.add_parser("packed", help="jobs until the time is up or there are none")
    packed.add_argument("--at-once", type=int, default=1)
    packed.add_argument("--seconds", type=float, default=float("inf"))
    packed.add_argument("--idle", type=float, default=0.0)
    packed.add_argument("--retry", type=float, default=10.0)
    given = parser.parse_args(arguments)
    if given.mode == "singleshot":
        return run_single(given.files, given.name, given.fw_id)
    return run_packed(Allocation(given.files, given.name, given.at_once, given.seconds, given.idle, given.retry))


if __name__ == "__main__":
    sys.exit(main())
