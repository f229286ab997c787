"""Does the generator's fit shift the next iteration's energies down, at equal diversity?

Three arms at equal numbers of relaxations, under the same conditions:

- ``fit``: the embedded generator, refitted after each iteration on references and all distinct relaxed candidates so far;
- ``no_fit``: the same generator, never fitted. Its first iteration is that of ``fit``: the same draws, relaxed once;
- ``pyxtal``: plain PyXtal, with composition, formula units and space group (2 to 230) drawn uniformly, volume factor 0.9 to 1.3.

Force field (CHGNet 0.3.0) and hull (the bundled references, relaxed by it) are frozen, so E_hull may be negative. A relaxation
that fails (exploded, not converged within the steps, …) stays in every denominator: it counts as above each threshold, and as
+inf in the quantiles. Unique: distinct among the iteration's converged candidates by pymatgen's StructureMatcher (ltol 0.2,
stol 0.3, 5°), as a fraction of these. New: distinct also from the references and all earlier iterations of the same arm and seed.

The shares of the operators were chosen while looking at runs of seeds 0 to 2, so these seeds are not held out.

Results of each (seed, arm, iteration) are kept in the working directory; an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import os
import platform
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from coevo.models.contracts import Conditions, Example

ELEMENTS = ("Li", "P", "S")
FIVE = ("Li2S", "Li3P", "Li3PS4", "Li2PS3", "LiPS3")
"""Compositions of an earlier baseline of plain PyXtal (527 relaxations): median 0.243 eV/atom, 15.2 % ≤ 0.1, 2.5 % ≤ 0.01."""
SYSTEMS = {"Li-P-S": 0.6, "Li-S": 0.2, "Li-P": 0.2}
"""Weights of the five: three ternaries, two binaries."""
ARMS = ("fit", "no_fit", "pyxtal")
THRESHOLDS = (0.1, 0.05, 0.01)
AIMS = ((0.1, 2.0, 0.152), (0.01, 4.0, 0.025))
"""Threshold, factor aimed at, share of the earlier baseline."""
UNIQUE_AIM = 0.9
QUANTILES = (0.05, 0.1, 0.25, 0.5, 0.75)
MAX_ATOMS = 16
BATCH = 16
STEPS = 200
OPTIMISER = "fire"
"""As in the earlier baseline, and ASE's path: L-BFGS, the default of a node, leaves symmetric saddles and raises every arm."""
FMAX = 0.1


def conditions(mode: str) -> Conditions:
    """The conditions of all arms: the five formulas, or the open system with the same weights of its sub-systems."""
    from coevo.models.contracts import Conditions

    if mode == "five":
        return Conditions(ELEMENTS, max_atoms=MAX_ATOMS, compositions=FIVE, chemical_systems=SYSTEMS)
    return Conditions(ELEMENTS, max_atoms=MAX_ATOMS, chemical_systems=SYSTEMS)


def draw_pyxtal(n: int, seed: int) -> list[Structure]:
    """Plain PyXtal."""
    import warnings

    from pymatgen.core import Composition
    from pyxtal import operations, pyxtal
    from pyxtal.msg import Comp_CompatibilityError, VolumeError
    from pyxtal.tolerance import Tol_matrix

    # PyXtal builds its default table of distances at every merge; the same table from a cache gives the same crystals sooner.
    operations.Tol_matrix = functools.lru_cache(Tol_matrix)
    warnings.simplefilter("ignore")
    rng = np.random.default_rng([seed, 230])
    found: list[Structure] = []
    for _ in range(n):
        formula = Composition(FIVE[int(rng.integers(len(FIVE)))])
        units = int(rng.integers(1, MAX_ATOMS // round(formula.num_atoms) + 1))
        symbols = sorted(e.symbol for e in formula)
        crystal = pyxtal()
        # A group that the atoms do not fit is drawn again, not the composition: each formula is asked for equally often.
        while not crystal.valid:
            try:
                crystal.from_random(
                    3,
                    int(rng.integers(2, 231)),
                    symbols,
                    [round(formula[s]) * units for s in symbols],
                    factor=float(rng.uniform(0.9, 1.3)),
                    max_count=1,
                    random_state=rng,
                )
            except (Comp_CompatibilityError, VolumeError, RuntimeError, ValueError):
                continue
        found.append(crystal.to_pymatgen().get_primitive_structure())
    return found


def relax_task(arm: str, checkpoint: str | None, mode: str, n: int, seed: int) -> list[dict[str, Any]]:
    """Draw and relax one iteration of one arm; records in the order of drawing."""
    from coevo.configs.tree import GeneratorConfig
    from coevo.models.chgnet.force_field import ChgnetForceField
    from coevo.models.contracts import RelaxationSettings
    from coevo.models.random_crystals.generator import EmbeddedGenerator

    started = time.process_time()
    if arm == "pyxtal":
        structures, origins = draw_pyxtal(n, seed), [{"operator": "pyxtal"}] * n
    else:
        generator = EmbeddedGenerator.load(Path(checkpoint)) if checkpoint else EmbeddedGenerator.initial(GeneratorConfig())
        sample = generator.sample(n, conditions(mode), seed)
        structures, origins = [c.structure for c in sample.candidates], [c.origin for c in sample.candidates]
    drawn = time.process_time() - started
    relaxed = ChgnetForceField.published("0.3.0").relax(
        structures, RelaxationSettings(fmax=FMAX, max_steps=STEPS, batch_size=BATCH, optimiser=OPTIMISER), workers=1
    )
    total = time.process_time() - started
    records = [_record(origin, result) for origin, result in zip(origins, relaxed, strict=True)]
    records += [{"failure": "not_drawn"}] * (n - len(records))
    records[0] |= {"cpu_seconds_drawing": drawn, "cpu_seconds": total, "relaxer": relaxer_digest()}
    return records


def relaxer_digest() -> str:
    """Hash of the code that relaxes: arms relaxed by two optimisers cannot be compared, whatever the weights are."""
    import coevo.models.chgnet

    digest = hashlib.sha256()
    for folder in coevo.models.chgnet.__path__:
        for path in sorted(Path(folder).glob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _record(origin: dict[str, Any], result: Any) -> dict[str, Any]:
    from coevo.models.contracts import Failure

    if isinstance(result, Failure):
        return {"origin": origin, "failure": result.reason}
    return {
        "origin": origin,
        "energy": result.prediction.energy,
        "steps": result.steps,
        "structure": result.structure.as_dict(),
    }


class Ruler:
    """The frozen hull, and the references as examples."""

    def __init__(self) -> None:
        from coevo.analysis.hull.hull import Hull
        from coevo.configs.references import load_references
        from coevo.models.chgnet.force_field import ChgnetForceField
        from coevo.models.contracts import Example, Prediction

        references = load_references("li-p-s", ELEMENTS)
        predictions = ChgnetForceField.published("0.3.0").evaluate([r.structure for r in references])
        energies = [p.energy for p in predictions if isinstance(p, Prediction)]
        structures = [r.structure for r in references]
        self.hull = Hull.from_points(ELEMENTS, [self.fractions(s) for s in structures], energies)
        above = self.hull.energy_above_hull([self.fractions(s) for s in structures], energies)
        self.examples = [Example(f"reference-{k}", s, float(e)) for k, (s, e) in enumerate(zip(structures, above, strict=True))]
        self.energies = energies

    @staticmethod
    def fractions(structure: Structure) -> list[float]:
        """Atomic fractions in the order of the elements."""
        return [structure.composition.get_atomic_fraction(e) for e in ELEMENTS]

    def above(self, structure: Structure, energy: float) -> float:
        """E_hull, eV/atom, negative below the hull of the references."""
        return float(self.hull.energy_above_hull([self.fractions(structure)], [energy])[0])


def read_iteration(path: Path, ruler: Ruler, label: str) -> list[tuple[dict[str, Any], Example | None]]:
    """Records of one iteration, each with its example (None for a failure)."""
    from pymatgen.core import Structure

    from coevo.models.contracts import Example

    found: list[tuple[dict[str, Any], Example | None]] = []
    for k, record in enumerate(json.loads(path.read_text())):
        if "failure" in record:
            found.append((record, None))
            continue
        structure = Structure.from_dict(record["structure"])
        found.append((record, Example(f"{label}-{k:04d}", structure, ruler.above(structure, record["energy"]))))
    return found


def distinct(examples: list[Example], before: list[Example]) -> list[Example]:
    """The examples that match neither an earlier one nor any of ``before``, by StructureMatcher semantics."""
    from coevo.analysis.comparison.matching import Matching
    from coevo.analysis.comparison.uniqueness import Item, find_representatives

    items = [Item(e.id, e.structure, e.energy_above_hull) for e in examples]
    old = [Item(e.id, e.structure, e.energy_above_hull) for e in before]
    groups = find_representatives(items, old, Matching(fragment_veto=False))
    return [e for e in examples if groups[e.id] == e.id]


def wilson(hits: int, n: int) -> list[float]:
    """95 % Wilson interval of a share."""
    if n == 0:
        return [0.0, 1.0]
    z, p = 1.959964, hits / n
    centre, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return [float((centre - half) / (1 + z * z / n)), float((centre + half) / (1 + z * z / n))]


def bootstrap_quantile(values: np.ndarray, q: float) -> list[float | None]:
    """95 % percentile-bootstrap interval of a quantile; None where it is infinite."""
    rng = np.random.default_rng(0)
    draws = np.sort(values[rng.integers(len(values), size=(1000, len(values)))], axis=1)[:, int(q * (len(values) - 1))]
    low, high = np.quantile(draws, [0.025, 0.975], method="nearest")
    return [_finite(low), _finite(high)]


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def measure(rows: list[tuple[dict[str, Any], Example | None]], unique: int, new: int) -> dict[str, Any]:
    """Numbers of one iteration, or of several pooled."""
    from collections import Counter

    n = len(rows)
    good = [e for _, e in rows if e is not None]
    energies = np.array([e.energy_above_hull if e is not None else np.inf for _, e in rows])
    found: dict[str, Any] = {
        "relaxations": n,
        "converged": len(good),
        "failures": dict(sorted(Counter(r["failure"] for r, e in rows if e is None).items())),
        "e_hull_quantiles": {str(q): _finite(np.quantile(energies, q, method="lower")) for q in QUANTILES},
        "median_95": bootstrap_quantile(energies, 0.5),
        "unique": unique,
        "unique_fraction": unique / max(len(good), 1),
        "unique_95": wilson(unique, len(good)),
        "new": new,
        "compositions": dict(Counter(e.structure.composition.reduced_formula for e in good).most_common(12)),
        "operators": operators(rows),
    }
    for limit in THRESHOLDS:
        hits = int((energies <= limit).sum())
        found[f"within_{limit}"] = {"hits": hits, "share": hits / n, "interval_95": wilson(hits, n)}
    return found


def operators(rows: list[tuple[dict[str, Any], Example | None]]) -> dict[str, Any]:
    """Per operator: candidates, and how many are within 0.1 and 0.01 eV/atom."""
    table: dict[str, list[int]] = {}
    for record, example in rows:
        row = table.setdefault(record.get("origin", {}).get("operator", "none"), [0, 0, 0])
        row[0] += 1
        if example is not None:
            row[1] += example.energy_above_hull <= 0.1
            row[2] += example.energy_above_hull <= 0.01
    return {k: {"candidates": a, "within_0.1": b, "within_0.01": c} for k, (a, b, c) in sorted(table.items())}


class Campaign:
    """All iterations of all arms and seeds, scheduled on a pool of processes."""

    def __init__(self, options: argparse.Namespace):
        self.options = options
        self.ruler = Ruler()
        self.done: dict[tuple[int, str, int], list[tuple[dict[str, Any], Example | None]]] = {}
        self.relaxers: set[str] = set()
        options.work.mkdir(parents=True, exist_ok=True)

    def key(self, seed: int, arm: str, iteration: int) -> tuple[int, str, int]:
        """Where the result of an iteration is: the first one of ``fit`` is that of ``no_fit``."""
        return (seed, "no_fit" if arm == "fit" and iteration == 1 and "no_fit" in self.options.arms else arm, iteration)

    def path(self, key: tuple[int, str, int]) -> Path:
        """File of an iteration's records."""
        return Path(self.options.work / f"seed{key[0]}-{key[1]}-{key[2]}.json")

    def checkpoint(self, seed: int, iteration: int) -> Path:
        """Fit on everything before an iteration."""
        from coevo.configs.tree import GeneratorConfig
        from coevo.models.random_crystals.generator import EmbeddedGenerator

        known = list(self.ruler.examples)
        for earlier in range(1, iteration):
            fresh = [e for _, e in self.done[self.key(seed, "fit", earlier)] if e is not None]
            known += distinct(fresh, known)
        generator, _ = EmbeddedGenerator.initial(GeneratorConfig()).fit(known, seed)
        path = Path(self.options.work / f"seed{seed}-fit-{iteration}.checkpoint.json")
        generator.save(path)
        return path

    def submit(self, pool: ProcessPoolExecutor, key: tuple[int, str, int]) -> Future[list[dict[str, Any]]]:
        """Start one iteration."""
        seed, arm, iteration = key
        checkpoint = str(self.checkpoint(seed, iteration)) if arm == "fit" and iteration > 1 else None
        draw_seed = int.from_bytes(hashlib.sha256(f"{seed} {iteration}".encode()).digest()[:4], "big")
        return pool.submit(relax_task, arm, checkpoint, self.options.mode, self.options.n, draw_seed)

    def ready(self, key: tuple[int, str, int]) -> bool:
        """Whether what an iteration is fitted on is there."""
        return key[1] != "fit" or all(self.key(key[0], "fit", i) in self.done for i in range(1, key[2]))

    def run(self) -> None:
        """Run or read every iteration."""
        o = self.options
        waiting = list(dict.fromkeys(self.key(s, a, i) for i in range(1, o.iterations + 1) for s in o.seeds for a in o.arms))
        running: dict[Future[list[dict[str, Any]]], tuple[int, str, int]] = {}
        with ProcessPoolExecutor(o.workers, mp_context=get_context("spawn")) as pool:
            while waiting or running:
                for key in [k for k in waiting if self.path(k).exists()]:
                    waiting.remove(key)
                    self.finish(key)
                for key in [k for k in waiting if self.ready(k)][: o.workers - len(running)]:
                    waiting.remove(key)
                    running[self.submit(pool, key)] = key
                if not running:
                    continue
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    key = running.pop(future)
                    partial = self.path(key).with_suffix(".partial")
                    partial.write_text(json.dumps(future.result()))
                    partial.rename(self.path(key))
                    self.finish(key)

    def finish(self, key: tuple[int, str, int]) -> None:
        """Read an iteration's file and say what it gave."""
        rows = read_iteration(self.path(key), self.ruler, f"{key[1]}-{key[2]}")
        self.relaxers.add(rows[0][0].get("relaxer", "not recorded"))
        if len(self.relaxers) > 1:
            raise SystemExit(
                f"{self.path(key)} was relaxed by other code than the iterations before ({', '.join(sorted(self.relaxers))}): "
                f"start again with an empty --work directory"
            )
        self.done[key] = rows
        shares = ", ".join(f"{np.mean(self.energies(key) <= t):.3f} within {t}" for t in THRESHOLDS)
        cpu = rows[0][0].get("cpu_seconds", 0.0)
        print(f"{time.strftime('%H:%M:%S')} seed {key[0]} {key[1]} {key[2]}: {shares}; {cpu:.0f} CPU-s", flush=True)

    def summarise(self) -> dict[str, Any]:
        """Measure each iteration, and the seeds pooled."""
        per: list[dict[str, Any]] = []
        counts: dict[tuple[str, int], list[tuple[int, int]]] = {}
        for seed in self.options.seeds:
            for arm in self.options.arms:
                known = list(self.ruler.examples)
                for iteration in range(1, self.options.iterations + 1):
                    rows = self.done[self.key(seed, arm, iteration)]
                    good = [e for _, e in rows if e is not None]
                    unique, fresh = len(distinct(good, [])), distinct(good, known)
                    known += fresh
                    counts.setdefault((arm, iteration), []).append((unique, len(fresh)))
                    per.append({"seed": seed, "arm": arm, "iteration": iteration} | measure(rows, unique, len(fresh)))
        pooled = []
        for (arm, iteration), numbers in counts.items():
            rows = [r for seed in self.options.seeds for r in self.done[self.key(seed, arm, iteration)]]
            pooled.append(
                {"arm": arm, "iteration": iteration} | measure(rows, sum(u for u, _ in numbers), sum(f for _, f in numbers))
            )
        return {"per_seed": per, "pooled": pooled, "shifts": self.shifts(), "aims": aims(pooled)}

    def shifts(self) -> list[dict[str, Any]]:
        """The fit against each other arm, seeds pooled, for the iterations that a fit came before."""
        o = self.options
        found = []
        for other in [a for a in o.arms if a != "fit" and "fit" in o.arms]:
            for iteration in range(2, o.iterations + 1):
                energies = {
                    arm: np.concatenate([self.energies(self.key(seed, arm, iteration)) for seed in o.seeds])
                    for arm in ("fit", other)
                }
                found.append({"against": other, "iteration": iteration} | shift(energies["fit"], energies[other]))
        return found

    def energies(self, key: tuple[int, str, int]) -> np.ndarray:
        """E_hull of an iteration's relaxations, +inf for failures, eV/atom."""
        return np.array([e.energy_above_hull if e is not None else np.inf for _, e in self.done[key]])


def aims(pooled: list[dict[str, Any]]) -> dict[str, Any]:
    """The last fitted iteration against plain PyXtal measured here and against its earlier baseline."""
    last = max((p for p in pooled if p["arm"] == "fit"), key=lambda p: p["iteration"], default=None)
    if last is None:
        return {}
    plain = [p for p in pooled if p["arm"] == "pyxtal"]
    found: dict[str, Any] = {
        "iteration": last["iteration"],
        "unique_fraction": last["unique_fraction"],
        "unique_aim": UNIQUE_AIM,
        "unique_reached": last["unique_fraction"] >= UNIQUE_AIM,
    }
    for limit, factor, baseline in AIMS:
        share = last[f"within_{limit}"]["share"]
        hits, n = sum(p[f"within_{limit}"]["hits"] for p in plain), sum(p["relaxations"] for p in plain)
        found[f"within_{limit}"] = {
            "share": share,
            "aim_factor": factor,
            "over_earlier_baseline": share / baseline,
            "reached_over_earlier_baseline": share >= factor * baseline,
            "over_pyxtal_here": share * n / hits if hits else None,
            "reached_over_pyxtal_here": share * n >= factor * hits if n else None,
        }
    return found


def shift(fitted: np.ndarray, other: np.ndarray) -> dict[str, Any]:
    """How far the fit moves E_hull: differences fit minus other with 95 % bootstrap intervals (failures are +inf)."""
    rng = np.random.default_rng(1)
    a = np.sort(fitted[rng.integers(len(fitted), size=(2000, len(fitted)))], axis=1)
    b = np.sort(other[rng.integers(len(other), size=(2000, len(other)))], axis=1)
    medians = a[:, a.shape[1] // 2] - b[:, b.shape[1] // 2]
    shares = (a <= 0.1).mean(axis=1) - (b <= 0.1).mean(axis=1)
    return {
        "median_difference": float(np.sort(fitted)[len(fitted) // 2] - np.sort(other)[len(other) // 2]),
        "median_difference_95": [float(x) for x in np.quantile(medians, [0.025, 0.975])],
        "within_0.1_difference": float((fitted <= 0.1).mean() - (other <= 0.1).mean()),
        "within_0.1_difference_95": [float(x) for x in np.quantile(shares, [0.025, 0.975])],
    }


def print_table(summary: dict[str, Any]) -> None:
    """Seeds pooled, one line per arm and iteration."""
    shares = " ".join(f"{'<= ' + str(t):>22}" for t in THRESHOLDS)
    print(f"{'arm':8} {'it':>2} {'n':>5} {'conv':>5} {'median':>7} {shares} {'unique':>7} {'new':>5}")
    for p in summary["pooled"]:
        median = p["e_hull_quantiles"]["0.5"]
        cells = []
        for t in THRESHOLDS:
            low, high = p[f"within_{t}"]["interval_95"]
            cells.append(f"{p[f'within_{t}']['share']:7.3f} [{low:.3f}, {high:.3f}]")
        row = f"{p['arm']:8} {p['iteration']:2d} {p['relaxations']:5d} {p['converged']:5d} "
        row += f"{median if median is not None else float('inf'):7.3f} " + " ".join(cells)
        print(f"{row} {p['unique_fraction']:7.3f} {p['new']:5d}")
    print(json.dumps({"aims": summary["aims"], "shifts": summary["shifts"]}, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--n", type=int, default=200, help="relaxations per arm and iteration")
    parser.add_argument("--iterations", type=int, default=3)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--mode", choices=("five", "open"), default="five", help="the five formulas, or the open system")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--work", type=Path, default=Path("generator-fit-work"), help="where finished iterations are kept")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "generator_fit.json")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    campaign = Campaign(options)
    campaign.run()
    summary = campaign.summarise()
    cpu = [r[0][0].get("cpu_seconds", 0.0) for r in campaign.done.values()]
    document = {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": {"processes": options.workers, "cores": os.cpu_count(), "architecture": platform.machine()},
        "versions": {
            p: version(p) for p in ("coevo", "chgnet", "torch", "numpy", "pymatgen", "pyxtal", "ase", "ase-ga", "spglib")
        },
        "settings": {
            "mode": options.mode,
            "n": options.n,
            "seeds": options.seeds,
            "iterations": options.iterations,
            "max_atoms": MAX_ATOMS,
            "fmax": FMAX,
            "max_steps": STEPS,
            "optimiser": OPTIMISER,
            "batch_size": BATCH,
            "compositions": FIVE if options.mode == "five" else (),
            "chemical_systems": SYSTEMS,
        },
        "method": __doc__,
        "references": len(campaign.ruler.examples),
        "relaxer": min(campaign.relaxers),
        "cpu_seconds": sum(cpu),
    } | summary
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(document, indent=1) + "\n")
    print_table(summary)


if __name__ == "__main__":
    main()
