"""Distances between crystals by their local environments, against a plain double loop."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from coevo.analysis.environments.descriptors import multicomponent_descriptors_of
from coevo.analysis.environments.nearness import nearest_of

ELEMENTS, K, CUTOFF = ("Li", "P", "S"), 8, 4.0


def rocksalt(anion: str, length: float) -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(length), ["Li", anion], [[0, 0, 0], [0.5, 0.5, 0.5]])


def one_by_one(a: Structure, b: Structure) -> float:
    """The definition, atom by atom."""
    rows = [multicomponent_descriptors_of([s], ELEMENTS, K, CUTOFF, atoms=[np.arange(len(s))]) for s in (a, b)]
    nearest = []
    for site, row in zip(a, rows[0], strict=True):
        found = [np.linalg.norm(row - other) for o, other in zip(b, rows[1], strict=True) if o.specie == site.specie]
        nearest.append(min(found, default=np.inf))
    return float(np.mean(nearest))


def test_distances_are_those_of_the_definition() -> None:
    asked = [rocksalt("S", 5.3).perturb(0.1, seed=1), rocksalt("P", 5.4)]
    sets = [[rocksalt("S", 5.2), rocksalt("P", 5.4)], [rocksalt("S", 5.9).perturb(0.2, seed=2)], []]
    found = nearest_of(asked, sets, ELEMENTS, K, CUTOFF)
    wanted = [[min((one_by_one(a, b) for b in group), default=np.inf) for group in sets] for a in asked]
    assert found == pytest.approx(np.array(wanted), abs=1e-6)
    assert found[1, 0] == pytest.approx(0.0, abs=1e-6)  # the same crystal
    assert np.isinf(found[1, 1])  # no phosphorus there
    assert np.isfinite(found[0, :2]).all()
