"""Which of ten known phases that were kept from a node come back: arms of the embedded generator."""

from __future__ import annotations

import argparse
import os
import warnings
from pathlib import Path
from typing import Any

from workloads.arms import merged, run_arm

NODE: dict[str, Any] = {
    "node": {"name": "rediscovery"},
    "generator": {"candidates": 250, "shard_size": 50, "max_atoms": 24, "subsystem_fraction": 0.25},
    "screening": {"fmax": 0.1, "max_steps": 150, "batch_size": 16},
    "curation": {"max_e_hull": 0.2, "stable_threshold": 0.1},
    # nothing is labelled and nothing trained: arms differ in what they draw, and all are judged by one force field
    "selection": {"structures": 0},
    "training": {"enabled": False},
    "maturity": {"environments": 500, "subsamples": 1, "ruler_size": 100},
}
CHEMISTRIES: dict[str, dict[str, Any]] = {
    "li-p-s": {
        "node": {"elements": ["Li", "P", "S"], "references": "li-p-s"},
        "references": {
            "exclude": ["Li2S", "Li3P", "P2S5 (P4S10)", "P black", "beta-Li3PS4 (ordered approximant)"],
        },
    }
}
QUICK: dict[str, Any] = {"generator": {"candidates": 12, "shard_size": 6, "max_atoms": 10}, "maturity": {"ruler_size": 10}}
ARMS: dict[str, dict[str, dict[str, Any]]] = {
    "today": {},
    "electrons": {"generator": {"electron_excess_share": 0.05}},
}


def configuration(arm: str, chemistry: str, seed: int, *, quick: bool) -> dict[str, Any]:
    """The configuration of the node of an arm."""
    return merged(NODE, CHEMISTRIES[chemistry], {"node": {"seed": seed}}, ARMS[arm], QUICK if quick else {})


def main() -> None:
    """Run the arms."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where the nodes of the arms are kept")
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--iterations", type=int, default=6)
    parser.add_argument("--chemistry", choices=list(CHEMISTRIES), default="li-p-s")
    parser.add_argument("--run-only", action="store_true", help="run the arms, and score nothing")
    parser.add_argument("--quick", action="store_true", help="a few small candidates")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("SPGLIB_WARNING", "OFF")
    warnings.filterwarnings("ignore")
    for arm in options.arms:
        for seed in options.seeds:
            place = options.folder.resolve() / options.chemistry / f"{arm}-{seed}{'-quick' if options.quick else ''}"
            tree = configuration(arm, options.chemistry, seed, quick=options.quick)
            run_arm(place, tree, options.iterations)


if __name__ == "__main__":
    main()
