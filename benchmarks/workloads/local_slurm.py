"""A one-host SLURM cluster with a MongoDB server for a benchmark: started, asked what it costs, and removed."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from workloads.store_steps import server_seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

BENCHMARKS = Path(__file__).resolve().parents[1]
LOCAL_CLUSTER = BENCHMARKS.parent / "slurm" / "local-cluster"
DAEMONS = {"server": ("mongodb",), "slurm": ("slurmctld", "slurmd-cpu1", "slurmd-cpu2", "slurmd-gpu1", "slurmd-gpu2", "munged")}
STAMPS = "stamps.txt"
"""In the directory of each SLURM job: when its script began and ended, its node, and the CPU time of all its processes."""
_TIMES = re.compile(r"(\d+)m([\d.]+)s")


@dataclass(frozen=True)
class Cluster:
    """A cluster that runs; ``variables`` is the environment in which it is used."""

    directory: Path
    variables: dict[str, str]

    @property
    def mongodb(self) -> str:
        """The MongoDB server, without a database."""
        return self.variables["COEVO_DATABASE"].rpartition("/")[0]

    @property
    def environment(self) -> dict[str, str]:
        """Of a process that uses the cluster, and nothing else that this shell points to."""
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH", "COEVO_", "FW_"))}
        return {**plain, "OMP_NUM_THREADS": "1", **self.variables}

    def run(self, *command: str, **variables: str) -> str:
        """What a command of the cluster prints."""
        done = subprocess.run(
            command, cwd=BENCHMARKS, env={**self.environment, **variables}, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"{shlex.join(command)} failed: {done.stdout[-2000:]}{done.stderr[-4000:]}")
        return done.stdout

    def cpu_seconds(self) -> dict[str, float]:
        """CPU seconds of the server, and of SLURM's daemons, so far."""
        found = {}
        for name, daemons in DAEMONS.items():
            pids = [int((self.directory / "pids" / daemon).read_text().split()[0]) for daemon in daemons]
            found[name] = sum(server_seconds(pid) or 0.0 for pid in pids)
        return found


@contextmanager
def local_cluster(directory: Path) -> Iterator[Cluster]:
    """A cluster in a new directory; its processes and its files are gone afterwards."""
    command = [sys.executable, str(LOCAL_CLUSTER)]
    outside = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH", "COEVO_"))}
    done = subprocess.run(
        [*command, "start", "--directory", str(directory)], env=outside, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"no SLURM cluster for this benchmark; tests/slurm/install_slurm.sh says how to get one\n{done.stderr}")
    words = [shlex.split(line)[1] for line in done.stdout.splitlines()]
    try:
        yield Cluster(directory, dict(word.split("=", 1) for word in words))
    finally:
        subprocess.run(
            [*command, "stop", "--purge", "--directory", str(directory)], env=outside, capture_output=True, check=False
        )


def write_site(cluster: Cluster, name: str, *, at_once: int, packed: bool, in_queue: int) -> Path:
    """Write a site of its own launchpad.

    Parameters
    ----------
    name : str
        Of the launchpad and of the directory of jobs.
    at_once : int
        Packed: jobs that share an allocation. Single: allocations that run at once, of one node each.
    packed : bool
    in_queue : int
        Jobs in SLURM's queue, at most.
    """
    path = os.pathsep.join([str(BENCHMARKS), *filter(None, [os.environ.get("PYTHONPATH")])])
    commands = [
        f'echo "began $EPOCHREALTIME ${{SLURMD_NODENAME}}" > {STAMPS}',
        f"trap 'echo \"ended $EPOCHREALTIME\" >> {STAMPS}; times >> {STAMPS}' EXIT",
        f'PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"',
    ]
    # a node has four CPUs: this many jobs at once on the two nodes of the partition
    small: dict[str, Any] = {"partition": "cpu", "walltime": "1:00:00", "memory": "500M", "max_in_queue": in_queue}
    small |= {"mode": "packed", "packed_jobs": at_once, "packed_idle": 10} if packed else {}
    small["cpus_per_task"] = 4 if packed else 8 // at_once
    site = {
        "site": "benchmark",
        "database": cluster.variables["COEVO_DATABASE"],
        "artifacts": cluster.variables["COEVO_ARTIFACTS"],
        "launchpad": f"{cluster.mongodb}/{name}",
        "directory": str(cluster.directory / "sites" / name),
        "environments": {"default": {"commands": commands, "variables": {"PYTHONPATH": path}}},
        "classes": {kind: {"partition": "cpu", "walltime": "1:00:00"} for kind in ("gpu", "screen", "label")} | {"small": small},
    }
    file = cluster.directory / f"{name}.yaml"
    file.write_text(yaml.safe_dump(site, sort_keys=False))
    return file


def read_stamps(file: Path) -> dict[str, Any] | None:
    """When a SLURM job began and ended, where, and what its processes took; None before its end."""
    lines = file.read_text().splitlines()
    if len(lines) < 4:
        return None
    cpu = sum(60 * int(minutes) + float(seconds) for line in lines[2:4] for minutes, seconds in _TIMES.findall(line))
    began, ended = lines[0].split(), lines[1].split()
    node = began[2] if len(began) > 2 else ""
    return {"began": float(began[1]), "ended": float(ended[1]), "node": node, "cpu_seconds": cpu}
