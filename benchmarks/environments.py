"""Environments of a node at the resolution of its own references: entropies, and atoms far from all older ones.

The node is one that judged its environments by entropy, such as one of ``benchmarks/discovery.py``. Its references are shaken by
its first force field, as coevo does before the first state of a node that judges by coverage; then every state is measured at
that resolution. What the states recorded at QUESTS' bandwidth stands beside. Nothing is written into the database.

    python benchmarks/environments.py --database file:DIRECTORY/r2scan-0/db --node discovery

A force field that is not the node's first (``--again``) shakes the references once more: how much the resolution hangs on it.
"""

from __future__ import annotations

import argparse
import datetime as dt
import importlib.metadata
import json
import os
import platform
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from coevo.configs.tree import NodeConfig
    from coevo.node_store.views import StateView

RESULT = Path(__file__).parent / "results" / "environments.json"


def rounded(value: Any) -> Any:
    """Numbers to five digits."""
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [rounded(each) for each in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def calibration_of(view: StateView, references: StateView, config: NodeConfig) -> dict[str, Any]:
    """Shake the references of a state by the force field of another."""
    from coevo.makers.calibrate_environments import population_references
    from coevo.makers.checkpoints import load_force_field
    from coevo.makers.signals.environment_calibration import calibrated
    from coevo.makers.step import current_store

    checkpoint: Any = view.document["checkpoints"]["force_field"]
    records = population_references([references])
    return calibrated(records, config.node, load_force_field(current_store(), checkpoint), checkpoint["sha256"])


def measured(view: StateView, config: NodeConfig, calibration: dict[str, Any]) -> dict[str, Any]:
    """Entropies of a state, as it recorded them and at the resolution, and the far atoms of each iteration that it has."""
    from coevo.makers.populations.population import members
    from coevo.makers.signals.environment_coverage import COVERAGE, coverage_metrics
    from coevo.node_store.canonical import structure_document

    rows = [row for kind in ("reference", "entry") for row in members(view, kind)]
    started = time.process_time()
    found = coverage_metrics(
        [row.document for row in rows],
        {row.id: structure_document(row.structure) for row in rows},
        config.node,
        config.maturity,
        calibration,
        list(range(1, view.iteration + 1)),
        view.iteration,
        workers=1,
    )[COVERAGE]
    metrics = view.document["metrics"]
    entries = [row.document for row in rows if row.document["kind"] == "entry"]
    return {
        "state": view.id[:12],
        "iteration": view.iteration,
        "entries": len(entries),
        "atoms": found["entropy"]["total"] and found["entropy"]["total"]["environments"],
        "quests": {name: metrics.get(name) for name in ("entropy", "entropy_multicomponent", "new_environments")},
        "resolved": found["entropy"],
        "far": found["iterations"],
        "cpu_seconds": time.process_time() - started,
    }


def main() -> None:
    """Measure all states of the branch and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", required=True, help="as COEVO_DATABASE")
    parser.add_argument("--node", default="discovery")
    parser.add_argument("--again", action="store_true", help="shake the references by the last force field as well")
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ["COEVO_DATABASE"] = options.database
    warnings.filterwarnings("ignore")
    from coevo.configs.loading import parse_config
    from coevo.makers.step import current_store

    head = current_store().state(f"{options.node}@main")
    views = [*reversed(list(head.first_parents())), head]
    config = parse_config(json.dumps(head.document["config"]), "the state")
    started = time.process_time()
    calibration = calibration_of(views[0], views[0], config)
    spent = time.process_time() - started
    states = []
    for view in views[1:]:
        states.append(measured(view, config, calibration))
        total, far = states[-1]["resolved"]["total"], states[-1]["far"][str(view.iteration)]
        shares = ", ".join(f"{symbol} {share['fraction']:.3f}" for symbol, share in far.items())
        print(f"{view.iteration}: H {total}; far of this iteration: {shares}")
    names = ("delta", "delta90", "per_species", "force_field", "told_apart", "crystals", "quests")
    report = {
        "benchmark": "environments",
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "machine": {"cores": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version()},
        "versions": {name: importlib.metadata.version(name) for name in ("coevo", "chgnet", "torch", "numpy")},
        "node": head.document["config"],
        "calibration": {name: calibration[name] for name in names} | {"cpu_seconds": spent},
        "states": states,
    }
    if options.again:
        again = calibration_of(head, head, config)
        report["calibration_by_the_last_force_field"] = {name: again[name] for name in names}
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(rounded(report), indent=2) + "\n")
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
