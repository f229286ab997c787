"""Screening speed: coevo's batched CHGNet relaxation against ASE's FIRE with the stock CHGNet calculator.

All arms relax the same random symmetric crystals of Li–P–S (pyxtal, at most 16 atoms) with the same convergence criterion, in one
run and in turns, chunk by chunk, so that a busy machine slows all alike. Times are CPU seconds of the process and its children.

``fire`` takes ASE's own FIRE steps: ``ratio_cpu`` and ``median_abs_dE_meV`` compare it with stock, step for step the same work.
``lbfgs`` is what screening does by default: fewer steps, and lower energies, because it leaves saddles that symmetry made;
``ratio_cpu_default`` and ``median_dE_default_meV`` (signed, over all crystals that both relaxed) are its numbers.

    python benchmarks/screening.py            # 48 crystals, about six minutes of CPU
"""

from __future__ import annotations

import argparse
import contextlib
import datetime as dt
import importlib.metadata
import io
import json
import os
import platform
import resource
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from coevo.models.contracts import Failure, Relaxation

COMPOSITIONS = (
    {"Li": 2, "S": 1},
    {"Li": 3, "P": 1},
    {"Li": 3, "P": 1, "S": 4},
    {"Li": 2, "P": 1, "S": 3},
    {"Li": 1, "P": 1, "S": 3},
)
MAX_ATOMS = 16
FMAX = 0.1
MAX_STEPS = 200
BATCH_SIZE = 16
RESULT = Path(__file__).parent / "results" / "screening.json"


def cpu_seconds() -> float:
    """User and system time of this process and of its finished children."""
    return sum(
        usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def random_crystals(n: int, seed: int, max_atoms: int = MAX_ATOMS) -> list[Structure]:
    """Draw crystals as plain random search does: space group uniform in 2–230, volume factor 0.9–1.3, compositions in turn."""
    from pyxtal import pyxtal
    from pyxtal.msg import Comp_CompatibilityError, VolumeError

    rng = np.random.default_rng(seed)
    crystals: list[Structure] = []
    while len(crystals) < n:
        formula = COMPOSITIONS[len(crystals) % len(COMPOSITIONS)]
        units = int(rng.integers(1, max_atoms // sum(formula.values()) + 1))
        group, factor, state = int(rng.integers(2, 231)), float(rng.uniform(0.9, 1.3)), int(rng.integers(2**31))
        crystal = pyxtal()
        try:
            counts = [units * count for count in formula.values()]
            crystal.from_random(3, group, list(formula), counts, factor=factor, random_state=state)
        except (Comp_CompatibilityError, VolumeError):  # the group cannot hold this composition
            continue
        if crystal.valid and len(structure := crystal.to_pymatgen()) <= max_atoms:
            crystals.append(structure)
    return crystals


@dataclass
class Arm:
    """One way to relax: its CPU time and, per crystal, energy (eV/atom), structure and whether it converged."""

    seconds: float = 0.0
    steps: int = 0
    energies: list[float] = field(default_factory=list)
    structures: list[Structure | None] = field(default_factory=list)

    def add(self, structure: Structure | None, energy: float, steps: int) -> None:
        """Note one crystal; it has no structure if it did not converge."""
        self.structures.append(structure)
        self.energies.append(energy)
        self.steps += steps

    @property
    def converged(self) -> int:
        """Crystals that were relaxed."""
        return sum(structure is not None for structure in self.structures)


def run_coevo(
    arm: Arm, force_field: Any, crystals: list[Structure], optimiser: str, fmax: float = FMAX, max_steps: int = MAX_STEPS
) -> None:
    """Relax with coevo, in this process."""
    from coevo.models.contracts import Failure, RelaxationSettings

    settings = RelaxationSettings(fmax=fmax, max_steps=max_steps, batch_size=BATCH_SIZE, optimiser=optimiser)
    start = cpu_seconds()
    results: list[Relaxation | Failure] = force_field.relax(crystals, settings)
    arm.seconds += cpu_seconds() - start
    for result in results:
        if isinstance(result, Failure):
            arm.add(None, np.nan, max_steps)
        else:
            arm.add(result.structure, result.prediction.energy, result.steps)


def run_stock(arm: Arm, calculator: Any, crystals: list[Structure]) -> None:
    """Relax with ASE's FIRE and FrechetCellFilter on the stock calculator, one crystal after the other."""
    from ase.filters import FrechetCellFilter
    from ase.optimize import FIRE
    from pymatgen.io.ase import AseAtomsAdaptor

    for crystal in crystals:
        start = cpu_seconds()
        atoms = AseAtomsAdaptor.get_atoms(crystal)
        atoms.calc = calculator
        optimiser = FIRE(FrechetCellFilter(atoms), logfile=None)
        converged = bool(optimiser.run(fmax=FMAX, steps=MAX_STEPS))
        arm.seconds += cpu_seconds() - start
        energy = float(atoms.get_potential_energy()) / len(atoms)
        arm.add(AseAtomsAdaptor.get_structure(atoms) if converged else None, energy, optimiser.nsteps)


def compare(ours: Arm, stock: Arm) -> dict[str, Any]:
    """Compare energies: of crystals that both arms relaxed, and of those that both relaxed to the same structure."""
    from pymatgen.analysis.structure_matcher import StructureMatcher

    matcher = StructureMatcher(ltol=0.2, stol=0.3, angle_tol=5)
    both, same = [], []
    for k, (mine, theirs) in enumerate(zip(ours.structures, stock.structures, strict=True)):
        if mine is not None and theirs is not None:
            both.append(k)
            if matcher.fit(mine, theirs):
                same.append(k)
    gaps = 1e3 * (np.array(ours.energies) - np.array(stock.energies))
    equal = np.abs(gaps[same]) if same else np.array([np.nan])
    return {
        "n_both_converged": len(both),
        "n_same_structure": len(same),
        "median_abs_dE_meV": round(float(np.median(equal)), 5),
        "p90_abs_dE_meV": round(float(np.quantile(equal, 0.9)), 3),
        "n_lower_by_1_meV": int((gaps[both] < -1.0).sum()),
        "n_higher_by_1_meV": int((gaps[both] > 1.0).sum()),
        "median_dE_all_meV": round(float(np.median(gaps[both])), 3),
        "mean_dE_all_meV": round(float(np.mean(gaps[both])), 3),
    }


def arm_report(arm: Arm) -> dict[str, Any]:
    """What one arm did."""
    return {
        "cpu_seconds": round(arm.seconds, 3),
        "converged": arm.converged,
        "steps": arm.steps,
        "structures_per_cpu_second": round(len(arm.structures) / arm.seconds, 4),
        "relaxed_per_cpu_second": round(arm.converged / arm.seconds, 4),
        "cpu_ms_per_step": round(1e3 * arm.seconds / max(arm.steps, 1), 3),
    }


def print_table(report: dict[str, Any]) -> None:
    """Show the arms side by side."""
    arms = report["arms"]
    print(f"\n{'':38}" + "".join(f"{name:>14}" for name in arms))
    rows = {
        "cpu_seconds": "CPU seconds",
        "converged": "relaxed",
        "steps": "steps",
        "cpu_ms_per_step": "CPU ms per step",
        "relaxed_per_cpu_second": "relaxed per CPU second",
        "ratio_cpu": "CPU seconds of stock over these",
        "n_same_structure": "same structure as stock",
        "median_abs_dE_meV": "  median |dE| of those, meV/atom",
        "n_lower_by_1_meV": "lower than stock by > 1 meV/atom",
        "n_higher_by_1_meV": "higher than stock by > 1 meV/atom",
        "mean_dE_all_meV": "mean dE, meV/atom",
    }
    for key, label in rows.items():
        print(f"{label:38}" + "".join(f"{arm.get(key, ''):>14}" for arm in arms.values()))


def main() -> None:
    """Run the benchmark and write its result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=48, help="crystals (default 48)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    import torch

    torch.set_num_threads(1)
    from chgnet.model.dynamics import CHGNetCalculator

    from coevo.models.chgnet.force_field import ChgnetForceField

    force_field = ChgnetForceField.published("0.3.0")
    with contextlib.redirect_stdout(io.StringIO()):
        calculator = CHGNetCalculator(use_device="cpu")
    crystals = random_crystals(options.n, options.seed)
    warm_up = crystals[:1]
    force_field.evaluate(warm_up)
    calculator.model.predict_structure(warm_up[0], task="efs")
    arms = {"fire": Arm(), "lbfgs": Arm(), "stock": Arm()}
    for start in range(0, len(crystals), BATCH_SIZE):
        chunk = crystals[start : start + BATCH_SIZE]
        for optimiser in ("fire", "lbfgs"):
            run_coevo(arms[optimiser], force_field, chunk, optimiser)
        run_stock(arms["stock"], calculator, chunk)
        spent = ", ".join(f"{name} {arm.seconds:.1f} s" for name, arm in arms.items())
        print(f"{start + len(chunk):4d} crystals: {spent} of CPU", flush=True)
    reports = {name: arm_report(arm) for name, arm in arms.items()}
    for name in ("fire", "lbfgs"):
        reports[name]["ratio_cpu"] = round(arms["stock"].seconds / arms[name].seconds, 3)
        reports[name] |= compare(arms[name], arms["stock"])
    report = {
        "benchmark": "screening",
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "n": len(crystals),
        "seed": options.seed,
        "settings": {"weights": "0.3.0", "fmax": FMAX, "max_steps": MAX_STEPS, "batch_size": BATCH_SIZE, "torch_threads": 1},
        "machine": {"cores": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version()},
        "versions": {
            name: importlib.metadata.version(name) for name in ("coevo", "chgnet", "torch", "ase", "numpy", "pymatgen", "pyxtal")
        },
        "ratio_cpu": reports["fire"]["ratio_cpu"],
        "median_abs_dE_meV": reports["fire"]["median_abs_dE_meV"],
        "ratio_cpu_default": reports["lbfgs"]["ratio_cpu"],
        "median_dE_default_meV": reports["lbfgs"]["median_dE_all_meV"],
        "arms": reports,
    }
    print_table(report)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(report, indent=2) + "\n")
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
