"""The command line on a site whose cluster is the tests' own, and ways to disturb the jobs that run there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from coevo.configs.site_loading import LoadedSite, parse_site
from coevo.slurm.queue_scripts import launchpad
from coevo.slurm.worker import process_start
from job_gates import JobGates
from slurm_cluster import SlurmCluster, without_slurm
from tiny_node import Coevo

SITE = """
site: tests
database: {server}/{database}
artifacts: file://{directory}/artifacts
directory: {directory}/jobs
ping_seconds: 5
retries: 3
environments:
  default:
    commands: ["export PATH={python}:$PATH"]
    variables: {{COEVO_DEVICE: cpu, COEVO_PATIENCE: 20, {gates}}}
classes:
  gpu: {{partition: gpu, gres: gpu:1, walltime: 2:00:00}}
  screen: {{partition: gpu, gres: gpu:1, walltime: 2:00:00}}
  label: {{partition: cpu, walltime: 2:00:00, longer_walltimes: [4:00:00]}}
  small: {{partition: cpu, walltime: 2:00:00, mode: packed, packed_idle: 15}}
"""
PATIENCE = 900.0
"""Seconds for any one thing to happen on a busy machine."""


class OnCluster(Coevo):
    """``coevo`` in processes of their own, on a site with a database of its own.

    Parameters
    ----------
    cluster : SlurmCluster
    directory : Path
    database : str
        Name of the database.
    text : str
        Template of the site's file; ``{gates}`` are the variables that let jobs wait.
    """

    def __init__(self, cluster: SlurmCluster, directory: Path, database: str, text: str = SITE):
        super().__init__(directory)
        self.cluster = cluster
        self.gates = JobGates(directory / "gates")
        written = text.format(
            server=cluster.mongodb,
            database=database,
            directory=directory,
            python=Path(sys.executable).parent,
            gates=self.gates.variables,
        )
        (directory / "site.yaml").write_text(written)
        self.site: LoadedSite = parse_site(written, "site.yaml", dict(os.environ))
        self.environment = {
            **without_slurm(),
            "SLURM_CONF": cluster.environment["SLURM_CONF"],
            "COEVO_DATABASE": self.site.site.database,
            "COEVO_ARTIFACTS": self.site.site.artifacts,
            "OMP_NUM_THREADS": "1",
            "COLUMNS": "200",
        }
        self.launcher: subprocess.Popen[str] | None = None

    @property
    def launchpad(self) -> Any:
        """A connection of its own: the server may have been started again since the last one."""
        return launchpad(self.site)

    def start_launcher(self) -> None:
        """Start ``coevo launch --loop``, whose jobs have login shells without the profile of whoever runs the tests.

        What such a profile does may take long, and a job that is killed meanwhile may leave it locked for all others.
        """
        home = self.directory / "home"
        home.mkdir(exist_ok=True)
        usual, self.environment = self.environment, {**self.environment, "HOME": str(home)}
        self.launcher = self.start("launch", "--loop", "--every", "1")
        self.environment = usual

    def kill_launcher(self) -> None:
        """End the launcher by SIGKILL."""
        assert self.launcher is not None
        self.launcher.kill()
        self.launcher.communicate()
        self.launcher = None

    def jobs(self, node: str = "tiny", *options: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads(self("jobs", node, "--format", "json", *options).stdout)
        return rows

    def job(self, name: str, node: str = "tiny") -> dict[str, Any]:
        return next(row for row in self.jobs(node) if row["name"] == name)

    def running(self, name: str) -> dict[str, Any]:
        """Wait until a job runs; return its launch."""

        def look() -> dict[str, Any] | None:
            pad = self.launchpad
            try:
                firework = pad.fireworks.find_one({"name": name, "state": "RUNNING"}, {"launches": 1})
                if firework is None:
                    return None
                found: dict[str, Any] | None = pad.launches.find_one({"launch_id": firework["launches"][-1], "state": "RUNNING"})
                return found
            finally:
                pad.connection.close()

        return wait_for(look, f"{name} to run", every=0.1)

    def ended(self, name: str) -> None:
        """Wait until a job has ended well."""

        def look() -> bool:
            pad = self.launchpad
            try:
                return pad.fireworks.find_one({"name": name, "state": "COMPLETED"}, {"_id": 1}) is not None
            finally:
                pad.connection.close()

        wait_for(look, f"{name} to end", every=0.1)

    def held(self, name: str) -> dict[str, Any]:
        """Wait until a job runs and waits at its gate; return its launch."""

        def look() -> dict[str, Any] | None:
            launch = self.running(name)
            return launch if launch["fworker"]["env"]["pid"] in self.gates.waiting(name) else None

        return wait_for(look, f"{name} to wait at its gate", every=0.05)

    def held_after_the_launcher(self, name: str) -> None:
        """Wait until a job waits at its gate after a launcher was killed, which may have reserved jobs that it did not submit.

        Those are lost after a while, and run again as the guide says.
        """

        def look() -> bool:
            rows = self.jobs()
            if any(row["state"] == "lost" for row in rows):
                self("rerun", "tiny", "--lost")
            return any(row["name"] == name and row["state"] == "running" for row in rows)

        wait_for(look, f"{name} to run", every=0.5)
        self.held(name)

    def wait_for_the_end_of(self, launch: dict[str, Any]) -> None:
        """Wait until the process of a launch has ended: what SLURM calls ended may live until it is killed."""
        process = launch["fworker"]["env"]
        wait_for(lambda: process_start(process["pid"]) != process["started"], f"process {process['pid']} to end", every=0.05)

    def wait_for_state(self, name: str, state: str) -> dict[str, Any]:
        """Wait until ``coevo jobs`` shows a job in a state; return its row."""

        def look() -> dict[str, Any] | None:
            return next((row for row in self.jobs() if row["name"] == name and row["state"] == state), None)

        return wait_for(look, f"{name} to be {state}", every=0.5)


def wait_for(look: Callable[[], Any], what: str, every: float, patience: float = PATIENCE) -> Any:
    """Look until there is something; return it."""
    deadline = time.monotonic() + patience
    while not (found := look()):
        assert time.monotonic() < deadline, f"waited {patience:g} s for {what}"
        time.sleep(every)
    return found


def kill_with_its_worker(launch: dict[str, Any]) -> None:
    """End a job by SIGKILL, its worker before it, which would report its death."""
    pid = launch["fworker"]["env"]["pid"]
    worker = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(worker, signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
