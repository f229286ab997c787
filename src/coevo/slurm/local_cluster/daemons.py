"""The programs that a one-host SLURM cluster runs and asks, and whether another SLURM is there already."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from coevo.errors import LocalClusterError
from coevo.slurm.local_cluster.files import DAEMONS, DATABASE
from coevo.slurm.local_cluster.processes import running_daemon

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coevo.slurm.local_cluster.files import ClusterFiles, Description, Ports

REQUIRED = ("munged", "slurmctld", "slurmd", "sbatch", "scancel", "scontrol", "sinfo", "squeue")
SYSTEM_CONFIGURATIONS = tuple(
    Path(folder) / "slurm.conf" for folder in ("/etc/slurm", "/etc/slurm-llnl", "/usr/local/etc", "/run/slurm/conf")
)
"""Where SLURM looks for its configuration if ``SLURM_CONF`` is not set."""
PATIENCE = 60.0
"""Seconds that a SLURM command may take to answer."""


@dataclass(frozen=True)
class Programs:
    """The executables of SLURM and munge, and SLURM's version.

    Attributes
    ----------
    paths : dict of str to str
        By name, those of :data:`REQUIRED`.
    version : tuple of int
        Such as ``(22, 5)``.
    """

    paths: dict[str, str]
    version: tuple[int, int]

    def ask(self, configuration: Path, command: str, *arguments: str) -> tuple[bool, str]:
        """Run a SLURM command on a cluster.

        Returns
        -------
        tuple of bool and str
            Whether it succeeded, and all that it wrote.
        """
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH", "SQUEUE", "SINFO"))
        }
        environment["SLURM_CONF"] = str(configuration)
        return _run([self.paths[command], *arguments], environment)


def find_programs() -> Programs:
    """Look for SLURM and munge on PATH and where system administrators' programs lie.

    Raises
    ------
    LocalClusterError
        If one is missing; the message names all that are.
    """
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"])
    found = {name: shutil.which(name, path=path) for name in REQUIRED}
    missing = [name for name, executable in found.items() if executable is None]
    if missing:
        raise LocalClusterError(
            f"not on PATH: {', '.join(missing)}; on Debian or Ubuntu: "
            "apt-get install --no-install-recommends slurm-wlm slurmctld slurmd slurm-client munge"
        )
    paths = {name: executable for name, executable in found.items() if executable is not None}
    _, told = _run([paths["slurmctld"], "-V"], dict(os.environ))
    version = re.search(r"\b(\d+)\.(\d+)", told)
    if version is None:
        raise LocalClusterError(f"{paths['slurmctld']} -V does not tell a version: {told or 'it writes nothing'}")
    return Programs(paths, (int(version[1]), int(version[2])))


def find_database() -> str:
    """Return a server that speaks MongoDB's protocol: secantusd-py beside this Python or on PATH, or mongod on PATH.

    Raises
    ------
    LocalClusterError
        If there is none.
    """
    beside = Path(sys.executable).with_name("secantusd-py")
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("secantusd-py") or shutil.which("mongod")
    if found is None:
        raise LocalClusterError(
            f"no secantusd-py beside {sys.executable} or on PATH, and no mongod: run slurm/local-cluster in an environment with "
            "coevo[test], or pip install SecantusDB, or add --no-database"
        )
    return found


def commands(files: ClusterFiles, ports: Ports, programs: Programs, database: str | None) -> dict[str, list[str]]:
    """Return the command of each daemon, in the order in which they are started; each names the cluster's directory."""
    directory, munge = files.directory, files.directory / "munge"
    with_files = [f"--socket={files.munge_socket}", f"--key-file={munge / 'key'}", f"--seed-file={munge / 'seed'}"]
    with_files += [f"--pid-file={directory / 'run' / 'munged.pid'}", f"--log-file={files.log('munged')}"]
    # --force: the directory of the socket is closed to other users, as it should be here
    told = {"munged": [programs.paths["munged"], "--foreground", "--force", "--num-threads=2", *with_files]}
    slurm = ["-D", "-f", str(files.configuration)]
    told["slurmctld"] = [programs.paths["slurmctld"], *slurm]
    for node in ports.nodes:
        told[f"slurmd-{node}"] = [programs.paths["slurmd"], *slurm, "-N", node]
    if database is not None:
        told[DATABASE] = _database_command(directory, ports.database, database)
    return told


def _database_command(directory: Path, port: int, executable: str) -> list[str]:
    folder = directory / DATABASE
    if Path(executable).name == "mongod":
        folder.mkdir(mode=0o700, exist_ok=True)
        return [executable, "--bind_ip", "127.0.0.1", "--port", str(port), "--dbpath", str(folder), "--nounixsocket"]
    command = secantus_command(executable)
    command += ["--config", str(directory / "etc" / "secantusd.toml"), "--host", "127.0.0.1", "--port", str(port)]
    # without --sync-on-commit, what was acknowledged is lost if the server is killed
    return [*command, "--storage-path", str(folder), "--cache-size", "512M", "--sync-on-commit"]


def secantus_command(executable: str) -> list[str]:
    """Return how a secantusd-py is started: :mod:`coevo.slurm.local_cluster.database_server`, by the interpreter beside it."""
    interpreter = Path(executable).resolve().with_name("python")
    if not interpreter.exists():  # whoever installed it put them in different places
        return [executable]
    # -P: the modules beside the script are not to be found by their names
    return [str(interpreter), "-P", str(Path(__file__).with_name("database_server.py"))]


def controller_answers(programs: Programs, configuration: Path) -> bool:
    """Whether the controller that a configuration names says that it is up."""
    succeeded, told = programs.ask(configuration, "scontrol", "ping")
    return succeeded and re.search(r"\bis UP\b", told, re.IGNORECASE) is not None


def node_states(programs: Programs, files: ClusterFiles) -> dict[str, str]:
    """Return the state of each node, such as ``idle`` or ``down*``; nothing if the controller does not answer."""
    succeeded, told = programs.ask(files.configuration, "sinfo", "-h", "-N", "-o", "%N %T")
    return dict(line.split(maxsplit=1) for line in told.splitlines()) if succeeded else {}


def listens(port: int) -> bool:
    """Whether somebody listens on a TCP port, found without a connection, of which SLURM's daemons would complain."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
            for line in Path(table).read_text(encoding="ascii").splitlines()[1:]:
                _, local, _, state = line.split()[:4]
                if state == "0A" and int(local.rpartition(":")[2], 16) == port:
                    return True
    return False


def munged_answers(files: ClusterFiles) -> bool:
    """Whether somebody accepts connections on munged's socket, which a munged that was killed leaves behind."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(2)
        return probe.connect_ex(str(files.munge_socket)) == 0


def lacking(files: ClusterFiles, programs: Programs, description: Description) -> dict[str, str]:
    """Return which daemons of a cluster do not run or do not answer, and which of the two it is."""
    expected = [*DAEMONS, *([DATABASE] if description.with_database else [])]
    told = {name: "gone" for name in expected if not running_daemon(files, name)}
    ports, silent = description.ports, "runs, and does not answer"
    if "munged" not in told and not munged_answers(files):
        told["munged"] = silent
    if DATABASE in expected and DATABASE not in told and not listens(ports.database):
        told[DATABASE] = silent
    states = {} if told.keys() & {"munged", "slurmctld"} else node_states(programs, files)
    if not states:
        told.setdefault("slurmctld", silent)
    for node, port in ports.nodes.items():
        state = states.get(node, "idle")  # with a * behind it if slurmctld hears nothing of the node
        if f"slurmd-{node}" not in told and (not listens(port) or "*" in state or state.startswith("unk")):
            told[f"slurmd-{node}"] = silent
    return told


def refuse_another(
    files: ClusterFiles, programs: Programs, environment: Mapping[str, str], system: Sequence[Path] = SYSTEM_CONFIGURATIONS
) -> None:
    """Refuse to go on where SLURM is there already.

    Parameters
    ----------
    environment : mapping of str to str
        Of the user, who may work with another cluster through ``SLURM_CONF``.
    system : sequence of Path, optional
        Configuration files of this machine, of which one may belong to a cluster that answers.

    Raises
    ------
    LocalClusterError
        If ``SLURM_CONF`` names another cluster's file, or the cluster of this machine answers.
    """
    given = environment.get("SLURM_CONF")
    if given and Path(given).resolve() != files.configuration:
        raise LocalClusterError(
            f"SLURM_CONF is {given}, another cluster's: unset SLURM_CONF, or add --beside to start one beside it"
        )
    for path in system:
        if path.is_file() and controller_answers(programs, path):
            raise LocalClusterError(
                f"this machine belongs to a SLURM cluster that answers ({path}): use that one, or start one beside it by --beside"
            )


def _run(command: list[str], environment: dict[str, str]) -> tuple[bool, str]:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", env=environment, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return False, f"no answer within {PATIENCE:g} s"
    return done.returncode == 0, done.stdout + done.stderr
