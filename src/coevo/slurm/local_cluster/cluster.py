"""A SLURM cluster of four nodes on one host, with a MongoDB server, for tests and for trying coevo: start, stop, status.

``slurm/local-cluster`` at the root of the repository runs this, and so does ``python -m coevo.slurm.local_cluster``. It
needs SLURM and munge (no systemd, no cgroups, no accounting daemon) and Python's standard library, and writes only in its
directory.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from coevo.errors import LocalClusterError
from coevo.slurm.local_cluster.configuration import write_files
from coevo.slurm.local_cluster.daemons import (
    commands,
    find_database,
    find_programs,
    lacking,
    munged_answers,
    refuse_another,
)
from coevo.slurm.local_cluster.files import (
    DAEMONS,
    DATABASE,
    KILL_WAIT,
    Description,
    default_directory,
    free_ports,
    locate,
    make_directories,
    read_description,
)
from coevo.slurm.local_cluster.processes import end, job_processes, running_daemon, start_daemon, wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from coevo.slurm.local_cluster.daemons import Programs
    from coevo.slurm.local_cluster.files import ClusterFiles

UP, PARTLY_UP, STOPPED = 0, 1, 3
"""Exit codes of ``status``, as those of services have them."""
START_PATIENCE = 180.0
"""Seconds until every daemon must answer; one that ends instead is told of at once."""


class _PortTakenError(LocalClusterError):
    """Somebody took a port between our looking and our daemon's listening."""


def start(files: ClusterFiles, *, with_database: bool = True, beside: bool = False) -> dict[str, str]:
    """Start what does not run yet of a cluster, and wait until all of it answers.

    Parameters
    ----------
    files : ClusterFiles
        Where it lies.
    with_database : bool
        Whether a MongoDB server belongs to it. A cluster that runs gets one if it has none.
    beside : bool
        Whether to start it although another SLURM is there.

    Returns
    -------
    dict of str to str
        The environment in which the cluster is used.

    Raises
    ------
    LocalClusterError
        If it may not start here, a program is missing, or a daemon does not come up.
    """
    programs = find_programs()
    if not beside:
        refuse_another(files, programs, os.environ)
    make_directories(files)
    with _alone(files):
        for _ in range(2):
            try:
                return _start(files, programs, with_database=with_database)
            except _PortTakenError as err:
                _tell(f"{err}; trying again")
        return _start(files, programs, with_database=with_database)


def _start(files: ClusterFiles, programs: Programs, *, with_database: bool) -> dict[str, str]:
    description = read_description(files)
    running = {name for name in (*DAEMONS, DATABASE) if running_daemon(files, name)}
    if description is None or not running:
        # what outlived the daemons of its jobs would be in the way of those to come
        _end_jobs(files)
        description = Description(free_ports(description.ports if description else None), with_database)
        notice = write_files(files, description, version=programs.version)
        _tell(f"a cluster of four nodes in {files.directory}" + (f"; {notice}" if notice else ""))
    elif with_database and not description.with_database:
        description = Description(description.ports, with_database=True)
        write_files(files, description, version=programs.version)
    database = find_database() if description.with_database else None
    started: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, command in commands(files, description.ports, programs, database).items():
            if name in running:
                continue
            started[name] = start_daemon(files, name, command)
            _tell(f"{name}: started" + (" again" if running else ""))
            if name == "munged":
                _wait_for(files, started, START_PATIENCE, lambda: munged_answers(files))
        _wait_for(files, started, START_PATIENCE, lambda: not lacking(files, programs, description))
    except BaseException:
        _tell("ending what was started")
        end([process for name in started if (process := running_daemon(files, name))], patience=5)
        raise
    _tell(f"all {len(DAEMONS) + description.with_database} daemons answer")
    return environment_of(files, description)


def _wait_for(
    files: ClusterFiles, started: Mapping[str, subprocess.Popen[bytes]], seconds: float, condition: Callable[[], bool]
) -> None:
    """Wait for a condition, unless a daemon that was started ends."""

    def ended() -> list[str]:
        return [name for name, daemon in started.items() if daemon.poll() is not None]

    came_true = wait_until(lambda: bool(ended()) or condition(), seconds)
    for name in ended():
        lines = files.log(name).read_text(errors="replace").splitlines()[-5:]
        kind = _PortTakenError if any("Address already in use" in line for line in lines) else LocalClusterError
        raise kind(f"{name} ended with code {started[name].returncode}; the end of {files.log(name)}: " + " | ".join(lines))
    if not came_true:
        raise LocalClusterError(f"after {seconds:g} s not all daemons answer: see the logs in {files.directory / 'log'}")


def environment_of(files: ClusterFiles, description: Description) -> dict[str, str]:
    """Return the environment in which a cluster is used: SLURM's configuration, database, artifacts and launchpad."""
    told = {"COEVO_LOCAL_CLUSTER": str(files.directory), "SLURM_CONF": str(files.configuration)}
    if description.with_database:
        server = f"mongodb://127.0.0.1:{description.ports.database}"
        told["COEVO_DATABASE"] = f"{server}/coevo"
        told["COEVO_ARTIFACTS"] = f"file://{files.artifacts}"
        told["COEVO_LAUNCHPAD"] = f"{server}/coevo_launchpad"
    return told


def stop(files: ClusterFiles, *, purge: bool = False) -> None:
    """Cancel the cluster's jobs, end its processes and no others, and wait until they are gone.

    Parameters
    ----------
    files : ClusterFiles
        Where it lies.
    purge : bool
        Whether to remove its directory, with the logs, the database and the artifacts.
    """
    if not files.description.is_file():
        _tell(f"there is no cluster in {files.directory}")
        return
    with _alone(files):
        _cancel_jobs(files)
        nodes = [name for name in DAEMONS if name.startswith("slurmd-")]
        # each before the one that it still tells something, or whose signatures it needs; a slurmctld that is ended by force
        # forgets which jobs' ids it gave away, and a database has to recover when it is started again
        for names, patience in ((nodes, 30), (["slurmctld"], 120), ([DATABASE], 60), (["munged"], 10)):
            processes = {name: process for name in names if (process := running_daemon(files, name))}
            if processes:
                ended = end(processes.values(), patience=patience)
                _tell(f"{', '.join(processes)}: ended" + ("" if ended else ", not all by themselves"))
        _end_jobs(files)
        for name in (*DAEMONS, DATABASE):
            files.pid_file(name).unlink(missing_ok=True)
        if purge:
            shutil.rmtree(files.directory)
            _tell(f"{files.directory}: removed")


def _cancel_jobs(files: ClusterFiles) -> None:
    """Cancel all jobs, and wait until their processes have ended; if no controller answers, there is nothing to ask for that."""
    if running_daemon(files, "slurmctld") is None or running_daemon(files, "munged") is None:
        return
    programs = find_programs()
    answers, told = programs.ask(files.configuration, "squeue", "-h", "-o", "%F")
    jobs = sorted(set(told.split()), key=int) if answers else []
    if not answers:
        _tell(f"slurmctld does not tell its jobs: {told.strip()}")
    if jobs:
        _tell(f"cancelling {len(jobs)} jobs")
        programs.ask(files.configuration, "scancel", *jobs)
        wait_until(lambda: not any(job_processes(files)), KILL_WAIT + 5)


def _end_jobs(files: ClusterFiles) -> None:
    """End processes of jobs that no slurmd looks after any more, then those that looked after them, until there are none.

    A process may have started another one between our looking and its end.
    """
    for _ in range(20):
        for kind, patience in ((1, KILL_WAIT), (0, 1)):  # a slurmstepd that can tell nobody of the end goes on trying
            processes = job_processes(files)[kind]
            if processes:
                _tell(f"ending {len(processes)} processes that jobs left")
                end(processes, patience=patience)
        if not any(job_processes(files)):
            return


def status(files: ClusterFiles) -> int:
    """Print what runs of a cluster; return the exit code that says so."""
    description = read_description(files) if files.description.is_file() else None
    names = (*DAEMONS, *([DATABASE] if description and description.with_database else []))
    running = {name: process for name in (*DAEMONS, DATABASE) if (process := running_daemon(files, name))}
    if description is None or not running:
        print(f"stopped: {files.directory}")
        return STOPPED
    programs = find_programs()
    absent = lacking(files, programs, description)
    lines = [f"{'partly up' if absent else 'up'}: {files.directory}"]
    processes = {name: f" (process {process.pid})" for name, process in running.items()}
    lines += [f"  {name:<12} {absent.get(name) or 'up'}{processes.get(name, '')}" for name in names]
    if "slurmctld" not in absent:
        _, nodes = programs.ask(files.configuration, "sinfo", "-N", "-o", "%.8N %.10P %.8T %.4c %.14G")
        _, jobs = programs.ask(files.configuration, "squeue", "-h", "-o", "%T")
        lines.append(nodes.rstrip())
        lines.append(f"jobs: {jobs.split().count('RUNNING')} running, {jobs.split().count('PENDING')} waiting")
    if absent:
        lines.append("slurm/local-cluster start starts what is missing")
    print("\n".join(lines))
    return PARTLY_UP if absent else UP


@contextlib.contextmanager
def _alone(files: ClusterFiles) -> Iterator[None]:
    """Let one process at a time start or stop the cluster."""
    folder = os.open(files.directory, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _tell(text: str) -> None:
    print(f"-- {text}", file=sys.stderr, flush=True)


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="local-cluster", description="A SLURM cluster on this host, to test and try coevo")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="start|stop|status")
    where = argparse.ArgumentParser(add_help=False)
    told = "where it lies: else in $COEVO_LOCAL_CLUSTER, or below the directory for temporary files"
    where.add_argument("--directory", type=Path, default=None, help=told)
    verb = verbs.add_parser("start", parents=[where], help="start what does not run; print the environment, to be evaluated")
    verb.add_argument("--no-database", action="store_true", help="without a MongoDB server")
    verb.add_argument("--beside", action="store_true", help="although there is another SLURM")
    verb = verbs.add_parser("stop", parents=[where], help="cancel the jobs and end the cluster's own processes")
    verb.add_argument("--purge", action="store_true", help="then remove the directory: logs, database and artifacts")
    verbs.add_parser("status", parents=[where], help="print what runs; exit code 0 if all does, 1 if not all, 3 if nothing")
    return parser.parse_args(given)


def main(given: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code, 2 for an error."""
    arguments = _arguments(given)
    try:
        files = locate(arguments.directory or default_directory())
        if arguments.verb == "status":
            return status(files)
        if arguments.verb == "stop":
            stop(files, purge=arguments.purge)
        else:
            told = start(files, with_database=not arguments.no_database, beside=arguments.beside)
            print("\n".join(f"export {name}={shlex.quote(value)}" for name, value in told.items()))
    except LocalClusterError as err:
        print(f"local-cluster: {err}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
