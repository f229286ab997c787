"""Force fields on a GPU: batches of coevo against one crystal at a time with ASE, and what the host takes of the time.

2,000 cells of at most 20 atoms (200 drawn by pyxtal, each strained and rattled to ten), float32, CHGNet in coevo's process and
SevenNet in its worker: single points, and relaxations with FIRE and a cell that moves. For each size of batch: crystals, or
crystals times steps, per second of wall clock; the share of neighbour lists, graphs, their way to the device, the network and the
optimiser; the device's peak memory. Whatever does not fit into its part of the time stops there, and says how many it did.
ASE's arm is the family's own calculator on as many crystals as its part of the time allows.

CHGNet's graphs pass through the network in groups of at most ``MAX_PAIRS_PER_PASS`` pairs, which is made for CPUs; larger groups
are measured beside it.

    python benchmarks/gpu.py                # under eight minutes; needs a GPU that torch sees
    python benchmarks/gpu.py --quick        # whether it runs: a few crystals, on a CPU too

docs/benchmarks.md has the commands from a clone on.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import json
import os
import platform
import resource
import sys
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np

from screening import random_crystals
from workloads.force_field_arms import CALCULATORS, MissingFamilyError, Peer, crystals_of, plain, subject_of, versions_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from coevo.models.relaxing.crystal import Crystal
    from coevo.models.relaxing.predictor import BatchPrediction, Predictor
    from workloads.force_field_arms import Subject

RESULT = Path(__file__).parent / "results" / "gpu.json"
MAX_ATOMS = 20
COPIES = 10
FMAX = 0.1
MAX_STEPS = 200
BYTES_PER_PAIR = 40_000
"""Of CHGNet's forward and backward pass: 8,000 pairs take 300 MB."""
MOST_PAIRS = 400_000


class TimeUpError(Exception):
    """A case has used up its part of the time."""


def cells(n: int, seed: int) -> list[Crystal]:
    """Drawn crystals, each with strained and rattled copies (3 % and 0.05 Å, standard deviations)."""
    from coevo.models.relaxing.crystal import Crystal

    drawn = crystals_of(random_crystals(-(-n // COPIES), seed, MAX_ATOMS))
    rng = np.random.default_rng(seed)
    found = []
    for one in drawn * COPIES:
        strain = np.eye(3) + 0.03 * rng.normal(size=(3, 3))
        positions = one.positions @ strain + 0.05 * rng.normal(size=one.positions.shape)
        found.append(Crystal(one.numbers, positions, one.cell @ strain))
    return found[:n]


@dataclass
class Parts:
    """Wall seconds of the parts of a case, and how much of it was done."""

    seconds: dict[str, float] = field(default_factory=dict)
    predictions: int = 0
    """Crystals times steps."""

    def timed(self, name: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with its seconds added to a part; the device is waited for before and after."""

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            synchronise()
            begun = time.perf_counter()
            try:
                return work(*args, **kwargs)
            finally:
                synchronise()
                self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - begun

        return wrapper


@dataclass
class Watched:
    """A predictor whose time is kept, and which stops when it is up."""

    inner: Predictor
    parts: Parts
    deadline: float

    @property
    def cutoff(self) -> float:
        return self.inner.cutoff

    @property
    def device_type(self) -> str:
        return self.inner.device_type

    def predict(self, numbers: Any, counts: Any, positions: Any, cells: Any, *, pairs: Any = ()) -> BatchPrediction:
        if time.perf_counter() > self.deadline:
            raise TimeUpError
        found: BatchPrediction = self.parts.timed("predict", self.inner.predict)(numbers, counts, positions, cells, pairs=pairs)
        self.parts.predictions += len(counts)
        return found


def synchronise() -> None:
    """Wait for the GPU, if torch uses one."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()


@contextlib.contextmanager
def watching(parts: Parts, pairs_per_pass: int | None) -> Iterator[None]:
    """Time the parts of what coevo does for a batch, and let CHGNet take groups of another size."""
    from coevo.models.chgnet import graph, inference
    from coevo.models.relaxing import batch, predictor

    class Groups(graph.CandidateGroups):
        def __init__(self, *args: Any) -> None:
            parts.timed("graphs", super().__init__)(*args)

        def graphs(self, *args: Any) -> Any:
            return parts.timed("graphs", super().graphs)(*args)

    class Joined(batch.JoinedPairs):
        def __init__(self, *args: Any) -> None:
            parts.timed("neighbour_lists", super().__init__)(*args)

        def surroundings(self, *args: Any) -> Any:
            return parts.timed("neighbour_lists", super().surroundings)(*args)

    patches: list[tuple[Any, str, Any]] = [
        (batch, "pair_list", parts.timed("neighbour_lists", batch.pair_list)),
        (batch, "covers", parts.timed("neighbour_lists", batch.covers)),
        (batch, "JoinedPairs", Joined),
        (predictor, "usable_pairs", parts.timed("neighbour_lists", predictor.usable_pairs)),
        (inference, "CandidateGroups", Groups),
        (inference, "graph_tensors", parts.timed("to_device", inference.graph_tensors)),
        (graph, "MAX_PAIRS_PER_PASS", pairs_per_pass or graph.MAX_PAIRS_PER_PASS),
    ]
    with contextlib.ExitStack() as stack:
        for place, name, value in patches:
            stack.enter_context(mock.patch.object(place, name, value))
        yield


def shares(parts: Parts, wall: float, *, remote: bool) -> dict[str, float]:
    """Share of each part in the wall clock; what predicts is a network in this process, or a worker."""
    seconds = dict(parts.seconds)
    predict = seconds.pop("predict", 0.0)
    seconds["worker" if remote else "network"] = predict - seconds.get("graphs", 0.0) - seconds.get("to_device", 0.0)
    seconds["optimiser_and_rest"] = wall - sum(seconds.values())
    return {name: round(value / wall, 4) for name, value in sorted(seconds.items())}


@dataclass
class Case:
    """One way to ask: the batch, the pairs that CHGNet passes at once (None: as coevo does), the optimiser."""

    batch: int
    pairs_per_pass: int | None = None
    optimiser: str = "fire"


def run_case(subject: Subject, crystals: Sequence[Crystal], case: Case, task: str, steps: int, seconds: float) -> dict[str, Any]:
    """Single points or relaxations of all crystals in batches, as far as the time goes."""
    from coevo.models.contracts import RelaxationSettings
    from coevo.models.relaxing.batch import relax_batch
    from coevo.models.relaxing.pool import reproducible_torch
    from coevo.models.relaxing.predictor import evaluate_batch

    predictor = (subject.in_process or subject.force_field).predictor
    settings = RelaxationSettings(fmax=FMAX, max_steps=steps, optimiser=case.optimiser)
    parts, error = Parts(), None
    results: list[Any] = []
    with reproducible_torch(predictor.device_type), watching(parts, case.pairs_per_pass):
        evaluate_batch(predictor, crystals[: case.batch])  # what is made once: kernels, memory, a worker
        parts.seconds.clear()
        reset_peak()
        synchronise()
        cpu, begun = time.process_time(), time.perf_counter()
        watched = Watched(predictor, parts, begun + seconds)
        try:
            for start in range(0, len(crystals), case.batch):
                chunk: list[Crystal] = list(crystals[start : start + case.batch])
                if task == "relaxations":
                    results += relax_batch(watched, chunk, settings)
                else:
                    results += evaluate_batch(watched, chunk)
        except TimeUpError:
            pass
        except Exception as err:  # noqa: BLE001 - too little memory, an operation that the device has not: the next case may do
            error = f"{type(err).__name__}: {str(err)[:500]}"
        synchronise()
        wall, cpu = time.perf_counter() - begun, time.process_time() - cpu
    return {
        "task": task,
        "batch": case.batch,
        "pairs_per_pass": case.pairs_per_pass,
        "optimiser": case.optimiser if task == "relaxations" else None,
        "crystals": len(crystals),
        "done": len(results),
        "relaxed": sum(hasattr(one, "path") for one in results) if task == "relaxations" else None,
        "predictions": parts.predictions,
        "wall_seconds": round(wall, 3),
        "cpu_seconds_of_this_process": round(cpu, 3),
        "predictions_per_second": round(parts.predictions / wall, 2),
        "shares": shares(parts, wall, remote=subject.in_process is None),
        "peak_device_bytes": peak() if subject.in_process is not None else None,
        "error": error,
    }


def reset_peak() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def peak() -> int | None:
    """Largest device memory of this process since it was reset, bytes."""
    torch = sys.modules.get("torch")
    return int(torch.cuda.max_memory_allocated()) if torch is not None and torch.cuda.is_available() else None


def kernel_share(subject: Subject, crystals: Sequence[Crystal], case: Case) -> float | None:
    """Share of the wall clock in which the device computes, by torch's profiler: single points of one batch, in this process."""
    import torch
    from torch.autograd import DeviceType

    from coevo.models.relaxing.pool import reproducible_torch
    from coevo.models.relaxing.predictor import evaluate_batch

    if subject.in_process is None or subject.device == "cpu":
        return None
    predictor = subject.in_process.predictor
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with reproducible_torch(predictor.device_type), watching(Parts(), case.pairs_per_pass):
        begun = time.perf_counter()
        with torch.profiler.profile(activities=activities) as profile:
            evaluate_batch(predictor, crystals[: case.batch])
            synchronise()
        wall = time.perf_counter() - begun
    kernels = [event for event in profile.key_averages() if event.device_type == DeviceType.CUDA and not event.is_user_annotation]
    busy = sum(event.self_device_time_total for event in kernels)
    return round(1e-6 * busy / wall, 4)


def by_ase(peer: Peer, crystals: Sequence[Crystal], steps: int, seconds: float) -> dict[str, Any]:
    """One crystal after the other with the family's own calculator: as many as the time allows."""
    as_json = plain(crystals)
    peer.ask("single_points", crystals=as_json[:1], seconds=0.0)
    found = peer.ask("single_points", crystals=as_json[:200], seconds=0.25 * seconds)
    relaxed = peer.ask("relaxations", crystals=as_json, fmax=FMAX, steps=steps, seconds=0.75 * seconds)
    rows = relaxed["crystals"]
    predictions = sum(row["steps"] + 1 for row in rows)
    return {
        "single_points": {
            "done": len(found["energies"]),
            "wall_seconds": round(found["wall_seconds"], 3),
            "predictions_per_second": round(len(found["energies"]) / found["wall_seconds"], 2),
        },
        "relaxations": {
            "done": len(rows),
            "relaxed": sum(row["converged"] for row in rows),
            "predictions": predictions,
            "wall_seconds": round(relaxed["wall_seconds"], 3),
            "predictions_per_second": round(predictions / relaxed["wall_seconds"], 2),
            "predictions_per_crystal": round(predictions / len(rows), 2),
        },
    }


def in_family(peer: Peer, crystals: Sequence[Crystal], batches: Sequence[int], seconds: float) -> list[dict[str, Any]]:
    """Batches of a family's runner without a worker: the share of graphs, and the device's memory, which coevo cannot see."""
    rows = []
    for size in batches:
        chunks = [plain(crystals[start : start + size]) for start in range(0, len(crystals), size)]
        row: dict[str, Any] = {"batch": size}
        try:
            peer.ask("batches", batches=chunks[:1], seconds=0.0)
            found = peer.ask("batches", batches=chunks, seconds=seconds / len(batches))
        except MissingFamilyError as err:
            rows.append({**row, "error": str(err)[:500]})
            continue
        graphs, wall = found["graph_seconds"], found["wall_seconds"]
        row |= {"done": len(found["energies"]), "wall_seconds": round(wall, 3), "peak_device_bytes": found["peak_device_bytes"]}
        row["predictions_per_second"] = round(len(found["energies"]) / wall, 2)
        rows.append({**row, "share_of_graphs": None if graphs is None else round(graphs / wall, 4)})
    return rows


def cases_of(subject: Subject, batches: Sequence[int]) -> list[Case]:
    """The sizes of batches, and for CHGNet on a GPU each with groups as large as a third of its memory allows."""
    found = [Case(batch) for batch in batches]
    if subject.family == "chgnet" and subject.device != "cpu":
        import torch

        memory = torch.cuda.get_device_properties(subject.device).total_memory
        many = min(MOST_PAIRS, int(memory / 3 / BYTES_PER_PAIR))
        found = [found[0], *(Case(batch, many) for batch in batches[1:])]
    return [*found, Case(found[-1].batch, found[-1].pairs_per_pass, "lbfgs")]


def measure(subject: Subject, crystals: Sequence[Crystal], chosen: argparse.Namespace, seconds: float) -> dict[str, Any]:
    """All cases of one family within its seconds."""
    from coevo.models.external.workers import shut_down_model_workers

    begun = time.perf_counter()

    def left() -> float:
        return max(seconds - (time.perf_counter() - begun), 1.0)

    peer = Peer(subject)
    try:
        ase = by_ase(peer, crystals, chosen.steps, 0.2 * left())
        inside = in_family(peer, crystals, chosen.batches, 0.1 * left())
    finally:
        peer.close()
    cases = cases_of(subject, chosen.batches)
    kernels = kernel_share(subject, crystals, cases[-1])
    rows = [run_case(subject, crystals, case, "single_points", chosen.steps, 0.2 * left() / len(cases)) for case in cases[:-1]]
    for place, case in enumerate(cases):
        rows.append(run_case(subject, crystals, case, "relaxations", chosen.steps, left() / (len(cases) - place)))
    shut_down_model_workers()
    for row in rows:
        row["over_ase"] = round(row["predictions_per_second"] / ase[row["task"]]["predictions_per_second"], 2)
    return {
        "label": subject.label,
        "dtype": "float32",
        "ase_one_by_one": ase,
        "family_batches_without_worker": inside,
        "kernel_share_of_single_points": kernels,
        "cases": rows,
        "seconds_for_all": {
            "ase_extrapolated": _for_all(len(crystals), ase["relaxations"], ase),
            "best_extrapolated": _for_all(len(crystals), max(rows[len(cases) - 1 :], key=_rate), ase),
        },
        "wall_seconds": round(time.perf_counter() - begun, 1),
    }


def _rate(row: dict[str, Any]) -> float:
    return float(row["predictions_per_second"]) if row["optimiser"] == "fire" else 0.0


def _for_all(n: int, row: dict[str, Any], ase: dict[str, Any]) -> float | None:
    """Wall seconds for relaxing all crystals with FIRE: at the measured rate, with the steps that ASE's subset took."""
    rate = row["predictions_per_second"]
    return round(n * ase["relaxations"]["predictions_per_crystal"] / rate, 1) if rate else None


def print_table(report: dict[str, Any]) -> None:
    """What was measured, one line a case."""
    print(f"{report['machine']['device']}, float32")
    for name, found in report["families"].items():
        for task in ("single_points", "relaxations"):
            one = found["ase_one_by_one"][task]
            print(f"{name:9} {task:13} ASE, one by one: {one['predictions_per_second']:9.1f} efs/s ({one['done']} crystals)")
            for row in found["cases"]:
                if row["task"] == task:
                    parts = ", ".join(f"{part} {share:.0%}" for part, share in row["shares"].items())
                    label = f"{row['batch']} at once, {row['pairs_per_pass'] or 'default'} pairs, {row['optimiser'] or ''}"
                    print(
                        f"{name:9} {task:13} {label:38} {row['predictions_per_second']:9.1f} efs/s, {row['over_ase']} times; "
                        f"{row['done']} done; {parts}{'; ' + row['error'] if row['error'] else ''}"
                    )
        print(f"{name:9} relaxing all {report['structures']} (extrapolated), s: {found['seconds_for_all']}")
    for line in report["left_out"]:
        print(f"left out: {line}")


def device_name(device: str) -> str:
    """As torch calls it; the processor's architecture for a CPU."""
    import torch

    return platform.machine() if device == "cpu" else str(torch.cuda.get_device_name(device))


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", default=["chgnet", "sevennet"], metavar="FAMILY")
    parser.add_argument("--structures", type=int, default=2000)
    parser.add_argument("--batches", nargs="+", type=int, default=[16, 128, 1024])
    parser.add_argument("--steps", type=int, default=MAX_STEPS)
    parser.add_argument("--seconds", type=float, default=420.0, help="wall clock of all families together (default 420)")
    parser.add_argument("--device", help="cuda, cuda:N or cpu; by default cuda, with --quick whatever there is")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="CHGNet and a few crystals: whether it runs, not how fast")
    parser.add_argument("--output", type=Path, default=RESULT)
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.families, chosen.structures, chosen.batches = ["chgnet"], 3, [2]
        chosen.steps, chosen.seconds = 2, 1e6  # all of it, however slow the machine is
    return chosen


def main() -> None:
    """Run the benchmark and write its result."""
    chosen = options()
    warnings.simplefilter("ignore")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    import torch

    begun = time.perf_counter()
    seen = torch.cuda.is_available()
    device = chosen.device or ("cuda" if seen or not chosen.quick else "cpu")
    if device != "cpu" and not seen:
        print(f"torch {torch.__version__} sees no GPU here; --quick or --device cpu measures on the CPU", file=sys.stderr)
        raise SystemExit(2)
    crystals = cells(chosen.structures, chosen.seed)
    families: dict[str, Any] = {}
    left_out: list[str] = []
    for place, spec in enumerate(chosen.families):
        left = chosen.seconds - (time.perf_counter() - begun)
        try:
            subject = subject_of(spec, CALCULATORS, device)
            families[subject.family] = measure(subject, crystals, chosen, left / (len(chosen.families) - place))
        except MissingFamilyError as err:
            left_out.append(str(err))
    report = {
        "benchmark": "gpu",
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "machine": {
            "device": device_name(device),
            "cores": os.cpu_count(),
            "processor": platform.machine(),
            "python": platform.python_version(),
            "peak_gigabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        },
        "versions": versions_of("coevo", "chgnet", "torch", "ase", "numpy", "pymatgen"),
        "structures": len(crystals),
        "atoms": int(sum(map(len, crystals))),
        "seed": chosen.seed,
        "max_steps": chosen.steps,
        "wall_seconds": round(time.perf_counter() - begun, 1),
        "families": families,
        "left_out": left_out,
    }
    print_table(report)
    chosen.output.parent.mkdir(parents=True, exist_ok=True)
    chosen.output.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n")
    print(f"written to {chosen.output}")


if __name__ == "__main__":
    main()
