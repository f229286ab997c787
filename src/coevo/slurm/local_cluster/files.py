"""What a one-host SLURM cluster consists of: its nodes and daemons, its directory and its ports.

Standard library only: ``slurm/local-cluster`` runs before anything is installed.
"""

from __future__ import annotations

import json
import os
import random
import re
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path

from coevo.errors import LocalClusterError

NODES = ("cpu1", "cpu2", "gpu1", "gpu2")
GPU_NODES = ("gpu1", "gpu2")
DAEMONS = ("munged", "slurmctld", *(f"slurmd-{node}" for node in NODES))
DATABASE = "mongodb"
KILL_WAIT = 5
"""Seconds between SIGTERM and SIGKILL for a job that is cancelled or out of time."""
PORTS = range(20000, 32000)
"""Where ports are looked for: below those that Linux gives to outgoing connections."""
LONGEST_DIRECTORY = 70
"""Characters: the path of a socket below it may have 107."""


@dataclass(frozen=True)
class ClusterFiles:
    """Where the files of a cluster lie; nothing of it lies outside its directory.

    Attributes
    ----------
    directory : Path
        Absolute, without links.
    """

    directory: Path

    @property
    def configuration(self) -> Path:
        """The file that ``SLURM_CONF`` names."""
        return self.directory / "etc" / "slurm.conf"

    @property
    def description(self) -> Path:
        """The JSON file that makes a directory one of a cluster: its ports, and whether it has a database."""
        return self.directory / "cluster.json"

    @property
    def munge_socket(self) -> Path:
        """Where munged listens."""
        return self.directory / "munge" / "socket"

    @property
    def finished_jobs(self) -> Path:
        """One line for each job that ended, as ``jobcomp/filetxt`` writes it."""
        return self.directory / "log" / "finished-jobs.txt"

    def pid_file(self, daemon: str) -> Path:
        """Where we note which process a daemon is."""
        return self.directory / "pids" / daemon

    @property
    def artifacts(self) -> Path:
        """The artifact store of whoever uses the cluster."""
        return self.directory / "artifacts"

    def log(self, daemon: str) -> Path:
        """What a daemon writes."""
        return self.directory / "log" / f"{daemon}.log"


@dataclass(frozen=True)
class Ports:
    """The TCP ports of a cluster.

    Attributes
    ----------
    controller : int
        Of slurmctld.
    nodes : dict of str to int
        Of the slurmd of each node.
    database : int
        Of the MongoDB server.
    """

    controller: int
    nodes: dict[str, int]
    database: int

    @property
    def all(self) -> list[int]:
        """Every port, each once."""
        return [self.controller, *self.nodes.values(), self.database]


@dataclass(frozen=True)
class Description:
    """What a cluster's JSON file says."""

    ports: Ports
    with_database: bool


def default_directory() -> Path:
    """Return ``COEVO_LOCAL_CLUSTER``, or a directory of this user's below the directory for temporary files."""
    given = os.environ.get("COEVO_LOCAL_CLUSTER")
    return Path(given) if given else Path(tempfile.gettempdir()) / f"coevo-local-cluster-{os.getuid()}"


def locate(directory: Path) -> ClusterFiles:
    """Return the files of the cluster in a directory, which need not exist.

    Raises
    ------
    LocalClusterError
        If its path is too long, or has characters that SLURM's configuration files do not take.
    """
    resolved = directory.expanduser().resolve()
    if len(str(resolved)) > LONGEST_DIRECTORY:
        raise LocalClusterError(
            f"{resolved} is a path of {len(str(resolved))} characters, and the cluster's sockets take at most "
            f"{LONGEST_DIRECTORY}: name a shorter one by --directory"
        )
    if not re.fullmatch(r"[\w./+-]+", str(resolved), re.ASCII):
        raise LocalClusterError(
            f"{resolved} has characters other than letters, digits and ./_+-: name another one by --directory"
        )
    return ClusterFiles(resolved)


def make_directories(files: ClusterFiles) -> None:
    """Make the directories of a cluster, readable for nobody else.

    Raises
    ------
    LocalClusterError
        If the directory belongs to somebody else, or holds something else.
    """
    directory = files.directory
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if directory.stat().st_uid != os.getuid():
        raise LocalClusterError(f"{directory} belongs to user {directory.stat().st_uid}: name another one by --directory")
    if not files.description.is_file() and any(directory.iterdir()):
        raise LocalClusterError(f"{directory} is not empty and not a cluster's: name another one by --directory")
    directory.chmod(0o700)
    for name in ("etc", "log", "munge", "pids", "run", "state", "artifacts", *(f"spool/{node}" for node in NODES)):
        (directory / name).mkdir(mode=0o700, parents=True, exist_ok=True)
    key = directory / "munge" / "key"
    if not key.exists():
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(128))


def free_ports(wanted: Ports | None = None) -> Ports:
    """Return ports that nobody listens on: those wanted if they are all free, or others.

    Raises
    ------
    LocalClusterError
        If there are too few.
    """
    if wanted is not None and all(map(_is_free, wanted.all)):
        return wanted
    candidates = random.SystemRandom().sample(PORTS, 400)
    found = [port for port in candidates if _is_free(port)][: 2 + len(NODES)]
    if len(found) < 2 + len(NODES):
        raise LocalClusterError(
            f"{len(found)} of 400 ports between {PORTS.start} and {PORTS.stop} are free, too few for a cluster"
        )
    return Ports(controller=found[0], database=found[1], nodes=dict(zip(NODES, found[2:], strict=True)))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True


def read_description(files: ClusterFiles) -> Description | None:
    """Return what the cluster's JSON file says; None if there is none.

    Raises
    ------
    LocalClusterError
        If it cannot be read.
    """
    try:
        read = json.loads(files.description.read_text(encoding="utf-8"))
        ports = Ports(**read["ports"])
        return Description(ports, bool(read["with_database"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError) as err:
        raise LocalClusterError(
            f"{files.description} does not describe a cluster ({err!r}): end its processes by hand and remove the directory"
        ) from None
