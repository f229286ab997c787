"""MatterGen in its own environment: what it costs to make the environment, to train, to fine-tune and to sample on a CPU.

A small model (not the published one) is trained on crystals that coevo generates and relaxes here, fine-tuned once, and sampled
under conditions; what it draws is relaxed by CHGNet. These are no numbers of the published model. Times are CPU seconds of
the process and its children; every task of MatterGen includes the start of its Python, about four of them.

*Drawn*: structures that were denoised, those that replace dropped ones included. *Returned*: within the conditions, with finite
numbers. *Valid*: no atoms closer than 0.5 Å, and relaxed by CHGNet to 0.1 eV/Å within 200 steps.

    coevo env create mattergen
    python benchmarks/mattergen.py            # 200 crystals, 48 samples; about five minutes of CPU
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
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pymatgen.core import Structure

    from coevo.models.contracts import Candidate, Example, Sample

ELEMENTS = ("Li", "P", "S")
SYSTEMS = {"Li-P-S": 0.75, "Li-S": 0.25}
MAX_ATOMS = 8
MODEL = {"weights": "small", "hidden": 48, "blocks": 2, "steps": 50, "guidance_factor": 1.0, "batch_size": 16}
TRAINING = {"learning_rate": 2e-3, "train_batch_size": 16, "patience": 20}
FIT_MAX_E_HULL = 0.5
CLOSEST = 0.5
RESULT = Path(__file__).parent / "results" / "mattergen.json"


class Clock:
    """CPU seconds (with children) and wall seconds of named parts."""

    def __init__(self) -> None:
        self.parts: dict[str, dict[str, float]] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Measure what is done inside."""
        before, begun = os.times(), time.monotonic()
        yield
        after = os.times()
        cpu = sum(after[:4]) - sum(before[:4])
        self.parts[name] = {"cpu_seconds": round(cpu, 1), "wall_seconds": round(time.monotonic() - begun, 1)}
        print(f"{name}: {cpu:.1f} CPU s", flush=True)


class Judge:
    """Relaxes by CHGNet, and measures E_hull against the hull of the bundled references."""

    def __init__(self) -> None:
        from coevo.analysis.hull.hull import Hull
        from coevo.configs.references import load_references
        from coevo.models.chgnet.force_field import ChgnetForceField
        from coevo.models.contracts import Prediction

        self.force_field = ChgnetForceField.published("0.3.0")
        structures = [r.structure for r in load_references("li-p-s", ELEMENTS)]
        energies = [p.energy for p in self.force_field.evaluate(structures) if isinstance(p, Prediction)]
        self.hull = Hull.from_points(ELEMENTS, [self.fractions(s) for s in structures], energies)

    @staticmethod
    def fractions(structure: Structure) -> list[float]:
        """Atomic fractions in the order of the elements."""
        return [structure.composition.get_atomic_fraction(e) for e in ELEMENTS]

    def examples(self, candidates: Sequence[Candidate]) -> list[Example]:
        """Those that relax, with their E_hull (eV/atom); atoms that are too close are no crystal and never relaxed."""
        from coevo.models.contracts import Example, Relaxation, RelaxationSettings

        structures = [c.structure for c in candidates]
        apart = [s for s in structures if s.distance_matrix[np.triu_indices(len(s), 1)].min(initial=9.0) >= CLOSEST]
        found = []
        for k, result in enumerate(self.force_field.relax(apart, RelaxationSettings(fmax=0.1, max_steps=200, batch_size=16))):
            if isinstance(result, Relaxation):
                energy = self.hull.energy_above_hull([self.fractions(result.structure)], [result.prediction.energy])[0]
                found.append(Example(f"crystal-{k:04d}", result.structure, float(energy)))
        return found


def environment_report() -> dict[str, Any]:
    """How the environment was made (its mark) and what is in it."""
    from coevo.models.external.checking import examine_environment
    from coevo.models.external.environment import directory_of, mark_of
    from coevo.models.external.mattergen import MATTERGEN

    mark = mark_of(directory_of("mattergen"))
    examined = examine_environment(MATTERGEN)
    return {
        "packages": len(MATTERGEN.pins()),
        "build_wall_seconds": mark.get("seconds") if mark else None,
        "build_cpu_seconds": mark.get("cpu_seconds") if mark else None,
        "device": examined.device,
        "versions": examined.versions,
    }


def sampled(sample: Sample, asked: int, valid: list[Example]) -> dict[str, Any]:
    """Counts of a sample, and E_hull of what is valid."""
    drawn = len(sample.candidates) + sum(sample.rejected.values())
    energies = np.array([e.energy_above_hull for e in valid])
    return {
        "asked": asked,
        "drawn": drawn,
        "returned": len(sample.candidates),
        "rejected": sample.rejected,
        "valid": len(valid),
        "valid_of_drawn": round(len(valid) / drawn, 4) if drawn else None,
        "e_hull_quantiles": [round(float(q), 4) for q in np.quantile(energies, [0.25, 0.5, 0.75])] if len(valid) else None,
        "within_0.1": int((energies <= 0.1).sum()),
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Crystals, training, fine-tuning, sampling."""
    from coevo.configs.tree import GeneratorConfig
    from coevo.models.contracts import Conditions
    from coevo.models.external.mattergen import MatterGenGenerator
    from coevo.models.random_crystals.generator import EmbeddedGenerator

    def settings(epochs: int) -> GeneratorConfig:
        model: Any = {**MODEL, **TRAINING, "epochs": epochs}
        return GeneratorConfig(family="mattergen", max_atoms=MAX_ATOMS, fit_max_e_hull=FIT_MAX_E_HULL, mattergen=model)

    clock, judge = Clock(), Judge()
    conditions = Conditions(ELEMENTS, max_atoms=MAX_ATOMS, chemical_systems=SYSTEMS)
    with clock.part("crystals"):
        drawn = EmbeddedGenerator.initial(GeneratorConfig()).sample(options.crystals, conditions, options.seed)
        examples = judge.examples(drawn.candidates)
    with clock.part("train"):
        trained, training = MatterGenGenerator.initial(settings(options.epochs)).fit(examples, options.seed)
    trained.settings = settings(options.further_epochs)
    with clock.part("fine_tune"):
        tuned, tuning = trained.fit(examples, options.seed + 1)
    with clock.part("sample"):
        sample = tuned.sample(options.samples, conditions, options.seed)
    with clock.part("relax"):
        valid = judge.examples(sample.candidates)
    fits = {"train": training, "fine_tune": tuning}
    for name, report in fits.items():
        done = report["training"] * report["epochs_run"]
        clock.parts[name]["cpu_seconds_per_example_and_epoch"] = round(clock.parts[name]["cpu_seconds"] / max(done, 1), 5)
    counts = sampled(sample, options.samples, valid)
    clock.parts["sample"]["cpu_seconds_per_draw"] = round(clock.parts["sample"]["cpu_seconds"] / max(counts["drawn"], 1), 3)
    return {"times": clock.parts, "crystals": len(examples), "fits": fits, "sample": counts}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crystals", type=int, default=250, help="candidates of the embedded generator (default 250)")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--further-epochs", type=int, default=5, help="of the fine-tuning")
    parser.add_argument("--samples", type=int, default=48)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=RESULT)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    warnings.simplefilter("ignore")
    import torch

    torch.set_num_threads(1)
    report = {
        "benchmark": "mattergen",
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "method": __doc__,
        "machine": {"cores": os.cpu_count(), "processor": platform.machine(), "python": platform.python_version()},
        "versions": {
            name: importlib.metadata.version(name) for name in ("coevo", "chgnet", "torch", "numpy", "pymatgen", "pyxtal")
        },
        "settings": {
            "model": MODEL | TRAINING,
            "epochs": options.epochs,
            "further_epochs": options.further_epochs,
            "max_atoms": MAX_ATOMS,
            "fit_max_e_hull": FIT_MAX_E_HULL,
            "systems": SYSTEMS,
            "seed": options.seed,
        },
        "environment": environment_report(),
        **measure(options),
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps({key: report[key] for key in ("environment", "times", "sample")}, indent=1))
    print(f"written to {options.output}")


if __name__ == "__main__":
    main()
