"""How busy a local run keeps the cores: CPU time over wall time of each phase of one iteration, and what generation costs.

A node of Li-P-S (embedded generator, cells of at most 24 atoms, CHGNet, labels of the teacher) is made in a temporary directory
and runs one iteration through ``coevo.campaigns``, as ``coevo run`` does. CPU seconds are those of this process and all its
descendants, read from ``/proc`` when jobs begin and end. Shards of generation and screening overlap, so both are one phase here;
generation alone is measured by drawing its shards again afterwards, in this process.

    python benchmarks/local_run.py                    # 250 candidates, all usable cores, about ten minutes on two of them
    python benchmarks/local_run.py --candidates 24 --no-result
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.metadata
import json
import os
import platform
import tempfile
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

RESULT = Path(__file__).parent / "results" / "local_run.json"
PHASES = {
    "generate": "generate and screen",
    "screen": "generate and screen",
    "label": "label",
    "train-force-field": "fit",
    "re-evaluate": "re-evaluate",
}
BUSY = ("generate and screen", "label", "re-evaluate")
"""Phases that are to keep all cores busy."""
NODE = """
node: {name: local-run, elements: [Li, P, S], references: li-p-s, seed: 0}
generator: {candidates: CANDIDATES, shard_size: SHARD, max_atoms: 24}
curation: {max_e_hull: 0.3}
selection: {structures: 12}
labelling: {code: teacher, accept_scale_mismatch: true, frames_per_job: 16}
training: {epochs: 4, min_frames: 12, test_fraction: 0.2, validation_fraction: 0.25}
maturity: {environments: 300, subsamples: 2, ruler_size: 32}
"""


def cpu_seconds() -> float:
    """User and system time of this process and its descendants, those included that have ended and were waited for."""
    spent, parents = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        pid = int(stat.parent.name)
        parents[pid] = int(fields[1])
        spent[pid] = sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    total = 0.0
    for pid, seconds in spent.items():
        ancestor = pid
        while ancestor not in {os.getpid(), 0}:
            ancestor = parents.get(ancestor, 0)
        total += seconds if ancestor else 0.0
    return total


@dataclass
class Span:
    """Wall clock and CPU seconds at the beginning of a phase's first job and at the end of its last."""

    began: tuple[float, float]
    ended: tuple[float, float]


@dataclass
class Phases:
    """A reporter of jobs that notes when each phase begins and ends."""

    spans: dict[str, Span] = field(default_factory=dict)

    def _note(self, name: str) -> None:
        now = time.perf_counter(), cpu_seconds()
        for phase in ("iteration", PHASES.get(name.split("/")[2], "")):
            if phase:
                self.spans.setdefault(phase, Span(now, now)).ended = now

    def job_started(self, name: str) -> None:
        self._note(name)

    def job_finished(self, name: str, seconds: float, *, reused: bool) -> None:  # noqa: ARG002
        self._note(name)

    def task_started(self, what: str, total: int, unit: str) -> None:
        """Tasks are not noted."""

    def task_advanced(self, count: int) -> None:
        """Tasks are not noted."""

    def task_finished(self) -> None:
        """Tasks are not noted."""

    def table(self) -> dict[str, dict[str, float]]:
        """Wall and CPU seconds of each phase, and their ratio."""
        rows = {}
        for phase, span in self.spans.items():
            wall, cpu = (end - start for start, end in zip(span.began, span.ended, strict=True))
            rows[phase] = {"wall_s": round(wall, 2), "cpu_s": round(cpu, 2), "cpu_per_wall": round(cpu / wall, 3)}
        return rows


def generation_again(store: Any, state: Any, config: Any) -> float:
    """CPU seconds of drawing the shards of the first iteration in this process, by the generator of the state before."""
    from coevo.flows.generators import shard_counts
    from coevo.makers.checkpoints import load_generator
    from coevo.makers.generate import conditions_of
    from coevo.node_store.seeds import seed_for

    generator = load_generator(store, state.document["checkpoints"]["generator"], config.generator)
    conditions = conditions_of(config.node, config.generator)
    began = time.process_time()
    for shard, count in enumerate(shard_counts(config.generator.candidates, config.generator.shard_size)):
        generator.sample(count, conditions, seed_for(config.node, 1, "generate", shard))
    return time.process_time() - began


def measure(candidates: int, shard_size: int) -> dict[str, Any]:
    """Run one iteration and return its numbers."""
    from coevo.campaigns.running import initialise, run_campaign
    from coevo.configs.loading import load_config
    from coevo.makers.step import current_store
    from coevo.output.progress import reporting_to
    from coevo.settings import read_settings

    with tempfile.TemporaryDirectory() as directory:
        os.environ["COEVO_DATABASE"] = f"file:{directory}/db"
        path = Path(directory) / "local-run.yaml"
        path.write_text(NODE.replace("CANDIDATES", str(candidates)).replace("SHARD", str(shard_size)))
        loaded, store = load_config(path), current_store()
        initialise(store, loaded)
        first, phases = store.state("local-run@main"), Phases()
        with reporting_to(phases):
            run_campaign(store, "local-run", branch="main", iterations=1, say=print, on_state=lambda _: None)
        counts = store.state("local-run@main").document["counts"]
        generation = generation_again(store, first, loaded.config)
    rows = phases.table()
    busy = {key: sum(rows[phase][key] for phase in BUSY) for key in ("wall_s", "cpu_s")}
    workers = read_settings().workers or len(os.sched_getaffinity(0))
    per_wall = busy["cpu_s"] / busy["wall_s"]
    return {
        "workers": workers,
        "candidates": candidates,
        "shard_size": shard_size,
        "counts": counts,
        "phases": rows,
        "four_phases_cpu_per_wall": round(per_wall, 3),
        "four_phases_share_of_cores": round(per_wall / workers, 3),
        "generation_cpu_s": round(generation, 2),
        "generation_share_of_iteration": round(generation / rows["iteration"]["cpu_s"], 4),
    }


def print_table(report: dict[str, Any]) -> None:
    """Print the numbers of :func:`measure`."""
    print(f"{'phase':<22}{'wall s':>9}{'CPU s':>9}{'CPU/wall':>10}")
    for phase, row in report["phases"].items():
        print(f"{phase:<22}{row['wall_s']:>9.1f}{row['cpu_s']:>9.1f}{row['cpu_per_wall']:>10.2f}")
    share = report["four_phases_share_of_cores"]
    print(f"four phases: CPU/wall {report['four_phases_cpu_per_wall']:.2f}, {share:.0%} of {report['workers']} cores")
    print(f"generation: {report['generation_cpu_s']:.1f} CPU s, {report['generation_share_of_iteration']:.1%} of the iteration's")


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=250)
    parser.add_argument("--shard-size", type=int, default=50)
    parser.add_argument("--output", type=Path, default=RESULT)
    parser.add_argument("--no-result", action="store_true", help="print only")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("SPGLIB_WARNING", "OFF")
    warnings.filterwarnings("ignore")
    report = {
        "benchmark": "local_run",
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "machine": {"cores": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version()},
        "versions": {name: importlib.metadata.version(name) for name in ("coevo", "chgnet", "torch", "numpy", "pyxtal")},
        "load_before": round(os.getloadavg()[0], 2),
        **measure(options.candidates, options.shard_size),
    }
    print_table(report)
    if not options.no_result:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(report, indent=2) + "\n")
        print(f"written to {options.output}")


if __name__ == "__main__":
    main()
