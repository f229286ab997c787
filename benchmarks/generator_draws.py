"""What settings of the embedded generator find a phase of one formula: draws of it, relaxed, and compared with known phases.

    python benchmarks/generator_draws.py --draws 56 --settings any special

The generator has learned the bundled references of the system without those of the formula, so it knows units and volumes of
related phases and nothing of these. All draws are of the formula. Each is relaxed by CHGNet 0.3.0 (published weights); one that
fails, or does not converge within the steps, is no hit and has no energy, and is counted.

- hit: pymatgen's StructureMatcher (ltol 0.2, stol 0.3, 5°) finds the relaxed draw to be one of the phases, relaxed alike.
- energies: per atom above the lowest of the relaxed phases; a negative one is below all of them, by this force field.
- CPU seconds: of drawing and of relaxing, in one process.

Results of each setting are kept in the working directory, so that an interrupted run goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymatgen.core import Structure

    from coevo.models.random_crystals.generator import EmbeddedGenerator

SETTINGS: dict[str, dict[str, Any]] = {
    "symmetric": {"unit_fraction": 0.0},
    "any": {"unit_fraction": 1.0},
    "special": {"unit_fraction": 1.0, "unit_sites": "special"},
}
"""Name: keys of ``generator``; none varies parents, so that draws are independent."""

GAMMA = (
    31,
    (7.708, 6.535, 6.136),
    ["Li", "Li", "P", "S", "S", "S"],
    [[0.256, 0.326, 0.002], [0, 0.152, 0.493], [0, 0.821, 0.0], [0.219, 0.669, 0.891], [0, 0.119, 0.887], [0, 0.803, 0.334]],
)
"""γ-Li3PS4, Pmn2_1, 16 atoms: Homma et al., Solid State Ionics 182, 53 (2011); coordinates rounded, and relaxed here."""


def phases_of(formula: str, references: Sequence[Any], paths: Sequence[str]) -> dict[str, Structure]:
    """Phases that are looked for: bundled references of the formula, γ-Li3PS4, and files."""
    from pymatgen.core import Lattice, Structure

    found = {r.name: r.structure for r in references if r.structure.composition.reduced_formula == formula}
    number, lengths, symbols, coords = GAMMA
    gamma = Structure.from_spacegroup(number, Lattice.orthorhombic(*lengths), symbols, coords)
    if gamma.composition.reduced_formula == formula:
        found["gamma-Li3PS4"] = gamma
    return found | {Path(path).stem: Structure.from_file(path) for path in paths}


def fitted(references: Sequence[Any], formula: str, keys: dict[str, Any]) -> EmbeddedGenerator:
    """A generator that has learned the references of other formulas."""
    from coevo.configs.tree import GeneratorConfig
    from coevo.models.contracts import Example
    from coevo.models.random_crystals.generator import EmbeddedGenerator

    others = [
        Example(r.name, r.structure, 0.0, known=True) for r in references if r.structure.composition.reduced_formula != formula
    ]
    generator = EmbeddedGenerator.initial(GeneratorConfig(variation_fraction=0.0, **keys))
    return generator.fit(others, 0)[0] if others else generator


def relaxed(structures: Sequence[Structure], steps: int) -> list[dict[str, Any]]:
    """Relaxed structures with energies, eV/atom; or why there is none."""
    from coevo.models.chgnet.force_field import ChgnetForceField
    from coevo.models.contracts import Failure, RelaxationSettings

    settings = RelaxationSettings(fmax=0.1, max_steps=steps, batch_size=16)
    found: list[dict[str, Any]] = []
    for result in ChgnetForceField.published("0.3.0").relax(structures, settings, workers=1):
        if isinstance(result, Failure):
            found.append({"failure": result.reason})
        else:
            found.append({"structure": result.structure, "energy": float(result.prediction.energy), "steps": int(result.steps)})
    return found


def run(name: str, arguments: argparse.Namespace, references: Sequence[Any], phases: dict[str, Any]) -> dict[str, Any]:
    """Draw and relax with one setting."""
    from pymatgen.analysis.structure_matcher import StructureMatcher
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    from coevo.models.contracts import Conditions

    elements = tuple(sorted({str(s) for p in phases.values() for s in p["structure"].composition.get_el_amt_dict()}))
    started = time.process_time()
    conditions = Conditions(elements, max_atoms=arguments.max_atoms, compositions=(arguments.formula,))
    generator = fitted(references, arguments.formula, SETTINGS[name])
    sample = generator.sample(arguments.draws, conditions, arguments.seed)
    drawing = time.process_time() - started
    groups = Counter(SpacegroupAnalyzer(c.structure, 0.05).get_space_group_symbol() for c in sample.candidates)
    started = time.process_time()
    results = relaxed([c.structure for c in sample.candidates], arguments.steps)
    relaxing = time.process_time() - started
    matcher = StructureMatcher(ltol=0.2, stol=0.3, angle_tol=5.0)
    lowest = min(p["energy"] for p in phases.values())
    hits: Counter[str] = Counter()
    records = []
    for candidate, result in zip(sample.candidates, results, strict=True):
        found = []
        if "structure" in result:
            found = [phase for phase, p in phases.items() if matcher.fit(result["structure"], p["structure"])]
        hits.update(found)
        energy = round(1e3 * (result["energy"] - lowest), 2) if "energy" in result else None
        records.append(candidate.origin | {"atoms": len(candidate.structure), "meV": energy, "phases": found})
    above = np.array(sorted(r["energy"] - lowest for r in results if "energy" in r)) * 1e3
    return {
        "setting": SETTINGS[name],
        "draws": len(results),
        "hits": dict(hits),
        "failures": dict(Counter(r["failure"] for r in results if "failure" in r)),
        "best_meV": float(above[0]) if len(above) else None,
        "median_meV": float(np.median(above)) if len(above) else None,
        "within_30_meV": int((above <= 30.0).sum()),
        "atoms": dict(sorted(Counter(len(c.structure) for c in sample.candidates).items())),
        "groups": dict(groups.most_common(12)),
        "cpu_seconds_drawing": round(drawing, 1),
        "cpu_seconds_relaxing": round(relaxing, 1),
        "records": records,
    }


def main() -> None:
    """Run the settings that have no result yet, and print all."""
    from coevo.configs.references import load_references

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--formula", default="Li3PS4")
    parser.add_argument("--references", default="li-p-s", help="bundled references, and the elements of the system in its name")
    parser.add_argument("--phase", nargs="*", default=[], help="files of further phases that are looked for")
    parser.add_argument("--settings", nargs="+", default=sorted(SETTINGS), choices=sorted(SETTINGS))
    parser.add_argument("--draws", type=int, default=56)
    parser.add_argument("--max-atoms", type=int, default=16)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("generator_draws"))
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    elements = tuple(word.capitalize() for word in arguments.references.split("-"))
    references = load_references(arguments.references, elements)
    wanted = phases_of(arguments.formula, references, arguments.phase)
    if not wanted:
        parser.error(f"no phase of {arguments.formula} is known: give a file with --phase")
    phases = {
        name: result for name, result in zip(wanted, relaxed(list(wanted.values()), 300), strict=True) if "structure" in result
    }
    print({name: round(p["energy"], 4) for name, p in phases.items()})
    for name in arguments.settings:
        path = arguments.work / f"{arguments.formula}-{name}-{arguments.draws}-{arguments.max_atoms}-{arguments.seed}.json"
        if not path.exists():
            path.write_text(json.dumps(run(name, arguments, references, phases), indent=1, ensure_ascii=False) + "\n")
        print(name, {key: value for key, value in json.loads(path.read_text()).items() if key != "records"})


if __name__ == "__main__":
    main()
