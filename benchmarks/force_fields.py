"""Force-field families through coevo's worker against each family's own ASE calculator, on the same crystals.

For each family: what its worker costs to start; energies, forces and stresses (efs) per CPU second, one crystal at a time and in
batches, through the worker, by the family's own ASE calculator, and by the worker's batches in the family's own interpreter
without a worker, which is what the worker's overhead is measured against; relaxations per CPU second against ASE's FIRE with
FrechetCellFilter; and whether a relaxation whose worker is killed in the middle of a batch stores the same shard.

CPU seconds are those of coevo's process, its children and the worker. Relaxations are measured in turns, chunk by chunk; the
overhead of the worker, which is small, batch by batch, several times, in an order that alternates. CHGNet is served by a worker
of coevo's own interpreter (``workloads/chgnet_runner.py``), which coevo itself has no need of.

    python benchmarks/force_fields.py                          # CHGNet, and all families with an environment here
    python benchmarks/force_fields.py sevennet:7net-l3i5       # FAMILY, FAMILY:WEIGHTS or FAMILY=CHECKPOINT
    python benchmarks/force_fields.py chgnet dpa3=CHECKPOINT mace:pbe:/PATH/mine.model --few dpa3 mace

Families, and parts of them, that are not measured are kept from the last record, unless it is made ``--anew``.
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import json
import os
import platform
import signal
import threading
import time
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from screening import Arm, arm_report, compare, random_crystals, run_coevo
from workloads.force_field_arms import (
    CALCULATORS,
    Clock,
    MissingFamilyError,
    Peer,
    arrays_of,
    crystals_of,
    plain,
    predict_all,
    process_seconds,
    subject_of,
    versions_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pymatgen.core import Structure

    from coevo.models.relaxing.crystal import Crystal
    from workloads.force_field_arms import Subject

RESULT = Path(__file__).parent / "results" / "force_fields.json"
PARTS = ("start_up", "single_points", "worker_overhead", "relaxations", "worker_killed")
BATCH = 16
"""Crystals of a batch: that of a relaxation's default."""
FOREVER = 1e9
BEFORE_KILL = 0.06
"""CPU seconds that a worker computes before it is killed."""
FEW = 8
"""Crystals of the families that are measured with ``--few``."""
WARM, CALLS = 4, 3
"""Crystals that are predicted, and how often, before anything is measured: what is compiled is so after two or three calls."""
MINIMUM = 1.0
"""meV/atom: two relaxations that differ by less have found one minimum."""


def start_ups(subject: Subject, repeats: int) -> dict[str, Any]:
    """CPU and wall seconds from spawning a worker to its greeting, and its largest memory until then."""
    from coevo.models.external.worker import Worker

    rows = []
    for _ in range(repeats):
        begun = time.perf_counter()
        worker = Worker(subject.model)
        wall, cpu = time.perf_counter() - begun, process_seconds(worker.pid)
        peak = next(line for line in Path(f"/proc/{worker.pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
        rows.append((cpu, wall, int(peak.split()[1]) / 1024))
        worker.close()
    cpu, wall, memory = np.median(rows, axis=0)
    return {
        "repeats": repeats,
        "cpu_seconds": round(float(cpu), 2),
        "wall_seconds": round(float(wall), 2),
        "peak_megabytes": round(float(memory)),
    }


def single_points(subject: Subject, structures: Sequence[Structure], peer: Peer) -> dict[str, Any]:
    """Efs per CPU second of each arm, and how far the arms are apart."""
    crystals = crystals_of(structures)
    as_json = plain(crystals)
    batches = [as_json[start : start + BATCH] for start in range(0, len(crystals), BATCH)]
    served, clock = subject.force_field.predictor, Clock(subject.model)
    _warm_up(subject, crystals, peer)
    _evaluated(subject.force_field, structures[:1])
    seconds: dict[str, float] = {}
    energies: dict[str, list[float]] = {}

    def through_worker(name: str, work: Callable[[], list[float]]) -> None:
        clock.start()
        energies[name] = work()
        seconds[name] = sum(clock.stop())

    def in_peer(name: str, task: str, **arguments: Any) -> None:
        answer = peer.ask(task, **arguments, seconds=FOREVER)
        seconds[name], energies[name] = answer["cpu_seconds"], answer["energies"]

    in_peer("own_batches", "batches", batches=batches)
    through_worker("worker_batches", lambda: predict_all(served, crystals, BATCH))
    through_worker("worker_one_by_one", lambda: predict_all(served, crystals, 1))
    if subject.calculator is not None:
        in_peer("ase", "single_points", crystals=as_json)
    through_worker("evaluate", lambda: _evaluated(subject.force_field, structures))
    atoms = np.array([len(one) for one in crystals])
    gaps = {name: np.abs((np.array(found) - energies["own_batches"]) / atoms).max() for name, found in energies.items()}
    return {
        "structures": len(crystals),
        "batch": BATCH,
        "arms": {
            name: {
                "cpu_seconds": round(found, 3),
                "efs_per_cpu_second": round(len(crystals) / found, 2),
                "largest_dE_mev_per_atom": round(1e3 * float(gaps[name]), 5),
            }
            for name, found in seconds.items()
        },
    }


def _warm_up(subject: Subject, crystals: Sequence[Crystal], peer: Peer) -> None:
    """Imports, and what first calls compile, are no part of what is measured."""
    first = crystals[:WARM]
    for _ in range(CALLS):
        subject.force_field.predictor.predict(*arrays_of(first))
        peer.ask("batches", batches=[plain(first)], seconds=FOREVER)
        if subject.calculator is not None:
            peer.ask("single_points", crystals=plain(first[:1]), seconds=FOREVER)


def worker_overhead(subject: Subject, structures: Sequence[Structure], turns: int, peer: Peer) -> dict[str, Any]:
    """CPU seconds of batches through the worker over those of the same batches in the family's own interpreter.

    One batch after the other is measured both ways, in an order that alternates: what else the machine does slows both alike.
    """
    crystals = crystals_of(structures)
    predictor, clock = subject.force_field.predictor, Clock(subject.model)
    _warm_up(subject, crystals, peer)
    rows = []
    for turn in range(turns):
        for number, start in enumerate(range(0, len(crystals), BATCH)):
            batch = crystals[start : start + BATCH]
            arrays, as_json = arrays_of(batch), plain(batch)
            row: dict[str, float] = {}
            for way in ("own", "worker") if (turn + number) % 2 == 0 else ("worker", "own"):
                if way == "own":
                    row["own"] = float(peer.ask("batches", batches=[as_json], seconds=FOREVER)["cpu_seconds"])
                else:
                    clock.start()
                    predictor.predict(*arrays)
                    row["coevo"], row["served"] = clock.stop()
            rows.append(row)
    own, coevo, served = (np.array([row[name] for row in rows]) for name in ("own", "coevo", "served"))
    return {
        "structures": len(crystals),
        "batch": BATCH,
        "pairs": len(rows),
        "own_cpu_seconds": round(float(own.sum()), 3),
        "worker_cpu_seconds": round(float((coevo + served).sum()), 3),
        "coevo_ms_per_call": round(1e3 * float(np.median(coevo)), 3),
        "overhead": round(float((coevo + served).sum() / own.sum() - 1.0), 4),
        "median_of_pairs": round(float(np.median((coevo + served) / own - 1.0)), 4),
        "quartiles_of_pairs": [round(float(one), 4) for one in np.quantile((coevo + served) / own - 1.0, (0.25, 0.75))],
    }


def _evaluated(force_field: Any, structures: Sequence[Structure]) -> list[float]:
    """As coevo asks: with its own checks of each crystal, in its own batches."""
    return [found.energy * len(one) for found, one in zip(force_field.evaluate(structures), structures, strict=True)]


def relaxations(subject: Subject, structures: Sequence[Structure], fmax: float, steps: int, peer: Peer) -> dict[str, Any]:
    """Relaxations per CPU second: coevo's optimisers on the worker, and ASE's FIRE, chunk by chunk in turns."""
    ways = {"fire": ("fire", subject.force_field), "lbfgs": ("lbfgs", subject.force_field)}
    if subject.in_process is not None:
        ways["lbfgs_in_process"] = ("lbfgs", subject.in_process)
    arms = {name: Arm() for name in (*ways, *(["ase"] if subject.calculator else []))}
    split = {name: np.zeros(2) for name in ways}
    clock = Clock(subject.model)
    for turn, start in enumerate(range(0, len(structures), BATCH)):
        chunk = structures[start : start + BATCH]
        for name in list(arms) if turn % 2 == 0 else reversed(list(arms)):
            if name == "ase":
                _relaxed_by_ase(arms[name], chunk, fmax, steps, peer)
                continue
            optimiser, force_field = ways[name]
            clock.start()
            before = arms[name].seconds
            run_coevo(arms[name], force_field, list(chunk), optimiser, fmax, steps)
            spent = np.array(clock.stop())
            split[name] += spent
            arms[name].seconds = before + float(spent.sum())
        spent_so_far = ", ".join(f"{name} {arm.seconds:.1f}" for name, arm in arms.items())
        print(f"{subject.label}: relaxed {start + len(chunk)}: {spent_so_far} CPU s", flush=True)
    rows: dict[str, Any] = {name: arm_report(arm) for name, arm in arms.items()}
    for name, (own, worker) in split.items():
        rows[name] |= {"cpu_seconds_coevo": round(own, 3), "cpu_seconds_worker": round(worker, 3)}
        if subject.calculator is not None:
            rows[name]["ratio_cpu"] = round(arms["ase"].seconds / arms[name].seconds, 3)
            rows[name] |= _finite(compare(arms[name], arms["ase"])) | _agreement(arms[name], arms["ase"])
    return {"structures": len(structures), "fmax": fmax, "max_steps": steps, "arms": rows}


def _finite(numbers: dict[str, Any]) -> dict[str, Any]:
    """None where there was nothing to compare."""
    return {key: None if np.isnan(value) else value for key, value in numbers.items()}


def _agreement(ours: Arm, theirs: Arm) -> dict[str, Any]:
    """Energies of the crystals that both relaxed, whatever the structures."""
    both = [k for k, pair in enumerate(zip(ours.structures, theirs.structures, strict=True)) if None not in pair]
    gaps = 1e3 * np.abs(np.array(ours.energies) - np.array(theirs.energies))[both]
    return {
        "median_abs_dE_both_mev": round(float(np.median(gaps)), 5) if both else None,
        "n_within_1_mev": int((gaps < MINIMUM).sum()),
    }


def _relaxed_by_ase(arm: Arm, chunk: Sequence[Structure], fmax: float, steps: int, peer: Peer) -> None:
    from coevo.models.relaxing.crystal import structure_with_geometry

    answer = peer.ask("relaxations", crystals=plain(crystals_of(chunk)), fmax=fmax, steps=steps, seconds=FOREVER)
    arm.seconds += answer["cpu_seconds"]
    for one, row in zip(chunk, answer["crystals"], strict=True):
        done = row["converged"]
        structure = structure_with_geometry(one, np.array(row["positions"]), np.array(row["cell"])) if done else None
        arm.add(structure, np.nan if row["energy"] is None else row["energy"], row["steps"])


def killed(subject: Subject, structures: Sequence[Structure], steps: int) -> dict[str, Any]:
    """Relax twice, the second time with a worker that is killed by signal 9 while it has a batch; compare the shards."""
    whole = shard_sha256(subject, structures, steps)
    before, done = _gone(subject), threading.Event()
    thread = threading.Thread(target=_kill_in_a_batch, args=(subject, done))
    thread.start()
    again = shard_sha256(subject, structures, steps)
    done.set()
    thread.join()
    return {
        "structures": len(structures),
        "killed_in_a_batch": _gone(subject) - before,
        "sha256": whole,
        "same_sha256": whole == again,
    }


def shard_sha256(subject: Subject, structures: Sequence[Structure], steps: int) -> str:
    """Relax as screening does and return the sha256 of the shard that the results make."""
    from coevo.models.contracts import Relaxation, RelaxationSettings
    from coevo.node_store.canonical import canonical_json, structure_document
    from coevo.node_store.shards import compress

    settings = RelaxationSettings(max_steps=steps, batch_size=BATCH)
    lines = []
    for found in subject.force_field.relax(list(structures), settings):
        if isinstance(found, Relaxation):
            energy, document = found.prediction.energy, structure_document(found.structure)
            record = {"structure": document, "energy_per_atom": energy, "fmax": found.prediction.fmax, "steps": found.steps}
        else:
            record = {"reason": found.reason, "detail": found.detail}
        lines.append(canonical_json(record) + b"\n")
    return hashlib.sha256(compress(b"".join(lines))).hexdigest()


def _kill_in_a_batch(subject: Subject, done: threading.Event) -> None:
    """Kill the worker when it has computed for a while, which is while it computes: it does nothing else but wait."""
    from coevo.models.external.workers import worker_for

    pid = worker_for(subject.model).pid
    begun = process_seconds(pid)
    while not done.wait(0.002):
        if process_seconds(pid) - begun > BEFORE_KILL:
            os.kill(pid, signal.SIGKILL)
            return


def _gone(subject: Subject) -> int:
    """How often the logs say that a worker was gone while it had a batch."""
    logs = Path(subject.model.place).glob("*.log")
    return sum(log.read_text(errors="replace").count("the worker is gone while it had") for log in logs)


def measure(subject: Subject, chosen: argparse.Namespace, keep: Callable[[dict[str, Any]], None]) -> None:
    """Numbers of a family, of the parts that are chosen; each is kept as soon as it is there."""
    from coevo.models.external.workers import shut_down_model_workers

    structures = random_crystals(max(chosen.structures, chosen.relaxations), chosen.seed)
    few = subject.family in chosen.few
    points, relaxed = structures[: min(chosen.structures, FEW) if few else chosen.structures], structures[: chosen.relaxations]
    if "start_up" in chosen.parts:
        keep({"start_up": _dated(start_ups(subject, chosen.starts))})
    greeting = subject.force_field.predictor.greeting  # type: ignore[attr-defined]
    unknown = {site.specie.symbol for one in structures for site in one if site.specie.Z not in greeting.elements}
    if unknown:
        raise MissingFamilyError(f"{subject.label} does not know {', '.join(sorted(unknown))}, of which the crystals are made")
    keep({"label": subject.label, "device": subject.device, "versions": greeting.versions})
    peer = Peer(subject)
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "single_points": lambda: single_points(subject, points, peer),
        "worker_overhead": lambda: worker_overhead(subject, points, chosen.turns, peer),
        "relaxations": lambda: relaxations(subject, relaxed, chosen.fmax, chosen.steps, peer),
        "worker_killed": lambda: killed(subject, relaxed[:8], min(20, chosen.steps)),
    }
    try:
        for name, work in parts.items():
            if name in chosen.parts and (name == "single_points" or not few):
                keep({name: _dated(work())})
    finally:
        peer.close()
        shut_down_model_workers()


def _dated(part: dict[str, Any]) -> dict[str, Any]:
    return {"date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"), "load": round(os.getloadavg()[0], 2), **part}


def print_table(families: dict[str, Any]) -> None:
    """The families side by side, as in docs/benchmarks.md."""
    rows: list[tuple[str, ...]] = [
        ("start: CPU s, wall s, MB", "start_up cpu_seconds", "start_up wall_seconds", "start_up peak_megabytes")
    ]
    for name, label in (
        ("ase", "efs per CPU s: own ASE calculator, one by one"),
        ("worker_one_by_one", "through the worker, one by one"),
        ("own_batches", f"own interpreter, batches of {BATCH}"),
        ("worker_batches", f"through the worker, batches of {BATCH}"),
        ("evaluate", "`evaluate`, with coevo's checks"),
    ):
        rows.append((label, f"single_points arms {name} efs_per_cpu_second"))
    rows.append(("overhead of the worker: sums, median of pairs", "worker_overhead overhead", "worker_overhead median_of_pairs"))
    for name in ("ase", "fire", "lbfgs", "lbfgs_in_process"):
        path = f"relaxations arms {name}"
        rows.append((f"{name}: relaxed, CPU s", f"{path} converged", f"{path} cpu_seconds"))
        if name in {"fire", "lbfgs"}:
            rows.append((f"{name}: CPU s of ASE over these", f"{path} ratio_cpu"))
            rows.append((f"{name}: median |dE|, meV/atom, of", f"{path} median_abs_dE_both_mev", f"{path} n_both_converged"))
    rows.append(("killed in a batch, same shard", "worker_killed killed_in_a_batch", "worker_killed same_sha256"))
    print("\n| | " + " | ".join(families) + " |\n|---|" + "---|" * len(families))
    for label, *paths in rows:
        cells = [", ".join(_value(found, path) for path in paths) for found in families.values()]
        print(f"| {label} | " + " | ".join(cells) + " |")


def _value(found: Any, path: str) -> str:
    """What lies at a path of keys; nothing if it was not measured."""
    for key in path.split():
        found = found.get(key, {})
    return "" if found == {} else str(found)


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", metavar="FAMILY", help="FAMILY, FAMILY:WEIGHTS or FAMILY=CHECKPOINT")
    parser.add_argument(
        "--calculator",
        nargs=3,
        action="append",
        default=[],
        metavar=("FAMILY", "MODULE:NAME", "JSON"),
        help="ASE calculator of a family in its environment, and its arguments; without one it is not compared with ASE",
    )
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=PARTS, help="what is measured (default: all)")
    parser.add_argument(
        "--few",
        nargs="+",
        default=[],
        metavar="FAMILY",
        help=f"families of which only start-up and single points of {FEW} crystals are measured",
    )
    parser.add_argument("--anew", action="store_true", help="begin a new record; the last one is not kept")
    parser.add_argument("--structures", type=int, default=100, help="crystals of single points (default 100)")
    parser.add_argument("--relaxations", type=int, default=24, help="crystals that are relaxed (default 24)")
    parser.add_argument("--fmax", type=float, default=0.1, help="eV/Å of a relaxation (default 0.1)")
    parser.add_argument("--steps", type=int, default=200, help="steps of a relaxation, at most (default 200)")
    parser.add_argument("--turns", type=int, default=3, help="how often the overhead of the worker is measured (default 3)")
    parser.add_argument("--starts", type=int, default=3, help="how often a worker is started (default 3)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="few crystals and steps: whether it runs, not how fast")
    parser.add_argument("--output", type=Path, default=RESULT)
    chosen = parser.parse_args()
    if chosen.quick:
        chosen.structures, chosen.relaxations, chosen.turns, chosen.starts = 4, 2, 1, 1
        chosen.fmax, chosen.steps = 3.0, 10
    return chosen


def kept(chosen: argparse.Namespace, name: str, found: dict[str, Any]) -> None:
    """Add what was found of a family to the record."""
    families = json.loads(chosen.output.read_text())["families"] if chosen.output.is_file() else {}
    families[name] = families.get(name, {}) | found
    report = {
        "benchmark": "force_fields",
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "machine": {"cores": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version()},
        "versions": versions_of("coevo", "torch", "ase", "numpy", "pymatgen", "pyxtal"),
        "seed": chosen.seed,
        "families": families,
    }
    chosen.output.parent.mkdir(parents=True, exist_ok=True)
    chosen.output.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n")


def main() -> None:
    """Run the benchmark and write its result."""
    from coevo.errors import ConfigError
    from coevo.families import descriptor_of, names_of
    from coevo.models.external.environment import environment_of

    chosen = options()
    warnings.simplefilter("ignore")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    given = {family: (name, json.loads(text)) for family, name, text in chosen.calculator}
    specs = chosen.families
    if not specs:
        specs = ["chgnet"]
        for name in names_of("force_field"):
            environment = descriptor_of(name, "force_field").environment
            try:
                specs += [name] if environment is not None and environment_of(environment) else []
            except ConfigError as err:
                print(f"left out: {err}", flush=True)
    if chosen.anew:
        chosen.output.unlink(missing_ok=True)
    for spec in specs:
        name = spec.partition("=")[0]
        if "/" in name:  # a file of somebody's machine is no name
            name = name.partition(":")[0]
        try:
            measure(subject_of(spec, CALCULATORS | given), chosen, partial(kept, chosen, name))
        except MissingFamilyError as err:
            raise SystemExit(str(err)) from None
    print_table(json.loads(chosen.output.read_text())["families"])
    print(f"written to {chosen.output}")


if __name__ == "__main__":
    main()
