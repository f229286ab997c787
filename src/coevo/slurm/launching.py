"""Feed the queue: each ready job in an allocation of its own, or allocations that take many; or run them here without a queue."""

from __future__ import annotations

import subprocess
import time
import warnings
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from coevo.configs.step_classes import CLASS_NAMES
from coevo.errors import QueueError
from coevo.node_store.durable import make_directory, storage_errors
from coevo.slurm.queue_scripts import comment_of, fworker, job_script, launchpad, queue_adapter
from coevo.slurm.queue_state import active_jobs
from coevo.slurm.worker_files import write_worker_files

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fireworks.core.launchpad import LaunchPad

    from coevo.configs.site_loading import LoadedSite
    from coevo.configs.step_classes import ClassName
    from coevo.slurm.queue_state import QueuedJob

SCRIPT = "job.sh"


@dataclass
class Round:
    """What one round of launching did.

    Attributes
    ----------
    submitted : dict
        Class to the ids of the jobs that were submitted (SLURM's), or started here (process ids).
    ready : dict
        Class to the jobs that are ready and were not submitted now.
    in_queue : dict
        Class to its jobs in the queue, before.
    """

    submitted: dict[ClassName, list[str]] = field(default_factory=dict)
    ready: dict[ClassName, int] = field(default_factory=dict)
    in_queue: dict[ClassName, int] = field(default_factory=dict)


class Launcher:
    """Launches the ready jobs of a site.

    Parameters
    ----------
    loaded : LoadedSite
    classes : sequence of str
        Classes to launch.
    max_in_queue : int or None
        Of each class, instead of the site's.
    """

    def __init__(self, loaded: LoadedSite, *, classes: Sequence[ClassName] = CLASS_NAMES, max_in_queue: int | None = None):
        self._loaded = loaded
        self._classes = tuple(classes)
        self._max_in_queue = max_in_queue
        self._launchpad = launchpad(loaded)
        self._started: list[tuple[ClassName, subprocess.Popen[bytes]]] = []
        write_worker_files(loaded)

    @property
    def launchpad(self) -> LaunchPad:
        """The site's launchpad."""
        return self._launchpad

    def launch(self) -> Round:
        """Submit what is ready and fits, once.

        Raises
        ------
        QueueError
            If SLURM does not answer, or refuses a job.
        StorageError
            If the site's directory cannot be written.
        """
        done = Round()
        warnings.filterwarnings("ignore", category=FutureWarning, module=r"fireworks(\.|$)")  # its own, on every submission
        if self._loaded.site.queue == "none":
            self._launch_here(done)
            return done
        there = active_jobs()
        for name in self._classes:
            mine = sum(job.comment == comment_of(self._loaded, name) for job in there.values())
            done.in_queue[name] = mine
            room = max(0, (self._max_in_queue or self._loaded.site.resources(name).max_in_queue) - mine)
            if self._loaded.site.resources(name).mode == "packed":
                self._submit_packed(name, room, there, done)
            else:
                self._submit_single(name, room, done)
        return done

    def _ready(self, name: ClassName) -> list[tuple[int, str]]:
        """Ready jobs of a class: of the earliest iteration first, then in the order of their ids."""
        query = {"state": "READY", "spec._category": name}
        found = self._launchpad.fireworks.find(query, {"fw_id": 1, "name": 1, "spec.coevo.iteration": 1})
        rows = sorted(found, key=lambda row: (row["spec"].get("coevo", {}).get("iteration", 0), row["fw_id"]))
        return [(row["fw_id"], row["name"]) for row in rows]

    def _submit_single(self, name: ClassName, room: int, done: Round) -> None:
        from fireworks.queue.queue_launcher import launch_rocket_to_queue

        ready = self._ready(name)
        done.ready[name] = max(0, len(ready) - room)
        for fw_id, title in ready[:room]:
            adapter = queue_adapter(self._loaded, name, mode="single")
            adapter["title"] = title
            type(adapter).last_error = None  # what sbatch said of another job
            submitted = launch_rocket_to_queue(
                self._launchpad, fworker(self._loaded, name), adapter, str(self._directory()), True, "CRITICAL", True, fw_id=fw_id
            )
            if submitted:
                done.submitted.setdefault(name, []).append(str(submitted))
            elif adapter.last_error:
                raise QueueError(f"sbatch refused {title}: {adapter.last_error}; see `coevo doctor --site`")

    def _submit_packed(self, name: ClassName, room: int, there: Mapping[str, QueuedJob], done: Round) -> None:
        """Submit as many allocations as the ready jobs fill, less those that wait in the queue already."""
        from fireworks.queue.queue_launcher import launch_rocket_to_queue

        kind = self._loaded.site.resources(name)
        ready = len(self._ready(name))
        pending = sum(job.comment == comment_of(self._loaded, name) and job.state == "PENDING" for job in there.values())
        wanted = min(room, max(0, -(-ready // kind.packed_jobs) - pending))
        if ready and done.in_queue[name] - pending and ready <= kind.packed_jobs:
            wanted = 0  # an allocation that runs takes the last few jobs sooner than one that has to wait for its turn
        done.ready[name] = ready
        for _ in range(wanted):
            adapter = queue_adapter(self._loaded, name, mode="packed")
            type(adapter).last_error = None
            submitted = launch_rocket_to_queue(
                self._launchpad, fworker(self._loaded, name), adapter, str(self._directory()), False, "CRITICAL", True
            )
            if submitted:
                done.submitted.setdefault(name, []).append(str(submitted))
            elif adapter.last_error:
                raise QueueError(f"sbatch refused a job of class {name}: {adapter.last_error}; see `coevo doctor --site`")

    def _launch_here(self, done: Round) -> None:
        """Start a worker for each ready job, up to the site's workers; a worker ends with its job."""
        self._started = [(name, process) for name, process in self._started if process.poll() is None]
        for name in self._classes:
            done.in_queue[name] = sum(started == name for started, _ in self._started)
        for name in self._classes:
            ready = self._ready(name)
            todo = ready[: max(0, self._loaded.site.workers - len(self._started))]
            done.ready[name] = len(ready) - len(todo)
            for fw_id, _ in todo:
                process = self._start_here(name, fw_id)
                if process is not None:
                    self._started.append((name, process))
                    done.submitted.setdefault(name, []).append(str(process.pid))

    def _start_here(self, name: ClassName, fw_id: int) -> subprocess.Popen[bytes] | None:
        """Reserve a job, so that nobody else starts it, and start a worker for it."""
        directory = self._directory() / f"launcher_{datetime.now(UTC):%H%M%S%f}-{fw_id}"
        with storage_errors("writing a job script", directory):
            directory.mkdir()
            script = directory / SCRIPT
            script.write_text(job_script(self._loaded, name, directory, mode="single", fw_id=fw_id))
            reserved, _ = self._launchpad.reserve_fw(fworker(self._loaded, name), str(directory), fw_id=fw_id)
            if reserved is None:
                return None
            with (directory / "worker.log").open("wb") as log:
                return subprocess.Popen(
                    ["bash", str(script)], cwd=directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
                )

    def _directory(self) -> Path:
        """Where the launches of today lie."""
        directory = Path(self._loaded.site.directory) / f"launches-{datetime.now(UTC):%Y-%m-%d}"
        with storage_errors("making the directory of launches", directory):
            make_directory(directory)
        return directory

    def unfinished(self) -> int:
        """Jobs of these classes that wait for their parents, for the queue, or run."""
        query = {"state": {"$in": ["WAITING", "READY", "RESERVED", "RUNNING"]}, "spec._category": {"$in": list(self._classes)}}
        return int(self._launchpad.fireworks.count_documents(query))

    def stuck(self) -> int:
        """Jobs that wait for jobs that have failed, if nothing else is left: 0 as long as any job is ready, queued or running."""
        of_classes = {"spec._category": {"$in": list(self._classes)}}
        count = self._launchpad.fireworks.count_documents
        if count({"state": {"$in": ["READY", "RESERVED", "RUNNING"]}, **of_classes}) or not count({"state": "FIZZLED"}):
            return 0
        return int(count({"state": "WAITING", **of_classes}))

    def wait(self, seconds: float) -> None:
        """Wait for the next round; without a queue, until a job that runs here has ended."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if any(process.poll() is not None for _, process in self._started):
                return
            time.sleep(min(0.2, seconds))
