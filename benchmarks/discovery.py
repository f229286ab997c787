"""What a node calls stable, judged by a force field that took no part in it: arms with and without coevo's rules.

One node of Li-P-S (embedded generator, CHGNet 0.3.0 as the state's force field, cells of at most 24 atoms, all bundled
references) is made once for each arm, with the same seeds. Arms differ in what labels (CHGNet's r2SCAN weights, or SevenNet's
7net-l3i5; "refused": as by default, labels whose scale leaves 100 meV/atom of the references train nothing) and in the rules
(none; or a cap on compositions with an electron excess and a hull of labelled phases). Afterwards a
judge of another family gives single-point energies of the references and of entries drawn at random, in an order that depends on
their ids alone, at the geometries of the state. *Stable* by either: at most 0.1 eV/atom above the hull of the references, each by
its own energies, so that what the node invented cannot lower its own hull. A single point is an upper bound of what the judge
would relax to.

The judge is a force field and no first principles: its word is agreement. One that labelled an arm is no judge of it.
With ``--first-principles N``, N reaction energies by pw.x as well (it needs COEVO_PSEUDOPOTENTIALS).

    python benchmarks/discovery.py --folder DIRECTORY                     # all arms, judged by SevenNet where it did not label
    python benchmarks/discovery.py --folder DIRECTORY --arms r2scan r2scan+rules --judge sevennet:7net-l3i5 --iterations 4
    python benchmarks/discovery.py --folder DIRECTORY --quick             # a few candidates: does it run?

A run that was killed goes on when it is started again with the same folder; CPU seconds of its parts are added up. Arms that are
not run are kept from the last record.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.metadata
import json
import os
import platform
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workloads.arms import merged, run_arm
from workloads.judges import STABLE, by_first_principles, judge
from workloads.withheld import relaxations, withheld_count

RESULT = Path(__file__).parent / "results" / "discovery.json"
NODE: dict[str, Any] = {
    "node": {"name": "discovery", "elements": ["Li", "P", "S"], "references": "li-p-s"},
    "generator": {"candidates": 250, "shard_size": 50, "max_atoms": 24, "subsystem_fraction": 0.25},
    "screening": {"fmax": 0.1, "max_steps": 150, "batch_size": 16},
    "curation": {"max_e_hull": 0.2, "stable_threshold": 0.1},
    "selection": {"structures": 40, "rattled": 1, "strained": 1, "path": 1},
    "labelling": {"code": "teacher", "frames_per_job": 40},
    "training": {"epochs": 8, "batch_size": 8, "min_frames": 12, "test_fraction": 0.2, "validation_fraction": 0.2, "replay": 400},
    "maturity": {"environments": 1000, "subsamples": 3, "ruler_size": 60},
}
QUICK: dict[str, Any] = {
    "generator": {"candidates": 12, "shard_size": 6, "max_atoms": 10},
    "selection": {"structures": 4},
    "training": {"epochs": 1},
}
POPULATION = ("entries", "stable", "sun", "refuted", "unconfirmed", "in_doubt")


@dataclass(frozen=True)
class Arm:
    """What an arm changes of :data:`NODE`.

    Attributes
    ----------
    teacher : str
        FAMILY:WEIGHTS that label.
    changes : dict
        Section to keys.
    """

    teacher: str
    changes: dict[str, dict[str, Any]] = field(default_factory=dict)


RULES: dict[str, dict[str, Any]] = {"generator": {"electron_excess_share": 0.05}, "curation": {"hull": "labelled"}}
ARMS = {
    "r2scan refused": Arm("chgnet:r2scan", {"labelling": {"accept_scale_mismatch": False}}),
    "r2scan": Arm("chgnet:r2scan"),
    "r2scan+rules": Arm("chgnet:r2scan", RULES),
    "l3i5": Arm("sevennet:7net-l3i5"),
    "l3i5+rules": Arm("sevennet:7net-l3i5", RULES),
}


def configuration(arm: Arm, seed: int, *, quick: bool) -> dict[str, Any]:
    """The configuration of the node of an arm."""
    family, _, weights = arm.teacher.partition(":")
    told = {
        "node": {"seed": seed},
        "labelling": {"teacher": {"family": family, "weights": weights}, "accept_scale_mismatch": True},
    }
    return merged(NODE, told, arm.changes, QUICK if quick else {})


def measure(place: Path, name: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Run an arm and judge it."""
    arm = ARMS[name]
    if options.judge.split(":")[0] == arm.teacher.split(":")[0]:
        print(f"{name}: {options.judge} is of the family that labelled, and no judge of it; give another --judge")
        return {}
    store, spent = run_arm(place, configuration(arm, seed, quick=options.quick), options.iterations)
    view = store.state("discovery@main")
    found = judge(store, options.judge, options.judged, seed)
    agreed = found["entries_sun"] * found["sun"].get("judge_share", 0.0)
    metrics = view.document["metrics"]
    row = {
        "arm": name,
        "seed": seed,
        "teacher": arm.teacher,
        "state": view.id[:12],
        "iterations": view.iteration,
        "candidates": options.iterations * (QUICK if options.quick else NODE)["generator"]["candidates"],
        # the phases of benchmarks/rediscovery.py that this node was not told of
        **withheld_count(view),
        "relaxations": relaxations(store, view.node),
        "model_share": found["random"].get("model_share"),
        "judged_share": found["random"].get("judge_share"),
        "judged_n": found["random"]["n"],
        "agreed_sun": round(agreed, 1),
        "cpu_seconds": round(spent, 1),
        # what labels, and what judges, is in the cost
        "audited_sun_per_cpu_hour": round(agreed / (spent + found["judge_cpu_seconds"]) * 3600.0, 2),
        "first_principles": None,
        "offsets_residual_rms_mev": [round(1e3 * o["residual_rms"], 1) for o in view.manifest.get("offsets", {}).values()],
        "population": {key: metrics["population"].get(key) for key in POPULATION},
        **found,
    }
    if options.first_principles:
        row["first_principles"] = by_first_principles(
            place, store, options.first_principles, options.largest_cell, options.largest_product, seed
        )
    (place / "judged.json").write_text(json.dumps(row, indent=2) + "\n")
    return row


def print_table(rows: list[dict[str, Any]]) -> None:
    """Print the shares of the arms."""
    print(f"{'arm':<14}{'seed':>5}{'by model':>10}{'by judge':>10}{'n':>5}{'S.U.N.':>8}{'agreed/CPU-h':>14}{'CPU-h':>8}  judge")
    for row in rows:
        shares = "".join(f"{'-' if row[k] is None else format(row[k], '.0%'):>10}" for k in ("model_share", "judged_share"))
        print(
            f"{row['arm']:<14}{row['seed']:>5}{shares}{row['judged_n']:>5}{row['entries_sun']:>8}"
            f"{row['audited_sun_per_cpu_hour']:>14.1f}{row['cpu_seconds'] / 3600:>8.2f}  {row['judged_by']}"
        )


def main() -> None:
    """Run the arms and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where the nodes of the arms are kept")
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--iterations", type=int, default=4)
    parser.add_argument("--judge", default="sevennet:7net-l3i5", help="FAMILY:WEIGHTS, or dpa3:PATH of a frozen model (.pth)")
    parser.add_argument("--judged", type=int, default=100, help="entries that are judged, of all and of the S.U.N. ones")
    parser.add_argument("--first-principles", type=int, default=0, metavar="N", help="also N reaction energies by pw.x")
    parser.add_argument("--largest-cell", type=int, default=16, help="atoms of the cells that pw.x is given")
    parser.add_argument("--largest-product", type=int, default=64, help="atoms of the references that they decompose into")
    parser.add_argument("--quick", action="store_true", help="a few small candidates; nothing is written")
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("SPGLIB_WARNING", "OFF")
    warnings.filterwarnings("ignore")
    last = json.loads(options.output.read_text())["arms"] if options.output.exists() else []
    rows = {(row["arm"], row["seed"], row["judged_by"]): row for row in last}
    for name in options.arms:
        for seed in options.seeds:
            place = options.folder.resolve() / f"{name}-{seed}{'-quick' if options.quick else ''}"
            row = measure(place, name, seed, options)
            if row:
                rows[name, seed, row["judged_by"]] = row
    print_table(list(rows.values()))
    if options.quick:
        return
    report = {
        "benchmark": "discovery",
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "machine": {"cores": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version()},
        "versions": {name: importlib.metadata.version(name) for name in ("coevo", "chgnet", "torch", "numpy", "pyxtal")},
        "node": NODE,
        "stable_threshold_ev_per_atom": STABLE,
        "arms": [rows[key] for key in sorted(rows)],
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(report, indent=2) + "\n")
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
