"""One measured step of the benchmark of orchestration, in a process of its own.

    python -m workloads.orchestration_steps '{"step": "insert", "site": "SITE.yaml", "numbers": 100, "of": 250}'

prints one line of JSON.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workloads.local_slurm import STAMPS, read_stamps
from workloads.store_steps import cpu_seconds

if TYPE_CHECKING:
    from fireworks.core.launchpad import LaunchPad

    from coevo.configs.site_loading import LoadedSite

PATIENCE = 3600.0
EVERY = 2.0
"""Seconds between two rounds of a launcher, ours and FireWorks'."""


def opened(task: dict[str, Any]) -> tuple[LoadedSite, LaunchPad]:
    from coevo.configs.site_loading import load_site
    from coevo.slurm.queue_scripts import launchpad

    loaded = load_site(task["site"])
    return loaded, launchpad(loaded)


def insert(task: dict[str, Any]) -> dict[str, Any]:
    """Add jobs, in workflows of at most ``of``; CPU of this process and wall seconds of each part."""
    from jobflow.managers.fireworks import flow_to_workflow

    from coevo.slurm.submission import prepare_launchpad
    from coevo.slurm.worker_files import write_worker_files
    from workloads.tiny_jobs import tiny_flow

    loaded, launchpad = opened(task)
    write_worker_files(loaded)
    prepare_launchpad(launchpad)
    flow_to_workflow(tiny_flow([0], 0)[0])  # the first one reads files and imports
    found: dict[str, float] = defaultdict(float)

    def count(part: str, since: tuple[float, float]) -> tuple[float, float]:
        now = time.perf_counter(), cpu_seconds()
        found[f"{part}_wall_seconds"] += now[0] - since[0]
        found[f"{part}_cpu_seconds"] += now[1] - since[1]
        return now

    for iteration, start in enumerate(range(0, task["numbers"], task["of"])):
        since = time.perf_counter(), cpu_seconds()
        numbers = range(start, min(start + task["of"], task["numbers"]))
        flow, metadata = tiny_flow(numbers, iteration)
        since = count("flow", since)
        workflow = flow_to_workflow(flow, metadata=metadata)
        since = count("convert", since)
        launchpad.add_wf(workflow)
        count("add", since)
    return dict(found)


class Costs:
    """CPU seconds of this process and of the programs that it called, and wall seconds, from now on."""

    def __init__(self) -> None:
        self._start, self._when = self._now(), time.time()

    @staticmethod
    def _now() -> tuple[float, float, float]:
        own, programs = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return own.ru_utime + own.ru_stime, programs.ru_utime + programs.ru_stime, time.perf_counter()

    def found(self) -> dict[str, float]:
        now = self._now()
        names = ("launcher_cpu_seconds", "programs_cpu_seconds", "wall_seconds")
        return {"started": self._when, **{name: now[i] - self._start[i] for i, name in enumerate(names)}}


def completed(launchpad: LaunchPad) -> int:
    bad = launchpad.fireworks.count_documents({"state": {"$in": ["FIZZLED", "DEFUSED", "PAUSED", "ARCHIVED"]}})
    if bad:
        raise RuntimeError(f"{bad} jobs failed; a benchmark counts only jobs that ran")
    return int(launchpad.fireworks.count_documents({"state": "COMPLETED"}))


def wait_until_completed(launchpad: LaunchPad, jobs: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while completed(launchpad) < jobs:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{completed(launchpad)} of {jobs} jobs after {PATIENCE:g} s")
        time.sleep(1.0)


def launch(task: dict[str, Any]) -> dict[str, Any]:
    """Launch with coevo, as ``coevo launch --class small --loop`` does, until no job is left."""
    from coevo.slurm.launching import Launcher

    loaded, launchpad = opened(task)
    launcher = Launcher(loaded, classes=("small",))
    costs, inside, submissions, rounds = Costs(), 0.0, 0, 0
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        before = time.perf_counter()
        submissions += sum(map(len, launcher.launch().submitted.values()))
        unfinished = launcher.unfinished()
        inside, rounds = inside + time.perf_counter() - before, rounds + 1
        if not unfinished:
            break
        launcher.wait(EVERY)
    found = costs.found()
    wait_until_completed(launchpad, task["numbers"])
    return {**found, "rounds_wall_seconds": inside, "rounds": rounds, "submissions": submissions}


def qlaunch(task: dict[str, Any]) -> dict[str, Any]:
    """Launch with FireWorks' own ``qlaunch -r rapidfire`` and its adapter; the job script runs ``rlaunch singleshot``."""
    from fireworks import fw_config
    from fireworks.queue import queue_launcher
    from fireworks.user_objects.queue_adapters.common_adapter import CommonAdapter

    from coevo.slurm.queue_scripts import fworker

    loaded, launchpad = opened(task)
    # 5 s by default after each submission, which would be nearly all of the time
    stock, queue_launcher.QUEUE_UPDATE_INTERVAL = fw_config.QUEUE_UPDATE_INTERVAL, 0
    adapter = CommonAdapter("SLURM", timeout=30, **peer_script(loaded, "singleshot"))
    directory = Path(loaded.site.directory) / "qlaunch"
    directory.mkdir()
    costs = Costs()
    in_queue = loaded.site.resources("small").max_in_queue
    queue_launcher.rapidfire(
        launchpad,
        fworker(loaded, "small"),
        adapter,
        str(directory),
        njobs_queue=in_queue,
        sleep_time=int(EVERY),
        reserve=True,
        strm_lvl="CRITICAL",
    )
    wait_until_completed(launchpad, task["numbers"])
    return {**costs.found(), "stock_update_interval": stock}


def rlaunch(task: dict[str, Any]) -> dict[str, Any]:
    """Submit one allocation of FireWorks' own ``rlaunch rapidfire``."""
    from fireworks.user_objects.queue_adapters.common_adapter import CommonAdapter

    loaded, launchpad = opened(task)
    adapter = CommonAdapter("SLURM", timeout=30, **peer_script(loaded, "rapidfire"))
    directory = Path(loaded.site.directory) / "rlaunch"
    directory.mkdir()
    os.chdir(directory)
    Path("job.sh").write_text(adapter.get_script_str(str(directory)))
    costs = Costs()
    if not adapter.submit_to_queue("job.sh"):
        raise RuntimeError("sbatch refused FireWorks' own job")
    wait_until_completed(launchpad, task["numbers"])
    return costs.found()


def peer_script(loaded: LoadedSite, mode: str) -> dict[str, Any]:
    """The same environment and resources as those of coevo's job script, with FireWorks' worker."""
    from coevo.slurm.queue_scripts import queue_adapter

    ours = queue_adapter(loaded, "small")
    files = loaded.files
    command = f"rlaunch -l {files / 'my_launchpad.yaml'} -w {files / 'small.worker.yaml'} {mode}"
    keys = ("queue", "nodes", "ntasks", "cpus_per_task", "mem", "walltime", "pre_rocket")
    return {**{key: ours[key] for key in keys}, "rocket_launch": command}


def seconds_of(launch: dict[str, Any]) -> dict[str, float]:
    """When a launch was reserved, ran and was complete."""
    found = {}
    for entry in launch["state_history"]:
        stamp = entry["created_on"]
        when = datetime.fromisoformat(stamp) if isinstance(stamp, str) else stamp
        found[entry["state"]] = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    return found


def stages(task: dict[str, Any]) -> dict[str, Any]:
    """Wait for the SLURM jobs to end; when each job reached which stage, and what the job scripts took."""
    loaded, launchpad = opened(task)
    deadline = time.monotonic() + PATIENCE
    while True:
        stamps = {file.parent: read_stamps(file) for file in Path(loaded.site.directory).rglob(STAMPS)}
        if all(stamps.values()):
            break
        if time.monotonic() > deadline:
            raise RuntimeError("a SLURM job did not end")
        time.sleep(0.5)
    scripts = {directory: found for directory, found in stamps.items() if found is not None}
    fields = {"state": 1, "launch_dir": 1, "state_history": 1}
    launches = list(launchpad.launches.find({}, fields))
    store = launchpad.db["jobflow_outputs"]
    if len(launches) != task["numbers"] or store.count_documents({}) != task["numbers"]:
        raise RuntimeError(f"{len(launches)} launches and {store.count_documents({})} outputs of {task['numbers']} jobs")
    rows = []
    for launch_ in launches:
        row: dict[str, Any] = seconds_of(launch_)
        script = scripts.get(Path(launch_["launch_dir"]))
        rows.append({**row, **({"script": script} if script else {})})
    return {"launches": rows, "scripts": list(scripts.values())}


def commands(task: dict[str, Any]) -> dict[str, Any]:
    """Run jobs in this process; what they ask the database, per job, and the CPU of this process."""
    from fireworks.core.rocket_launcher import launch_rocket
    from pymongo import monitoring

    counts: dict[str, int] = defaultdict(int)
    waited: dict[str, float] = defaultdict(float)
    names: dict[int, str] = {}

    class Listener(monitoring.CommandListener):
        def started(self, event: monitoring.CommandStartedEvent) -> None:
            names[event.request_id] = f"{event.command_name} {event.command.get(event.command_name)}"

        def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
            name = names.pop(event.request_id, event.command_name)
            counts[name] += 1
            waited[name] += event.duration_micros / 1e6

        def failed(self, event: monitoring.CommandFailedEvent) -> None:
            names.pop(event.request_id, None)

    monitoring.register(Listener())
    from coevo.slurm.queue_scripts import fworker

    loaded, launchpad = opened(task)
    os.environ["JOBFLOW_CONFIG_FILE"] = str(loaded.files / "jobflow.yaml")
    directory = Path(loaded.site.directory) / "here"
    directory.mkdir(parents=True)
    os.chdir(directory)
    worker = fworker(loaded, "small")
    launch_rocket(launchpad, worker, strm_lvl="CRITICAL")  # imports and connects
    counts.clear()
    waited.clear()
    costs, jobs = Costs(), task["jobs"]
    for _ in range(jobs):
        launch_rocket(launchpad, worker, strm_lvl="CRITICAL")
    found = costs.found()
    asked = {name: {"count": counts[name] / jobs, "wall_seconds": waited[name] / jobs} for name in sorted(counts)}
    return {
        "cpu_seconds": found["launcher_cpu_seconds"] / jobs,
        "wall_seconds": found["wall_seconds"] / jobs,
        "commands": sum(counts.values()) / jobs,
        "commands_wall_seconds": sum(waited.values()) / jobs,
        "by_command": asked,
    }


def node(task: dict[str, Any]) -> dict[str, Any]:
    """Create the node that the jobs say they belong to, for ``coevo jobs``."""
    from coevo.configs.loading import load_config
    from coevo.node_store.store import open_store
    from coevo.settings import Settings
    from workloads.tiny_jobs import NODE

    config = load_config("li-p-s-demo")
    loaded, _ = opened(task)
    with open_store(Settings(database=loaded.site.database, artifacts=loaded.site.artifacts)) as store:
        if NODE not in store.nodes():
            store.create_node(NODE, config.config.node.elements, config.config.identity(), config.text)
    return {}


def drop(task: dict[str, Any]) -> dict[str, Any]:
    """Remove a launchpad, so that the next one starts on an empty server."""
    _, launchpad = opened(task)
    launchpad.connection.drop_database(launchpad.db.name)
    return {}


def main() -> None:
    task = json.loads(sys.argv[1])
    steps = {"insert": insert, "launch": launch, "qlaunch": qlaunch, "rlaunch": rlaunch, "stages": stages}
    steps |= {"commands": commands, "node": node, "drop": drop}
    print(json.dumps(steps[task["step"]](task)))


if __name__ == "__main__":
    main()
