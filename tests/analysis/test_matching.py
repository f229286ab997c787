from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from pymatgen.core.structure_matcher import StructureMatcher

from coevo.analysis.matching import ReducedCrystal, Tolerances, fits, reduce_cell


@pytest.mark.parametrize("tolerances", [(0.2, 0.3, 5.0), (0.1, 0.15, 3.0), (0.3, 0.5, 10.0)])
def test_equals_structure_matcher_pair_by_pair(random_crystals, known_phases, tolerances):
    """Crystals of one formula and copies displaced and strained up to and beyond the tolerances, in both orders."""
    rng = np.random.default_rng(7)
    small = [structure for structure in known_phases.values() if len(structure) <= 32]
    reduced = [reduce_cell(structure) for structure in [*random_crystals[:40], *small]]
    for structure in list(reduced):
        copy = structure.copy()
        copy.perturb(float(rng.uniform(0, 0.7)), seed=int(rng.integers(2**31)))
        copy.apply_strain(rng.uniform(-0.15, 0.15, 3))
        reduced.append(copy)
    matcher = StructureMatcher(*tolerances)
    crystals = [ReducedCrystal(structure) for structure in reduced]
    pairs = [(i, j) for i in range(len(reduced)) for j in range(len(reduced)) if reduced[i].composition == reduced[j].composition]
    pairs = [pairs[i] for i in rng.permutation(len(pairs))[:500]] + [(i, i + len(reduced) // 2) for i in range(len(reduced) // 2)]
    expected = [matcher.fit(reduced[i], reduced[j], skip_structure_reduction=True) for i, j in pairs]
    assert [fits(crystals[i], crystals[j], Tolerances(*tolerances)) for i, j in pairs] == expected
    assert 20 < sum(expected) < len(expected) - 20


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), amplitude=st.floats(0.0, 0.6), scale=st.floats(0.5, 2.0))
def test_equals_structure_matcher_on_any_cell(seed, amplitude, scale):
    rng = np.random.default_rng(seed)
    lattice = Lattice.from_parameters(*rng.uniform(3, 7, 3), *rng.uniform(60, 120, 3))
    one = Structure(lattice, ["Li", "Li", "P", "S"], rng.random((4, 3)))
    other = one.copy()
    other.perturb(amplitude, seed=seed)
    other.scale_lattice(scale * other.volume)
    matcher = StructureMatcher()
    first, second = reduce_cell(one), reduce_cell(other)
    assert fits(ReducedCrystal(first), ReducedCrystal(second), Tolerances(0.2, 0.3, 5)) == matcher.fit(one, other)


def test_reduction_is_that_of_structure_matcher(random_crystals, known_phases):
    for structure in [*random_crystals[:20], known_phases["Li2S"], known_phases["P4S3"]]:
        mine, theirs = reduce_cell(structure), StructureMatcher._get_reduced_structure(structure)
        assert mine.lattice.matrix == pytest.approx(theirs.lattice.matrix, abs=1e-10)
        assert mine.frac_coords == pytest.approx(theirs.frac_coords, abs=1e-10)


def test_unequal_crystals_of_one_size(li2s):
    swapped = li2s.copy()
    swapped.replace_species({"Li": "S", "S": "Li"})
    one, other = ReducedCrystal(reduce_cell(li2s)), ReducedCrystal(reduce_cell(swapped))
    assert not fits(one, other, Tolerances(0.2, 0.3, 5))
    assert fits(one, one, Tolerances(0.2, 0.3, 5))


def test_lattice_points_grow_as_needed(li2s):
    crystal = ReducedCrystal(reduce_cell(li2s))
    for radius in (1.0, 4.0, 2.0):
        _, vectors, lengths = crystal.lattice_points(radius)
        _, distances, _, _ = Lattice(crystal.cell).get_points_in_sphere([[0, 0, 0]], [0, 0, 0], radius, zip_results=False)
        assert np.sort(lengths[lengths <= radius]) == pytest.approx(np.sort(distances)[1:])
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(lengths)
