"""What a node of Li–P–S would hand its generator, and how its candidates are judged: made here, the same on each run.

Examples are small known phases, rattled and strained copies of these, and draws of the embedded generator that CHGNet relaxed.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.analysis.comparison.matching import Matching
from coevo.analysis.comparison.uniqueness import Item, find_representatives, match_references
from coevo.analysis.hull.hull import Hull
from coevo.analysis.sanity import check_structure
from coevo.configs.tree import GeneratorConfig, ScreeningConfig
from coevo.models.contracts import Conditions, Example, Prediction, Relaxation, RelaxationSettings
from coevo.node_store.canonical import structure_document, structure_from_document, structure_id
from local_run import cpu_seconds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pymatgen.core import Structure

ELEMENTS = ("Li", "P", "S")
SYSTEMS = {"Li-P-S": 0.6, "Li-S": 0.2, "Li-P": 0.2}
MAX_ATOMS = 10
FIT_MAX_E_HULL = 0.3
"""eV/atom: the default of ``generator.fit_max_e_hull``; examples above are not made."""
STABLE = 0.1
"""eV/atom above the hull of the references: the default of ``curation.stable_threshold``."""
STEPS = 100
"""Relaxation steps of a candidate, at most; half of what a node allows by default."""
COPIES = 6
"""Rattled and strained copies of each small reference."""
RATTLE, STRAIN = 0.04, 0.015
"""Standard deviations: of a coordinate, Å, and of a component of the strain."""


def conditions() -> Conditions:
    """What every family is asked for."""
    return Conditions(ELEMENTS, max_atoms=MAX_ATOMS, chemical_systems=SYSTEMS)


def fractions(structure: Structure) -> list[float]:
    """Atomic fractions in the order of the elements."""
    return [structure.composition.get_atomic_fraction(e) for e in ELEMENTS]


@dataclass(frozen=True)
class Judged:
    """What became of candidates.

    Attributes
    ----------
    counts : dict
        Numbers of candidates: ``valid``, ``unique``, ``relaxed``, ``within``, ``distinct_within``, ``new_within``; and
        ``invalid`` and ``not_relaxed``, reason to count.
    energies : list of float
        E_hull of the relaxed ones, eV/atom.
    """

    counts: dict[str, Any]
    energies: list[float]


class SmallNode:
    """CHGNet 0.3.0, the hull of the bundled references by it, and the examples.

    Parameters
    ----------
    draws : int
        Candidates of the embedded generator of which the examples are made.
    kept : Path
        File in which the examples are kept; made if it is not there.
    """

    def __init__(self, draws: int, kept: Path) -> None:
        from coevo.configs.references import load_references
        from coevo.models.chgnet.force_field import ChgnetForceField

        self.force_field = ChgnetForceField.published("0.3.0")
        self.references = [r.structure for r in load_references("li-p-s", ELEMENTS)]
        energies = [p.energy for p in self.force_field.evaluate(self.references) if isinstance(p, Prediction)]
        self.hull = Hull.from_points(ELEMENTS, [fractions(s) for s in self.references], energies)
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            before = cpu_seconds()
            made = [
                {"structure": structure_document(e.structure), "energy_above_hull": e.energy_above_hull}
                for e in [*self._near_references(), *self._relaxed_draws(draws)]
            ]
            partial = kept.with_suffix(".partial")
            partial.write_text(json.dumps({"cpu_seconds": round(cpu_seconds() - before, 1), "examples": made}))
            partial.rename(kept)
        document = json.loads(kept.read_text())
        self.made_in = document["cpu_seconds"]
        rows = [(structure_from_document(r["structure"]), r["energy_above_hull"]) for r in document["examples"]]
        found = {structure_id(s): Example(structure_id(s), s, energy) for s, energy in rows}
        self.examples = [found[key] for key in sorted(found)]
        self.digest = hashlib.sha256("\n".join(e.id for e in self.examples).encode()).hexdigest()[:12]

    def _above_hull(self, structures: Sequence[Structure], energies: Sequence[float]) -> list[float]:
        if not structures:
            return []
        return [float(e) for e in self.hull.energy_above_hull([fractions(s) for s in structures], list(energies))]

    def _near_references(self) -> list[Example]:
        """References that are small enough, and copies of them off their minima."""
        rng = np.random.default_rng(7)
        structures = []
        for reference in self.references:
            if len(reference) > MAX_ATOMS:
                continue
            structures.append(reference)
            for _ in range(COPIES):
                strain = rng.normal(0.0, STRAIN, (3, 3))
                copy = reference.copy()
                copy.lattice = type(copy.lattice)(copy.lattice.matrix @ (np.eye(3) + (strain + strain.T) / 2))
                for k in range(len(copy)):
                    copy.translate_sites([k], rng.normal(0.0, RATTLE, 3), frac_coords=False)
                structures.append(copy)
        judged = [(s, p) for s, p in zip(structures, self.force_field.evaluate(structures), strict=True)]
        known = [(s, p.energy) for s, p in judged if isinstance(p, Prediction)]
        energies = self._above_hull([s for s, _ in known], [e for _, e in known])
        return [Example("", s, e) for (s, _), e in zip(known, energies, strict=True) if e <= FIT_MAX_E_HULL]

    def _relaxed_draws(self, draws: int) -> list[Example]:
        from coevo.models.random_crystals.generator import EmbeddedGenerator

        drawn = EmbeddedGenerator.initial(GeneratorConfig()).sample(draws, conditions(), 0).candidates
        relaxed = self._relaxed([c.structure for c in drawn], Counter())
        return [Example("", r.structure, e) for r, e in relaxed if e <= FIT_MAX_E_HULL]

    def _reason_against(self, structure: Structure) -> str | None:
        """Of the geometric checks of screening, with the defaults of a node."""
        limits = ScreeningConfig()
        return check_structure(
            structure,
            ELEMENTS,
            min_distance=limits.min_distance,
            min_volume_per_atom=limits.min_volume_per_atom,
            max_volume_per_atom=limits.max_volume_per_atom,
            max_length_ratio=limits.max_length_ratio,
        )

    def _relaxed(self, structures: Sequence[Structure], failed: Counter[str]) -> list[tuple[Relaxation, float]]:
        """Those that relax and pass the checks again, with their E_hull."""
        found = []
        settings = RelaxationSettings(fmax=ScreeningConfig().fmax, max_steps=STEPS, batch_size=16)
        for result in self.force_field.relax(list(structures), settings):
            if isinstance(result, Relaxation):
                reason = self._reason_against(result.structure)
                if reason is None:
                    found.append(result)
                    continue
            else:
                reason = result.reason
            failed[reason] += 1
        energies = self._above_hull([r.structure for r in found], [r.prediction.energy for r in found])
        return list(zip(found, energies, strict=True))

    def judge(self, structures: Sequence[Structure]) -> Judged:
        """Check, relax and compare candidates."""
        invalid: Counter[str] = Counter()
        valid = []
        for structure in structures:
            reason = self._reason_against(structure)
            if reason is None:
                valid.append(structure)
            else:
                invalid[reason] += 1
        failed: Counter[str] = Counter()
        relaxed = self._relaxed(valid, failed)
        low = [Item(f"{k:04d}", r.structure, r.prediction.energy) for k, (r, e) in enumerate(relaxed) if e <= STABLE]
        distinct = [i for i in low if find_representatives(low, [], Matching())[i.id] == i.id]
        known = [Item(e.id, e.structure, 0.0) for e in self.examples]
        known += [Item(f"reference-{k}", s, 0.0) for k, s in enumerate(self.references)]
        matched = match_references(distinct, known, Matching())
        drawn = [Item(f"{k:04d}", s, 0.0) for k, s in enumerate(valid)]
        counts = {
            "valid": len(valid),
            "invalid": dict(sorted(invalid.items())),
            "unique": len(set(find_representatives(drawn, [], Matching()).values())),
            "relaxed": len(relaxed),
            "not_relaxed": dict(sorted(failed.items())),
            "within": len(low),
            "distinct_within": len(distinct),
            "new_within": sum(found is None for found in matched.values()),
        }
        return Judged(counts, [energy for _, energy in relaxed])
