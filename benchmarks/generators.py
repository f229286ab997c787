"""The families of generators side by side, through the same steps of a node: fit, save, load, sample, check, relax, compare.

*Tiny models, trained from nothing within minutes of one CPU: no statement about the published ones*, and no ranking of methods:
budgets are not equal, and a tiny network is what its settings make it. What is compared is what the adapters cost, and whether
what they give passes through a node.

All families learn the same examples (bundled Li–P–S references of at most 10 atoms, rattled and strained copies of these, and
draws of the untrained embedded generator that CHGNet 0.3.0 relaxed, up to 0.3 eV/atom above the hull of the references) and are
asked for as many candidates under the same conditions. Times are CPU seconds of this process and all its descendants; each task
of a family with an environment of its own includes the start of its Python (``start``).

*Returned*: in the form and under the conditions asked for. *Valid*: passes the geometric checks of screening. *Unique*: distinct
among the valid, as drawn, by the rules of curation. *Relaxed*: by CHGNet 0.3.0 to 0.1 eV/Å within 100 steps, in batches, and
still valid. *Within 0.1*: relaxed, and at most 0.1 eV/atom above the hull of the bundled references by CHGNet; *distinct* of
these; *new* of these: no example or reference matches.

A family that is not here is a row that says what is missing; what was measured of it before is kept with its date, as
are earlier rows of one that is. Rows are kept in the working directory, so that an interrupted run goes on where it stopped.

    coevo env create mattergen                        # and the others; some need a checkout (docs/generators.md)
    python benchmarks/generators.py                   # about ten minutes of CPU
    python benchmarks/generators.py --families embedded mattergen --again
    python benchmarks/generators.py --quick           # a few examples and draws: does it run? nothing is written
    python benchmarks/generators.py --table           # of the last results
"""

from __future__ import annotations

import argparse
import datetime as dt
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import tempfile
import time
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from local_run import cpu_seconds
from workloads.tiny_generators import FAMILIES, settings_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coevo.models.contracts import Sample
    from workloads.small_node import SmallNode

RESULT = Path(__file__).parent / "results" / "generators.json"
LABEL = "tiny models: no statement about the published ones"
VERSIONS = ("coevo", "chgnet", "torch", "numpy", "pymatgen", "pyxtal")
REPORT_KEYS = ("examples", "training", "validation", "epochs", "epochs_run", "updates", "steps", "loss_before", "loss_after")
"""Numbers of a fit's report that are kept, where a family has them."""


class Clock:
    """CPU seconds (with descendants) and wall seconds of named parts."""

    def __init__(self) -> None:
        self.parts: dict[str, dict[str, float]] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Measure what is done inside."""
        before, begun = cpu_seconds(), time.monotonic()
        try:
            yield
        finally:
            cpu = cpu_seconds() - before
            self.parts[name] = {"cpu_seconds": round(cpu, 1), "wall_seconds": round(time.monotonic() - begun, 1)}
            print(f"  {name}: {cpu:.1f} CPU s", flush=True)


def without_places(text: str) -> str:
    """What a message says, in short: the first line up to what to do, without directories of this machine."""
    first = text.strip().partition("\n")[0].partition("; ")[0]
    return re.sub(r"(?<![:/\w])/(?:[\w.+-]+/)+", "", first)[:300]


def environment_of(family: str) -> dict[str, Any] | None:
    """Versions, device and stand-ins in the environment of a family, as its runner finds them; None if it has none.

    Raises
    ------
    ConfigError
        If the family, its environment or a checkout that it needs is not here.
    ModelError
        If it is, and does not work.
    """
    from coevo.errors import ConfigError, ModelError
    from coevo.families import descriptor_of, is_known

    if not is_known(family, "generator"):
        raise ConfigError("this version of coevo has no such family")
    external = descriptor_of(family, "generator").environment
    if external is None:
        return None
    from coevo.models.external.checking import condition_of, examine_environment

    state, do = condition_of(external)
    if state in {"none", "unfinished"}:
        raise ConfigError(f"no environment here: {do if state == 'none' else 'it is not finished'}")
    examined = examine_environment(external)
    if examined.broken:
        raise ModelError("; ".join(f"{name} cannot be imported: {examined.versions[name]}" for name in examined.broken))
    return {
        "packages": len(external.pins()),
        "device": examined.device,
        "versions": examined.versions,
        "stand_ins": examined.stand_ins,
        "checkouts": {name: text.rpartition(" at ")[2] for name, text in examined.checkouts.items()},
    }


def measured(family: str, node: SmallNode, options: argparse.Namespace) -> dict[str, Any]:
    """Fit, save, load, sample and judge one family."""
    from coevo.configs.tree import GeneratorConfig
    from coevo.models.registry import generator_class
    from workloads.small_node import conditions

    clock = Clock()
    with clock.part("start"):
        environment = environment_of(family)
    settings = GeneratorConfig(**settings_of(family, quick=options.quick))
    kind = generator_class(family)
    with clock.part("fit"):
        fitted, report = kind.initial(settings).fit(node.examples, options.seed)
    with tempfile.TemporaryDirectory() as directory, clock.part("save_and_load"):
        path = Path(directory) / "checkpoint"
        fitted.save(path)
        size = path.stat().st_size
        loaded = kind.load(path, settings)
        if hasattr(loaded, "trusted"):
            loaded.trusted = True  # it was made here
    with clock.part("sample"):
        sample = loaded.sample(options.samples, conditions(), options.seed + 1)
    with clock.part("judge"):
        judged = node.judge([c.structure for c in sample.candidates])
    energies = np.array(judged.energies)
    return {
        "environment": environment,
        "times": clock.parts,
        "fit": {key: report[key] for key in REPORT_KEYS if isinstance(report.get(key), int | float)} | fitted_or_not(report),
        "checkpoint_bytes": size,
        "sample": counts_of(sample, options.samples) | judged.counts,
        "e_hull_quantiles": [round(float(q), 4) for q in np.quantile(energies, [0.25, 0.5, 0.75])] if energies.size else None,
    }


def fitted_or_not(report: dict[str, Any]) -> dict[str, Any]:
    """Why a family could not fit, if it says so."""
    return {"fitted": False, "reason": str(report.get("reason", ""))} if report.get("fitted") is False else {}


def counts_of(sample: Sample, asked: int) -> dict[str, Any]:
    """What a sample has."""
    return {
        "asked": asked,
        "drawn": len(sample.candidates) + sum(sample.rejected.values()),
        "returned": len(sample.candidates),
        "rejected": sample.rejected,
    }


def row_of(family: str, node: SmallNode, options: argparse.Namespace) -> dict[str, Any]:
    """What is measured of a family, or why nothing is: ``status`` is measured, absent or failed."""
    from coevo.errors import ConfigError, ModelError

    row: dict[str, Any] = {
        "family": family,
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "machine": {"cores": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version()},
        "versions": {name: importlib.metadata.version(name) for name in VERSIONS},
        "settings": settings_of(family, quick=options.quick),
        "seed": options.seed,
        "examples": len(node.examples),
        "examples_digest": node.digest,
    }
    try:
        return row | {"status": "measured", **measured(family, node, options)}
    except ConfigError as err:
        return row | {"status": "absent", "reason": without_places(str(err))}
    except ModelError as err:
        print(str(err))
        return row | {"status": "failed", "reason": without_places(str(err))}


def work_key(family: str, node: SmallNode, options: argparse.Namespace) -> str:
    """Name of a family's kept row: other settings, examples or numbers, another row."""
    content = [settings_of(family, quick=options.quick), node.digest, options.samples, options.seed]
    return f"{family}-{hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]}.json"


def merged(last: list[dict[str, Any]], now: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of all runs: of each family the newest measured one, or else the newest.

    A row has ``earlier`` ones that were measured of the family, and ``since`` where a later run could measure nothing.
    """
    rows = {row["family"]: row for row in last}
    for row in now:
        old = rows.get(row["family"])
        if old is None or old["status"] != "measured":
            rows[row["family"]] = row
        elif row["status"] != "measured":
            rows[row["family"]] = old | {"since": {key: row[key] for key in ("date", "status", "reason")}}
        elif row["date"] != old["date"]:  # else it is that row, kept in the working directory
            rows[row["family"]] = row | {"earlier": [{k: v for k, v in old.items() if k != "earlier"}, *old.get("earlier", [])]}
    order = {name: k for k, name in enumerate(FAMILIES)}
    return sorted(rows.values(), key=lambda row: (order.get(row["family"], len(order)), row["family"]))


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown of the rows."""
    heads = ("family", "fit, CPU s", "sample, CPU s", "asked", "returned", "valid", "unique", "relaxed", "within 0.1", "distinct")
    lines = [f"| {' | '.join((*heads, 'new', 'date'))} |", "|" + "---|" * (len(heads) + 2)]
    for row in rows:
        date = row["date"][:10]
        if row["status"] != "measured":
            lines.append(f"| `{row['family']}` | {row['status']}: {row['reason']} |" + " |" * (len(heads) - 1) + f" {date} |")
            continue
        times, sample = row["times"], row["sample"]
        counts = ("asked", "returned", "valid", "unique", "relaxed", "within", "distinct_within", "new_within")
        cells = [f"{times[name]['cpu_seconds']:.1f}" for name in ("fit", "sample")] + [str(sample[name]) for name in counts]
        lines.append(f"| `{row['family']}` | {' | '.join(cells)} | {date} |")
    return "\n".join(lines)


def main() -> None:
    """Measure the families and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--draws", type=int, default=200, help="of the embedded generator, for the examples (default 200)")
    parser.add_argument("--samples", type=int, default=48, help="candidates asked for (default 48)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--again", action="store_true", help="measure also what the working directory has")
    parser.add_argument("--quick", action="store_true", help="a few examples and draws; nothing is written")
    parser.add_argument("--table", action="store_true", help="print the table of the last results, measure nothing")
    parser.add_argument("--work", type=Path, default=Path("generators-work"), help="where examples and finished rows are kept")
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    last = json.loads(options.output.read_text())["rows"] if options.output.exists() else []
    if options.table:
        print(table(last))
        return
    if options.quick:
        options.draws, options.samples = min(options.draws, 12), min(options.samples, 4)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("SPGLIB_WARNING", "OFF")
    warnings.simplefilter("ignore")
    import torch

    from workloads.small_node import SYSTEMS, SmallNode

    torch.set_num_threads(1)
    node = SmallNode(options.draws, options.work / f"examples-{options.draws}.json")
    rows = []
    for family in options.families:
        kept = options.work / work_key(family, node, options)
        if kept.exists() and not options.again:
            rows.append(json.loads(kept.read_text()))
            continue
        print(family, flush=True)
        row = row_of(family, node, options)
        if row["status"] == "measured":  # what is absent or failed is tried again
            kept.write_text(json.dumps(row, indent=1) + "\n")
        rows.append(row)
    rows = merged([] if options.quick else last, rows)
    print(table(rows))
    if options.quick:
        return
    report = {
        "benchmark": "generators",
        "label": LABEL,
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "method": __doc__,
        "systems": SYSTEMS,
        "examples_cpu_seconds": node.made_in,
        "rows": rows,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(report, indent=1) + "\n")
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
