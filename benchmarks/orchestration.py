"""What it costs to run a job through the launchpad and SLURM, beside what the job itself computes: here, nothing.

Tiny jobs, 10 to 1,000, on a one-host SLURM cluster of our own (``slurm/local-cluster``: its four nodes share the cores of
this machine), started and removed by this script, with a launchpad on SecantusDB, which is not mongod: a server in Python that
takes more CPU for each request. Every run has a launchpad of its own, empty at its start. Measured:

* adding jobs to the launchpad (``flow_to_workflow`` and ``add_wf``);
* single: an allocation for each job, two at once, launched by coevo's ``Launcher`` as ``coevo launch --loop`` does;
* packed: one allocation for all jobs, 1, 2 and 4 at once, in workflows of at most 250 jobs (``--parts one_workflow``
  puts all of them in one);
* in turns with ours, FireWorks' own ``qlaunch -r rapidfire`` with ``rlaunch singleshot``, and ``rlaunch rapidfire`` in one
  allocation;
* what a job asks the database, what a worker imports, and ``coevo jobs``.

CPU seconds are those of the job scripts with all their processes, of the launcher, of the programs that it calls (sbatch,
squeue), of the database server and of SLURM's daemons. Those of slurmstepd, one for each allocation, are not counted: nobody
keeps them.

    python benchmarks/orchestration.py                  # half an hour on two idle cores
    python benchmarks/orchestration.py --parts packed   # what is not measured again stays as it is in the result
    python benchmarks/orchestration.py --quick          # two minutes, small sizes; prints only
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.metadata
import json
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from workloads.local_slurm import Cluster, local_cluster, write_site

HERE = Path(__file__).parent
RESULT = HERE / "results" / "orchestration.json"
PLOT = HERE.parent / "docs" / "orchestration.png"
PARTS = ("imports", "commands", "packed", "peers", "single", "one_workflow")
VERSIONS = ("coevo", "FireWorks", "jobflow", "maggma", "pymongo", "SecantusDB")
IN_WORKFLOW = 250
IN_QUEUE = 20
TWO_NODES = 2
IMPORTS = {
    "python": "pass",
    "coevo.slurm.worker": "import coevo.slurm.worker",
    "fireworks": "import fireworks.core.rocket_launcher",
    "jobflow and fireworks": "import jobflow.managers.fireworks, fireworks.core.rocket_launcher",
}


class Bench:
    """Runs steps on a cluster; each run has a site, a launchpad and a directory of its own."""

    def __init__(self, cluster: Cluster):
        self.cluster = cluster
        self._sites = 0

    def site(self, *, at_once: int, packed: bool) -> str:
        self._sites += 1
        name = f"run{self._sites}"
        return str(write_site(self.cluster, name, at_once=at_once, packed=packed, in_queue=1 if packed else IN_QUEUE))

    def step(self, name: str, **task: Any) -> dict[str, Any]:
        """Run one step in a process of its own; what it found, and the CPU seconds of the daemons meanwhile."""
        before = self.cluster.cpu_seconds()
        printed = self.cluster.run(sys.executable, "-m", "workloads.orchestration_steps", json.dumps({"step": name, **task}))
        after = self.cluster.cpu_seconds()
        found: dict[str, Any] = json.loads(printed.splitlines()[-1])
        return {**found, **{f"{daemon}_cpu_seconds": after[daemon] - before[daemon] for daemon in after}}


def rounded(found: dict[str, Any]) -> dict[str, Any]:
    """Six digits are enough."""
    return {key: round(value, 6) if isinstance(value, float) else value for key, value in found.items()}


def median(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The median of each number over some runs, also of those in dictionaries; what is no number is that of the last run."""
    result: dict[str, Any] = {}
    for key, value in runs[-1].items():
        if isinstance(value, dict):
            result[key] = median([run[key] for run in runs])
        else:
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            result[key] = statistics.median(run[key] for run in runs) if is_number else value
    return rounded(result)


def run_jobs(bench: Bench, how: str, jobs: int, *, at_once: int, of: int = IN_WORKFLOW, look: bool = False) -> dict[str, Any]:
    """Insert jobs, run them all, and find what each stage took.

    Parameters
    ----------
    how : {"single", "packed", "qlaunch", "rlaunch"}
    jobs : int
    at_once : int
    of : int
        Jobs of a workflow.
    look : bool
        Whether to measure ``coevo jobs`` at the end.
    """
    packed = how in {"packed", "rlaunch"}
    site = bench.site(at_once=at_once, packed=packed)
    inserted = bench.step("insert", site=site, numbers=jobs, of=of)
    ran = bench.step({"single": "launch", "packed": "launch"}.get(how, how), site=site, numbers=jobs)
    stages = bench.step("stages", site=site, numbers=jobs)
    rows, scripts = stages["launches"], stages["scripts"]
    ended = max(row["COMPLETED"] for row in rows)
    cpu = {
        "worker": sum(script["cpu_seconds"] for script in scripts) / jobs,
        **{part: ran[f"{part}_cpu_seconds"] / jobs for part in ("launcher", "programs", "server", "slurm")},
    }
    found: dict[str, Any] = {
        "jobs": jobs,
        "at_once": at_once,
        "allocations": len(scripts),
        "cpu_seconds": rounded({**cpu, "total": sum(cpu.values())}),
        "wall_seconds": round((ended - ran["started"]) / jobs, 6),
        "wall_seconds_at_work": round((ended - min(row["RUNNING"] for row in rows)) / jobs, 6),
        "insert": per_job(inserted, jobs),
        "stages": quarters(rows) if jobs >= 100 else {"all": stage_medians(rows)},
    }
    if how == "single":
        found["launching_wall_seconds"] = round(ran["rounds_wall_seconds"] / jobs, 6)
    if not packed:
        found["free_slot_wall_seconds"] = round(free_slot(scripts), 6)
    if look:
        found["coevo_jobs"] = look_at_jobs(bench, site)
    bench.step("drop", site=site)
    show(how, found)
    return found


def per_job(inserted: dict[str, Any], jobs: int) -> dict[str, Any]:
    """CPU and wall seconds of adding a job."""
    names = {"flow": "Flow", "convert": "flow_to_workflow", "add": "add_wf"}
    cpu = {label: inserted[f"{part}_cpu_seconds"] / jobs for part, label in names.items()}
    wall = sum(inserted[f"{part}_wall_seconds"] for part in names) / jobs
    server = inserted["server_cpu_seconds"] / jobs
    return {
        "cpu_seconds": rounded({**cpu, "server": server, "total": sum(cpu.values()) + server}),
        "wall_seconds": round(wall, 6),
    }


def stage_medians(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Wall seconds between what a launch and its job script note, medians over the jobs."""
    spans: dict[str, list[float]] = {"job": [row["COMPLETED"] - row["RUNNING"] for row in rows]}
    scripts = [row for row in rows if "script" in row]
    if scripts and "RESERVED" in scripts[0]:
        spans["queue"] = [row["script"]["began"] - row["RESERVED"] for row in scripts]
        spans["start"] = [row["RUNNING"] - row["script"]["began"] for row in scripts]
        spans["end"] = [row["script"]["ended"] - row["COMPLETED"] for row in scripts]
    else:
        times = sorted(row["RUNNING"] for row in rows)
        spans["interval"] = [after - before for before, after in pairwise(times)]
    return rounded({name: statistics.median(values) for name, values in spans.items()})


def quarters(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """The stages of all jobs, and of the first and last quarter: whether they take longer as the launchpad fills."""
    ordered = sorted(rows, key=lambda row: row["RUNNING"])
    part = len(ordered) // 4
    return {
        "all": stage_medians(ordered),
        "first quarter": stage_medians(ordered[:part]),
        "last quarter": stage_medians(ordered[-part:]),
    }


def free_slot(scripts: list[dict[str, Any]]) -> float:
    """Wall seconds from the end of a job script to the beginning of the next one on its node, the median."""
    gaps = []
    for node in {script["node"] for script in scripts}:
        mine = sorted((script for script in scripts if script["node"] == node), key=lambda script: script["began"])
        gaps += [after["began"] - before["ended"] for before, after in pairwise(mine)]
    return statistics.median(gaps) if gaps else 0.0


def look_at_jobs(bench: Bench, site: str, repeats: int = 3) -> dict[str, Any]:
    """What ``coevo jobs`` takes: the table by step, and that of each job."""
    bench.step("node", site=site)
    found = {}
    for label, options in (("by step", ()), ("each job", ("--all",))):
        runs = []
        for _ in range(repeats):
            before, wall, server = children_seconds(), time.perf_counter(), bench.cluster.cpu_seconds()["server"]
            printed = bench.cluster.run(sys.executable, "-m", "coevo.app.cli", "jobs", "orchestration", "--site", site, *options)
            spent = {"cpu_seconds": children_seconds() - before, "wall_seconds": time.perf_counter() - wall}
            runs.append({**spent, "server_cpu_seconds": bench.cluster.cpu_seconds()["server"] - server})
            assert "completed" in printed, printed
        found[label] = median(runs)
    return found


def children_seconds() -> float:
    """CPU seconds of the processes that this one has waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def show(how: str, found: dict[str, Any]) -> None:
    """One row for the terminal."""
    parts = ", ".join(f"{name} {seconds:.3f}" for name, seconds in found["cpu_seconds"].items())
    stages = ", ".join(f"{name} {seconds:.3f}" for name, seconds in found["stages"]["all"].items())
    print(f"{how:8} {found['jobs']:>5} jobs, {found['at_once']} at once: CPU per job: {parts}", flush=True)
    print(f"{'':15} wall per job {found['wall_seconds']:.3f} s; medians: {stages}", flush=True)


def measure_imports(repeats: int) -> dict[str, Any]:
    """CPU and wall seconds of starting Python and importing what a worker needs."""
    found: dict[str, Any] = {}
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in IMPORTS}
    for _ in range(repeats + 1):
        for name, statement in IMPORTS.items():
            cpu, wall = children_seconds(), time.perf_counter()
            subprocess.run([sys.executable, "-c", statement], check=True)
            runs[name].append({"cpu_seconds": children_seconds() - cpu, "wall_seconds": time.perf_counter() - wall})
    for name, ran in runs.items():
        found[name] = median(ran[1:])  # the first one reads from the disk
        print(f"import of {name}: CPU {found[name]['cpu_seconds']:.3f} s, wall {found[name]['wall_seconds']:.3f} s", flush=True)
    return found


def measure_commands(bench: Bench, sizes: list[tuple[int, int]], jobs: int) -> dict[str, Any]:
    """What one job asks the database, with so many jobs in the launchpad, in workflows of such a size."""
    found = {}
    for ready, size in sizes:
        site = bench.site(at_once=1, packed=True)
        bench.step("insert", site=site, numbers=ready, of=size)
        ran = bench.step("commands", site=site, jobs=jobs)
        bench.step("drop", site=site)
        server = ran.pop("server_cpu_seconds") / (jobs + 1)
        ran.pop("slurm_cpu_seconds")
        found[f"{ready} in workflows of {size}"] = {**rounded(ran), "server_cpu_seconds": round(server, 6)}
        what = f"{ran['commands']:.1f} requests for a job, wall {ran['wall_seconds']:.3f} s"
        print(f"{ready} in workflows of {size}: {what}, CPU {ran['cpu_seconds']:.3f} s + server {server:.3f} s", flush=True)
    return found


def measure_packed(bench: Bench, sizes: dict[int, list[int]]) -> dict[str, Any]:
    """Packed mode: each size, with so many jobs at once."""
    largest = max(sizes[1])
    return {
        str(at_once): {
            str(n): run_jobs(bench, "packed", n, at_once=at_once, look=at_once == 1 and n in {min(sizes[1]), largest}) for n in ns
        }
        for at_once, ns in sizes.items()
    }


def measure_peers(bench: Bench, jobs: dict[str, int], repeats: int) -> dict[str, Any]:
    """FireWorks' own launchers and ours, in turns."""
    pairs = {"single": ("qlaunch", TWO_NODES), "packed": ("rlaunch", 1)}
    found: dict[str, Any] = {}
    for ours, (theirs, at_once) in pairs.items():
        runs: dict[str, list[dict[str, Any]]] = {ours: [], theirs: []}
        for _ in range(repeats):
            for how, mine in runs.items():
                mine.append(run_jobs(bench, how, jobs[ours], at_once=at_once))
        coevo, fireworks = median(runs[ours]), median(runs[theirs])
        ratios = {
            "cpu": round(fireworks["cpu_seconds"]["total"] / coevo["cpu_seconds"]["total"], 3),
            "wall": round(fireworks["wall_seconds"] / coevo["wall_seconds"], 3),
        }
        found[ours] = {"runs": repeats, "coevo": coevo, theirs: fireworks, "peer_over_coevo": ratios}
        print(f"{theirs} over coevo's {ours}: {ratios}", flush=True)
    return found


def growth(sizes: dict[str, Any]) -> dict[str, float]:
    """Exponent of the CPU seconds of all jobs against their number, between the two largest sizes: 1 is linear."""
    if len(sizes) < 2:
        return {}
    small, large = sorted(map(int, sizes))[-2:]
    result = {}
    for part in ("worker", "server", "total"):
        less, more = (n * sizes[str(n)]["cpu_seconds"][part] for n in (small, large))
        result[part] = round(math.log(more / less) / math.log(large / small), 3) if less > 0 and more > 0 else math.nan
    return result


def print_table(report: dict[str, Any]) -> None:
    """CPU and wall seconds per job, as a table in Markdown."""
    from workloads.orchestration_plot import SERIES, rows_of

    print("\n| | jobs | job scripts | server | launcher, sbatch, squeue | SLURM's daemons | **CPU s per job** | wall s per job |")
    print("|---|---|---|---|---|---|---|---|")
    for name, sizes in rows_of(report).items():
        for jobs, found in sizes.items():
            cpu = found["cpu_seconds"]
            parts = [cpu["worker"], cpu["server"], cpu["launcher"] + cpu["programs"], cpu["slurm"]]
            cells = " | ".join(f"{part:.3f}" for part in parts)
            print(f"| {SERIES[name][0]} | {jobs:,} | {cells} | **{cpu['total']:.3f}** | {found['wall_seconds']:.2f} |")


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, one run of each; write nothing unless told where")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS[:-1])
    parser.add_argument("--single", type=int, nargs="+", default=[10, 100, 1000], help="numbers of jobs")
    parser.add_argument("--packed", type=int, nargs="+", default=[10, 30, 100, 300, 1000], help="numbers of jobs")
    parser.add_argument("--repeats", type=int, default=2, help="runs of the peers")
    parser.add_argument("--merge", type=Path, nargs="*", default=[], help="results to take from what is not measured now")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--plot", type=Path)
    found = parser.parse_args()
    found.more_at_once, found.peers = [30, 300], {"single": 40, "packed": 100}
    found.asked, found.asked_jobs = [(25, 25), (250, 250), (1000, 250), (1000, 1000)], 20
    if found.quick:
        found.single, found.packed, found.repeats = [4], [4, 8], 1
        found.more_at_once, found.peers = [8], {"single": 4, "packed": 8}
        found.asked, found.asked_jobs = [(5, 5), (20, 5)], 3
    else:
        found.output, found.plot = found.output or RESULT, found.plot or PLOT
    return found


def measure(bench: Bench, chosen: argparse.Namespace) -> dict[str, Any]:
    """Everything that is chosen."""
    largest = max(chosen.packed)
    sizes = {1: chosen.packed, 2: chosen.more_at_once, 4: chosen.more_at_once}
    parts = {
        "imports": lambda: measure_imports(2 if chosen.quick else 7),
        "commands": lambda: measure_commands(bench, chosen.asked, chosen.asked_jobs),
        "packed": lambda: measure_packed(bench, sizes),
        "one_workflow": lambda: {str(largest): run_jobs(bench, "packed", largest, at_once=1, of=largest)},
        "peers": lambda: measure_peers(bench, chosen.peers, chosen.repeats),
        "single": lambda: {str(n): run_jobs(bench, "single", n, at_once=TWO_NODES) for n in chosen.single},
    }
    found = {}
    for name in PARTS:
        if name in chosen.parts:
            date, load = dt.datetime.now(dt.UTC).isoformat(timespec="seconds"), os.getloadavg()[0]
            print(f"\n{name} ({date}, load {load:.1f})", flush=True)
            found[name] = {"date": date, "load_before": round(load, 2), "found": parts[name]()}
    return found


def main() -> None:
    """Run the benchmark and write its result."""
    chosen = options()
    with tempfile.TemporaryDirectory(prefix="coevo-orch-") as name, local_cluster(Path(name) / "c") as cluster:
        now = measure(Bench(cluster), chosen)
        slurm = cluster.run("sbatch", "--version").split()[-1]
    earlier = [path for path in [*chosen.merge, *([chosen.output] if chosen.output else [])] if path.is_file()]
    parts: dict[str, Any] = {}
    for known in [*(json.loads(path.read_text())["parts"] for path in earlier), now]:
        parts |= known
    rows = {f"packed, {k} at once": found for k, found in parts.get("packed", {"found": {}})["found"].items()}
    rows |= {"single": parts["single"]["found"]} if "single" in parts else {}
    versions = {package: importlib.metadata.version(package) for package in VERSIONS}
    report = {
        "benchmark": "orchestration",
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "settings": {"jobs_in_workflow": IN_WORKFLOW, "in_queue": IN_QUEUE, "peer_runs": chosen.repeats},
        "machine": {"cores": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version()},
        "versions": {**versions, "slurm": slurm},
        "server": f"SecantusDB {versions['SecantusDB']}, not mongod",
        "growth": {row: growth(found) for row, found in rows.items()},
        "parts": {part: parts[part] for part in PARTS if part in parts},
    }
    print_table(report)
    print(f"\ngrowth: {json.dumps(report['growth'])}")
    if chosen.output:
        chosen.output.parent.mkdir(parents=True, exist_ok=True)
        chosen.output.write_text(json.dumps(report, indent=2) + "\n")
        print(f"written to {chosen.output}")
    if chosen.plot:
        from workloads.orchestration_plot import draw

        draw(report, chosen.plot)


if __name__ == "__main__":
    main()
