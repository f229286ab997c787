"""Crystals to measure curation on: drawn by coevo's own generator and relaxed by its screening, as a node's candidates are.

The first 500 draws are those of a new node's generator. It is then fitted on what they relaxed to, as after the first iteration
of a node, and draws the rest: variations of good parents, and with them the near duplicates that make curation hard. The first
``--relaxed`` draws are relaxed by CHGNet (fmax 0.1 eV/Å, at most 150 steps; 0.5 CPU seconds each); what a larger set needs beyond
is taken as drawn, because 70,000 relaxations take ten hours: 10,000 draws of the fitted generator (0.1 CPU seconds each), and
then draws of the first one (0.01).

Chunks are kept in the working directory, each with a seed of its own, so that a stopped run goes on where it was, and the set is
the same on any number of processes.

    python benchmarks/workloads/curation_pool.py --relaxed 2000 --drawn 70000 --work DIR
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymatgen.core import Structure

    from coevo.models.contracts import Conditions, Example
    from coevo.models.random_crystals.generator import EmbeddedGenerator

ELEMENTS = ("Li", "P", "S")
SYSTEMS = {"Li-P-S": 0.75, "Li-S": 0.1, "Li-P": 0.08, "P-S": 0.07}
"""Weights of the chemical systems asked for: three quarters ternaries, as in the presets."""
MAX_ATOMS = 16
FIRST = 10
"""Relaxed chunks of the generator of a new node, before its fit."""
FITTED = 10
"""Chunks that are not relaxed of the fitted generator."""
RELAXED_CHUNK = 50
DRAWN_CHUNK = 1000


@dataclass(frozen=True)
class Crystal:
    """A crystal of the set.

    Attributes
    ----------
    id : str
    structure : Structure
    energy_per_atom : float
        eV/atom by CHGNet; NaN where it was not relaxed.
    """

    id: str
    structure: Structure
    energy_per_atom: float


def conditions() -> Conditions:
    """What the generator is asked for."""
    from coevo.models.contracts import Conditions

    return Conditions(ELEMENTS, max_atoms=MAX_ATOMS, chemical_systems=SYSTEMS)


def generator(work: Path, *, fitted: bool) -> EmbeddedGenerator:
    """Generator of a new node, or the one fitted on the first chunks (made once, kept in the working directory)."""
    from coevo.configs.tree import GeneratorConfig
    from coevo.models.random_crystals.generator import EmbeddedGenerator

    initial = EmbeddedGenerator.initial(GeneratorConfig())
    if not fitted:
        return initial
    path = work / "generator.json"
    if not path.exists():
        after, _ = initial.fit(examples(work), 0)
        after.save(path.with_suffix(".partial"))
        path.with_suffix(".partial").rename(path)
    return EmbeddedGenerator.load(path)


def examples(work: Path) -> list[Example]:
    """References and distinct crystals of the first chunks, with their energies above hull."""
    from coevo.analysis.comparison.matching import Matching
    from coevo.analysis.comparison.uniqueness import Item, find_representatives
    from coevo.analysis.composition import fractions
    from coevo.analysis.hull.hull import Hull
    from coevo.configs.references import load_references
    from coevo.models.chgnet.force_field import ChgnetForceField
    from coevo.models.contracts import Example, Prediction

    references = load_references("li-p-s", ELEMENTS)
    predictions = ChgnetForceField.published("0.3.0").evaluate([r.structure for r in references])
    known = [
        Item(f"reference-{k}", r.structure, p.energy)
        for k, (r, p) in enumerate(zip(references, predictions, strict=True))
        if isinstance(p, Prediction)
    ]
    drawn = [Item(c.id, c.structure, c.energy_per_atom) for chunk in range(FIRST) for c in read(work, f"relaxed-{chunk:03d}")]
    groups = find_representatives(drawn, known, Matching())
    items = known + [item for item in drawn if groups[item.id] == item.id]
    x, energies = fractions([item.structure for item in items], ELEMENTS), [item.energy_per_atom for item in items]
    above = Hull.from_points(ELEMENTS, x, energies).energy_above_hull(x, energies)
    return [Example(item.id, item.structure, float(value)) for item, value in zip(items, above, strict=True)]


def relax_chunk(work: Path, chunk: int) -> int:
    """Draw and relax one chunk; crystals that relaxed."""
    path = work / f"relaxed-{chunk:03d}.json.gz"
    if path.exists():
        return 0
    import torch

    from coevo.models.chgnet.force_field import ChgnetForceField
    from coevo.models.contracts import Relaxation, RelaxationSettings

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    sample = generator(work, fitted=chunk >= FIRST).sample(RELAXED_CHUNK, conditions(), chunk)
    settings = RelaxationSettings(fmax=0.1, max_steps=150, batch_size=16)
    results = ChgnetForceField.published("0.3.0").relax([c.structure for c in sample.candidates], settings, workers=1)
    return write(path, [_row(r.structure, r.prediction.energy) for r in results if isinstance(r, Relaxation)])


def draw_chunk(work: Path, chunk: int) -> int:
    """Draw one chunk that is not relaxed."""
    path = work / f"drawn-{chunk:03d}.json.gz"
    if path.exists():
        return 0
    warnings.simplefilter("ignore")
    sample = generator(work, fitted=chunk < FITTED).sample(DRAWN_CHUNK, conditions(), 1_000_000 + chunk)
    return write(path, [_row(c.structure, None) for c in sample.candidates])


def _row(structure: Structure, energy: float | None) -> dict[str, Any]:
    return {"energy_per_atom": energy, "structure": structure.as_dict()}


def write(path: Path, rows: list[dict[str, Any]]) -> int:
    """Write a chunk; a killed run leaves none that is half written."""
    partial_path = path.with_name(f"{path.name}.{os.getpid()}")
    partial_path.write_bytes(gzip.compress(json.dumps(rows).encode(), compresslevel=1))
    partial_path.rename(path)
    return len(rows)


def read(work: Path, chunk: str) -> Iterator[Crystal]:
    """Crystals of a chunk."""
    from pymatgen.core import Structure

    for k, row in enumerate(json.loads(gzip.decompress((work / f"{chunk}.json.gz").read_bytes()))):
        energy = row["energy_per_atom"]
        yield Crystal(f"{chunk}-{k:04d}", Structure.from_dict(row["structure"]), float("nan") if energy is None else energy)


def crystals(work: Path, n: int) -> list[Crystal]:
    """First ``n`` crystals: relaxed ones as long as there are any, then drawn ones."""
    found: list[Crystal] = []
    for path in [*sorted(work.glob("relaxed-*.json.gz")), *sorted(work.glob("drawn-*.json.gz"))]:
        found += list(read(work, path.name.removesuffix(".json.gz")))[: n - len(found)]
        if len(found) == n:
            return found
    raise SystemExit(f"{work} holds {len(found)} crystals, {n} are needed; make more with benchmarks/workloads/curation_pool.py")


def build(work: Path, relaxed: int, drawn: int, processes: int) -> None:
    """Make what is missing."""
    work.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        list(pool.map(partial(relax_chunk, work), range(min(FIRST, -(-relaxed // RELAXED_CHUNK)))))
        generator(work, fitted=True)
        chunks = range(FIRST, -(-relaxed // RELAXED_CHUNK))
        for chunk, count in zip(chunks, pool.map(partial(relax_chunk, work), chunks), strict=True):
            print(f"relaxed chunk {chunk}: {count}", flush=True)
        for chunk, count in enumerate(pool.map(partial(draw_chunk, work), range(-(-drawn // DRAWN_CHUNK)))):
            print(f"drawn chunk {chunk}: {count}", flush=True)


def main() -> None:
    """Make the set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--relaxed", type=int, default=2000, help="draws that are relaxed (default 2000)")
    parser.add_argument("--drawn", type=int, default=70000, help="further draws that are not (default 70000)")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--work", type=Path, required=True, help="working directory")
    options = parser.parse_args()
    build(options.work, options.relaxed, options.drawn, options.processes)


if __name__ == "__main__":
    main()
