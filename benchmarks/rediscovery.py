"""Which known phases that were kept from a node come back: arms of the embedded generator, on equal relaxations and equal CPU.

A node of Li-P-S (embedded generator, published CHGNet 0.3.0, six iterations of 250 candidates) is not told of two sets of five
phases with at most 32 atoms in the primitive cell (``workloads/withheld.py``). Nothing is labelled and nothing trained, so arms
differ in what they draw alone. A phase is found *by structure* if an entry matches it as curation matches (StructureMatcher and
the veto of fragments), and *by anion* if each of its motifs is in some entry. Relaxations to the first hit are counted to the
end of the iteration. With ``--judge``, a force field of another family says how far candidates are above the hull of all known
phases.

    python benchmarks/rediscovery.py --folder DIRECTORY --arms today electrons --seeds 0 1 2
    python benchmarks/rediscovery.py --folder DIRECTORY --arms today --seeds 0 --judge sevennet:7net-l3i5
    python benchmarks/rediscovery.py --folder DIRECTORY --chemistry zn-s --iterations 3 --candidates 50
    python benchmarks/rediscovery.py --folder DIRECTORY --arms today --leave-one-out    # each reference in turn, in short runs
    python benchmarks/rediscovery.py --folder DIRECTORY --quick                         # a minute: does it run?
    python benchmarks/rediscovery.py --table                                            # the tables of the last record

A run that was killed goes on when it is started again with the same folder; CPU seconds of its parts are added up. Arms, seeds
and chemistries that are not run are kept from the last record.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.metadata
import json
import os
import platform
import warnings
from pathlib import Path
from typing import Any

from workloads.arms import merged, read_clock, run_arm
from workloads.rediscovery_tables import tables
from workloads.withheld import CHEMISTRIES, LARGEST, course, withheld_rows

RESULT = Path(__file__).parent / "results" / "rediscovery.json"
NAME = "rediscovery"
NODE: dict[str, Any] = {
    "node": {"name": NAME},
    "generator": {"candidates": 250, "shard_size": 50, "max_atoms": 24, "subsystem_fraction": 0.25},
    "screening": {"fmax": 0.1, "max_steps": 150, "batch_size": 16},
    "curation": {"max_e_hull": 0.2, "stable_threshold": 0.1},
    # nothing is labelled and nothing trained: arms differ in what they draw, and all are judged by one force field
    "selection": {"structures": 0},
    "training": {"enabled": False},
    "maturity": {"environments": 500, "subsamples": 1, "ruler_size": 100},
}
QUICK: dict[str, Any] = {"generator": {"candidates": 12, "shard_size": 6, "max_atoms": 10}, "maturity": {"ruler_size": 10}}
LEAVE_ONE_OUT: dict[str, Any] = {"generator": {"candidates": 100}, "maturity": {"ruler_size": 20}}
BASE = "today"
_LARGER = {"electron_excess_share": 0.05, "max_atoms": 32}
_DEPTH = {"share": 0.6}
_MANY = {"share": 0.85, "draws": 25}
ARMS: dict[str, dict[str, dict[str, Any]]] = {
    BASE: {},
    "electrons": {"generator": {"electron_excess_share": 0.05}},
    "32 atoms": {"generator": {**_LARGER}},
    "sites": {"generator": {**_LARGER, "unit_sites": "special"}},
    "depth": {"generator": {**_LARGER, "depth": _DEPTH}},
    "depth+sites": {"generator": {**_LARGER, "depth": _DEPTH, "unit_sites": "special"}},
    "8 formulas+sites": {"generator": {**_LARGER, "depth": _MANY, "unit_sites": "special"}},
    "racing": {"generator": {**_LARGER, "racing": 4}},
    "generations": {"generator": {**_LARGER, "generations": 3}},
    "all": {
        "generator": {
            **_LARGER,
            "depth": _DEPTH,
            "unit_sites": "special",
            "racing": 4,
            "generations": 3,
            "safe_parents": True,
        }
    },
}
"""What an arm changes of :data:`NODE`: section to keys."""


def configuration(arm: str, options: argparse.Namespace, seed: int) -> dict[str, Any]:
    """The configuration of the node of an arm."""
    told: dict[str, Any] = {"node": {"seed": seed}}
    if options.candidates:
        told["generator"] = {"candidates": options.candidates, "shard_size": min(50, options.candidates)}
    return merged(NODE, CHEMISTRIES[options.chemistry].node(), ARMS[arm], told, QUICK if options.quick else {})


def measure(place: Path, arm: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Run an arm, and look for what was withheld; the answer for a state is kept beside it."""
    chemistry, tree = CHEMISTRIES[options.chemistry], configuration(arm, options, seed)
    store, _ = run_arm(place, tree, options.iterations)
    if options.run_only:
        return {}
    view, kept = store.state(f"{NAME}@main"), place / "score.json"
    row = json.loads(kept.read_text()) if kept.exists() else {}
    if row.get("state") != view.id[:12]:
        found = {phase["name"]: phase for phase in withheld_rows(view, chemistry.targets())}
        told = [name for name, phase in found.items() if phase["told"]]
        if told:
            raise SystemExit(f"{place} was told of {', '.join(told)}: it is no node of this benchmark")
        row = {
            "arm": arm,
            "chemistry": options.chemistry,
            "seed": seed,
            "state": view.id[:12],
            "changes": ARMS[arm],
            "judged": None,
        }
        row["sets"] = {group: [found[name] for name in names] for group, names in chemistry.sets.items()}
    row["course"] = course(store, NAME, place)
    if options.judge and (row["judged"] or {}).get("asked_for") != [options.judge.rsplit("/", 1)[-1], options.judged]:
        from workloads.judged_candidates import judge_arm

        row["judged"] = judge_arm(store, NAME, chemistry.targets(), options.judge, options.judged, seed)
        row["judged"]["asked_for"] = [options.judge.rsplit("/", 1)[-1], options.judged]
    if row["judged"] and row["judged"]["sun"]["n"]:
        sun, hours = row["judged"]["sun"], row["course"][-1]["cpu_seconds"] / 3600.0
        row["judged_sun_per_cpu_hour"] = round(sun["entries"] * sun["stable"] / hours, 1)
        row["judged_sun_per_cpu_hour_interval"] = [round(sun["entries"] * x / hours, 1) for x in sun["interval"]]
    kept.write_text(json.dumps(row, indent=2) + "\n")
    return row


def leave_one_out(arm: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Each reference but those that an element needs withheld in turn, from a node that is told of all the others."""
    from coevo.configs.references import load_references
    from coevo.errors import ReferenceDataError
    from coevo.studies.rediscovery import withheld_targets

    chemistry = CHEMISTRIES[options.chemistry]
    rows: list[dict[str, Any]] = []
    for phase in load_references(chemistry.references, chemistry.elements):
        if len(phase.structure) > LARGEST:
            continue
        try:
            load_references(chemistry.references, chemistry.elements, exclude=[phase.name])
        except ReferenceDataError:  # the only phase of an element
            continue
        told = {"node": {"seed": seed}, "references": {"exclude": [phase.name]}}
        tree = merged(NODE, chemistry.node(), ARMS[arm], LEAVE_ONE_OUT, told, QUICK if options.quick else {})
        name = "".join(c if c.isalnum() else "-" for c in phase.name)
        run = f"leave-one-out-{arm}-{seed}{'-quick' if options.quick else ''}"
        place = options.folder.resolve() / options.chemistry / run / name
        store, _ = run_arm(place, tree, options.iterations)
        view = store.state(f"{NAME}@main")
        found = withheld_rows(view, withheld_targets(view))[0]
        rows.append(found | {"cpu_seconds": round(sum(part["cpu_seconds"] for part in read_clock(place)), 1)})
        print(f"without {phase.name}: {'found' if found['iteration'] else 'not found'}")
    return {
        "arm": arm,
        "chemistry": options.chemistry,
        "seed": seed,
        "iterations": options.iterations,
        "candidates": (QUICK if options.quick else LEAVE_ONE_OUT)["generator"]["candidates"],
        "found": sum(row["iteration"] is not None for row in rows),
        "of": len(rows),
        "phases": rows,
    }


def main() -> None:
    """Run the arms and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="where the nodes of the arms are kept")
    parser.add_argument("--arms", nargs="+", choices=list(ARMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--iterations", type=int)
    parser.add_argument("--candidates", type=int, help="of an iteration, in place of 250")
    parser.add_argument("--chemistry", choices=list(CHEMISTRIES), default="li-p-s")
    parser.add_argument("--judge", help="FAMILY:WEIGHTS, or dpa3:PATH of a frozen model (.pth)")
    parser.add_argument(
        "--judged", type=int, default=40, help="candidates of each iteration, and S.U.N. entries, that are judged"
    )
    parser.add_argument("--run-only", action="store_true", help="run the arms, and score nothing")
    parser.add_argument("--leave-one-out", action="store_true", help="in place of the sets: each reference in turn")
    parser.add_argument("--table", action="store_true", help="run nothing: the tables of the last record")
    parser.add_argument("--quick", action="store_true", help="a few small candidates; nothing is written")
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    report = json.loads(options.output.read_text()) if options.output.exists() else {"arms": [], "leave_one_out": []}
    if options.table:
        print(tables(report, BASE))
        return
    if options.folder is None:
        parser.error("--folder is needed")
    options.arms = options.arms or ([BASE] if options.quick or options.leave_one_out else list(ARMS))
    options.iterations = options.iterations or (2 if options.quick or options.leave_one_out else 6)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("SPGLIB_WARNING", "OFF")
    warnings.filterwarnings("ignore")
    rows = {(row["chemistry"], row["arm"], row["seed"]): row for row in report["arms"]}
    single = {(row["chemistry"], row["arm"], row["seed"]): row for row in report["leave_one_out"]}
    for arm in options.arms:
        for seed in options.seeds:
            key = options.chemistry, arm, seed
            if options.leave_one_out:
                single[key] = leave_one_out(arm, seed, options)
                continue
            place = options.folder.resolve() / options.chemistry / f"{arm}-{seed}{'-quick' if options.quick else ''}"
            row = measure(place, arm, seed, options)
            if row:
                rows[key] = row
    if options.run_only:
        return
    report = {
        "benchmark": "rediscovery",
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "machine": {"cores": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version()},
        "versions": {name: importlib.metadata.version(name) for name in ("coevo", "chgnet", "torch", "numpy", "pyxtal")},
        "node": NODE,
        "arms": [rows[key] for key in sorted(rows)],
        "leave_one_out": [single[key] for key in sorted(single)],
    }
    print(tables(report, BASE))
    if options.quick:
        return
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(report, indent=2) + "\n")
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
