"""What coevo's rules cost, and what they change, where the labels are right: a node whose teacher is its own force field.

A small node of Li-P-S (embedded generator, CHGNet 0.3.0, all bundled references) is labelled by CHGNet 0.3.0 itself, so that no
label says anything else than the force field. It is made with the same seeds: without rules; with a hull of labelled phases;
with that and an audit; and with these and a cap on compositions with an electron excess. Each arm runs in a process of its own,
whose CPU seconds, those of its children included, are counted. As long as the generator is not capped the candidates of the
first iteration are the same crystals, so verdicts are compared entry by entry; later generators learn from what was admitted.

Who audits must have taken no part, so configurations refuse the node's own force field as its auditor. Here that check is left
out: an auditor that costs as much as the force field, and never disagrees for a reason of its own, is what is to be measured. Any
other auditor costs its own price for the same relaxations.

    python benchmarks/rules.py                      # three minutes of one core
    python benchmarks/rules.py --candidates 12 --iterations 1 --no-result
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from discovery import merged
from local_run import cpu_seconds

RESULT = Path(__file__).parent / "results" / "rules.json"
NODE: dict[str, Any] = {
    "node": {"name": "rules", "elements": ["Li", "P", "S"], "references": "li-p-s", "seed": 0},
    "generator": {"candidates": 30, "shard_size": 20, "max_atoms": 12},
    "screening": {"fmax": 0.1, "max_steps": 150, "batch_size": 16},
    "curation": {"max_e_hull": 0.2, "stable_threshold": 0.1},
    "selection": {"structures": 16},
    "labelling": {"code": "teacher", "teacher": {"family": "chgnet", "weights": "0.3.0"}},
    "training": {"epochs": 4, "batch_size": 8, "min_frames": 12},
    "maturity": {"environments": 400, "subsamples": 2, "ruler_size": 30},
}
HULL: dict[str, Any] = {"curation": {"hull": "labelled"}}
AUDIT: dict[str, Any] = {
    "audit": {"auditor": "force_field", "force_field": {"family": "chgnet", "weights": "0.3.0"}, "structures": 8}
}
CAP: dict[str, Any] = {"generator": {"electron_excess_share": 0.05}}
ARMS: dict[str, tuple[dict[str, Any], ...]] = {
    "without": (),
    "hull": (HULL,),
    "hull, audit": (HULL, AUDIT),
    "hull, audit, cap": (HULL, AUDIT, CAP),
}
VERDICTS = ("is_stable", "is_sun")


def run(name: str, candidates: int, iterations: int) -> dict[str, Any]:
    """Make the node of an arm, in this process, and say what it cost and what it says."""
    import yaml

    from coevo.campaigns.running import initialise, run_campaign
    from coevo.configs.audit_section import AuditConfig
    from coevo.configs.loading import load_config
    from coevo.makers.step import current_store

    AuditConfig.check = lambda *_: None  # type: ignore[method-assign]
    tree = merged(NODE, *ARMS[name], {"generator": {"candidates": candidates}})
    with tempfile.TemporaryDirectory(prefix="coevo-rules-") as folder:
        path = Path(folder, "rules.yaml")
        path.write_text(yaml.safe_dump(tree, sort_keys=False))
        os.environ["COEVO_DATABASE"] = f"file:{folder}/db"
        store = current_store()
        initialise(store, load_config(path))
        begun = cpu_seconds()
        run_campaign(store, "rules", branch="main", iterations=iterations, say=lambda *_: None, on_state=lambda _: None)
        spent = cpu_seconds() - begun
        view = store.state("rules")
        states = [view, *view.first_parents()]
        metrics = view.document["metrics"]
        first = {
            d["structure_id"]: [bool(d[key]) for key in VERDICTS]
            for state in states
            if state.iteration == 1
            for d in state.evaluations("entry")
        }
        audits = [state.document["metrics"].get("audit") or {} for state in states]
        return {
            "cpu_seconds": round(spent, 1),
            "labels": len(view.manifest["labels"]),
            "population": {key: metrics["population"].get(key) for key in ("entries", "stable", "sun", "refuted", "in_doubt")},
            "audited": sum(told.get("new", 0) for told in audits),
            "audit_precision": (audits[0].get("precision") or {}).get("share"),
            "prequential_rmse_mev_per_atom": _prequential(metrics),
            "first": first,
        }


def _prequential(metrics: dict[str, Any]) -> float | None:
    """RMSE of the energy on the labels before anything was trained on them, meV/atom: of a perfect teacher, next to nothing."""
    found = ((metrics.get("force_field") or {}).get("prequential") or {}).get("all") or {}
    return found.get("energy_rmse_mev_per_atom")


def changed(arm: dict[str, Any], without: dict[str, Any]) -> dict[str, Any]:
    """Verdicts of the first iteration on entries that both arms have."""
    both = sorted(set(arm["first"]) & set(without["first"]))
    counts = {key: sum(arm["first"][i][place] != without["first"][i][place] for i in both) for place, key in enumerate(VERDICTS)}
    return {"entries_of_both": len(both), "changed": counts}


def main() -> None:
    """Run the arms one after the other, each in a process, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=NODE["generator"]["candidates"])
    parser.add_argument("--iterations", type=int, default=2)
    parser.add_argument("--arm", choices=list(ARMS), help="run one, in this process, and print what it says as JSON")
    parser.add_argument("--no-result", action="store_true")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("COEVO_WORKERS", "1")
    warnings.filterwarnings("ignore")
    if options.arm:
        sys.stdout.write(json.dumps(run(options.arm, options.candidates, options.iterations)) + "\n")
        return
    found: dict[str, dict[str, Any]] = {}
    sizes = ["--candidates", str(options.candidates), "--iterations", str(options.iterations)]
    for name in ARMS:
        done = subprocess.run([sys.executable, __file__, "--arm", name, *sizes], stdout=subprocess.PIPE, text=True, check=True)
        found[name] = json.loads(done.stdout.splitlines()[-1])
        spent, base = found[name]["cpu_seconds"], found["without"]["cpu_seconds"]
        found[name] |= {"cpu_ratio": round(spent / base, 3), "verdicts": changed(found[name], found["without"])}
        print(f"{name:<20}{spent:>8.1f} CPU s{spent / base:>8.3f}  {found[name]['population']}  {found[name]['verdicts']}")
    for row in found.values():
        del row["first"]
    if options.no_result:
        return
    report = {
        "benchmark": "rules",
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "machine": {"cores": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version()},
        "versions": {name: importlib.metadata.version(name) for name in ("coevo", "chgnet", "torch", "numpy", "pyxtal")},
        "node": merged(NODE, {"generator": {"candidates": options.candidates}}),
        "iterations": options.iterations,
        "arms": found,
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(report, indent=2) + "\n")
    print(f"written to {RESULT}")


if __name__ == "__main__":
    main()
