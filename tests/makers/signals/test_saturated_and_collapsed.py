"""Two synthetic nodes through the real measures: one that has seen what there is, and one whose generator repeats itself.

Both have flat energies, a flat entropy and flat errors; only the first is mature.
"""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from coevo.analysis.comparison.matching import Matching
from coevo.analysis.signals.maturity import maturity
from coevo.configs.tree import MaturityConfig, NodeSection
from coevo.makers.populations.population import Member, hull_of
from coevo.makers.signals.measures import environment_metrics, ruler_rows, summaries
from coevo.node_store.canonical import structure_document

pytestmark = pytest.mark.long
ELEMENTS = ("Li", "P", "S")
ITERATIONS = 5
NODE = NodeSection(name="synthetic", elements=ELEMENTS, references="li-p-s")
CONFIG = MaturityConfig(environments=60, subsamples=10, ruler_size=32, patience=2)
MOTIFS = {
    "rocksalt": ([[0, 0, 0], [0.5, 0.5, 0.5]], 1.0),
    "zincblende": ([[0, 0, 0], [0.25, 0.25, 0.25]], 1.1),
    "nickel arsenide": ([[0, 0, 0], [0.25, 0.25, 0.5]], 1.05),
    "fluorite": ([[0, 0, 0], [0.25, 0.25, 0.25], [0.75, 0.75, 0.75]], 1.15),
}


def population() -> list[Structure]:
    """All crystals that this world has: four structure types of six pairs of elements, and a ternary of each."""
    found = []
    for (a, b), (basis, scale) in product(
        [("Li", "S"), ("Li", "P"), ("P", "S"), ("S", "Li"), ("P", "Li"), ("S", "P")], MOTIFS.values()
    ):
        lattice = Lattice.from_parameters(3.6 * scale, 3.6 * scale, 3.6 * scale, 60, 60, 60)
        found.append(Structure(lattice, [a, b, b][: len(basis)], basis))
        supercell = found[-1] * (2, 1, 1)
        third = next(symbol for symbol in ELEMENTS if symbol not in (a, b))
        supercell.replace(0, third)
        found.append(supercell)
    return found


def energy(index: int) -> float:
    """eV/atom above the hull's corner, spread evenly and fixed for each crystal."""
    return 0.002 * index


def elemental_references() -> list[Member]:
    cells = [Structure(Lattice.cubic(3.0), [symbol], [[0, 0, 0]]) for symbol in ELEMENTS]
    return [Member(f"ref-{i}", cell, 0.0, {"kind": "reference"}) for i, cell in enumerate(cells)]


def node(draw) -> list[dict]:
    """History of metrics of a node whose candidates of iteration i are ``draw(i)``, as numbers of the population's crystals."""
    crystals, references = population(), elemental_references()
    hull = hull_of(ELEMENTS, [(m.structure, m.energy_per_atom) for m in references])
    since: dict[int, int] = {}
    samples: list[Member] = []
    history = []
    for iteration in range(1, ITERATIONS + 1):
        for number, index in enumerate(draw(iteration)):
            is_new = index not in since
            since.setdefault(index, iteration)
            record = {"since": iteration, "is_unique": is_new, "is_novel": is_new}
            samples.append(Member(f"{iteration}-{number:02d}", crystals[index], energy(index), record))
        documents = [{"structure_id": m.id, "kind": "reference", "iteration_added": 0} for m in references]
        documents += [
            {"structure_id": f"{i:03d}", "kind": "entry", "iteration_added": first, "duplicate_of": None}
            for i, first in since.items()
        ]
        geometries = {m.id: structure_document(m.structure) for m in references}
        geometries |= {f"{i:03d}": structure_document(crystals[i]) for i in since}
        measured = environment_metrics(documents, geometries, NODE, CONFIG, iteration, workers=1)
        error = 20.0 + 60.0 * np.exp(-2.0 * iteration)
        history.append(
            {
                **measured,
                "environment_entropy": measured["entropy"]["mean"] if measured["entropy"] else None,
                "energy_rmse_mev_per_atom": error,
                "force_rmse_mev_per_angstrom": 5 * error,
                "force_field": {"frames": {"train": 400, "validation": 80, "test": 80}},
            }
        )
    # only the last state's ruler is looked at: it has the samples of all iterations
    history[-1]["ruler"] = summaries(ruler_rows(samples, hull, ELEMENTS, Matching(), 0.1, 1))
    return history


@pytest.fixture(scope="module")
def saturated() -> list[dict]:
    """Every iteration draws from all there is, and after the second nothing is left to be found."""
    rng = np.random.default_rng(3)
    size = len(population())
    return node(lambda iteration: range(size) if iteration == 1 else rng.permutation(size)[:40])


@pytest.fixture(scope="module")
def collapsed() -> list[dict]:
    """Like the other one for two iterations; then the same three crystals again and again."""
    rng = np.random.default_rng(3)
    size = len(population())
    few = [20, 24, 28]
    return node(lambda iteration: range(size) if iteration == 1 else rng.permutation(size)[:40] if iteration == 2 else few * 13)


def test_both_have_flat_signals(saturated, collapsed) -> None:
    for history in (saturated, collapsed):
        found = {signal.name: signal.status for signal in maturity(history, CONFIG).signals}
        assert found["environments"] == "flat"
        assert found["force field"] == "flat"
    assert {signal.name: signal.status for signal in maturity(collapsed, CONFIG).signals}["energy above hull"] == "flat"
    assert saturated[-1]["new_environments"] is None, "no entry is new"


def test_only_the_saturated_one_is_mature(saturated, collapsed) -> None:
    assert maturity(saturated, CONFIG).mature, maturity(saturated, CONFIG).reason
    found = maturity(collapsed, CONFIG)
    assert not found.mature
    diversity = found.signals[3]
    assert (diversity.status, diversity.cause) == ("shrinking", "collapse")
    assert diversity.reason.startswith("mode collapse: distinct structures 3 of 39 candidates (iteration 5)")


def test_random_environments_are_no_saturation(saturated) -> None:
    """A node of ever different crystals has its entropy at the ceiling in each iteration: flat, and no signal."""
    rng = np.random.default_rng(0)
    crystals = [Structure(Lattice.cubic(8.0), ["Li"] * 4 + ["P"] * 4 + ["S"] * 4, rng.random((12, 3))) for _ in range(30)]
    documents = [{"structure_id": str(i), "kind": "entry", "iteration_added": 1, "duplicate_of": None} for i in range(30)]
    geometries = {str(i): structure_document(crystal) for i, crystal in enumerate(crystals)}
    measured = environment_metrics(documents, geometries, NODE, CONFIG, 1, workers=1)
    assert measured["entropy"]["mean"] > measured["entropy"]["ln_n"] - 0.05
    last = {**saturated[-1], "environment_entropy": measured["entropy"]["mean"]}
    found = maturity([last, last, last], CONFIG)
    assert not found.mature
    assert found.signals[1].cause == "ceiling"


def test_a_small_ruler_is_too_noisy_to_tell(saturated) -> None:
    strict = CONFIG.model_copy(update={"e_hull_tolerance": 1e-4})
    assert maturity(saturated, strict).signals[0].cause == "noise"
