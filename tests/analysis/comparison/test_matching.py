from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from pymatgen.core.structure_matcher import StructureMatcher

from coevo.analysis.cell_reduction import Crystal, reduced
from coevo.analysis.comparison.matching import ScaledCrystal, Shelf, Tolerances, fits


def scaled(structure: Structure) -> ScaledCrystal:
    """Of a structure whose cell is left as it is."""
    return ScaledCrystal(Crystal.from_structure(structure))


def primitive(structure: Structure) -> Structure:
    return reduced(Crystal.from_structure(structure)).to_structure()


@pytest.fixture(scope="module")
def shaken(random_crystals, known_phases) -> list[Structure]:
    """Crystals of few formulas, and copies displaced and strained up to and beyond the tolerances."""
    rng = np.random.default_rng(7)
    small = [structure for structure in known_phases.values() if len(structure) <= 32]
    found = [primitive(structure) for structure in [*random_crystals[:40], *small]]
    for structure in list(found):
        copy = structure.copy()
        copy.perturb(float(rng.uniform(0, 0.7)), seed=int(rng.integers(2**31)))
        copy.apply_strain(rng.uniform(-0.15, 0.15, 3))
        found.append(copy)
    return found


OTHERS = [pytest.param(tolerances, marks=pytest.mark.long) for tolerances in ((0.1, 0.15, 3.0), (0.3, 0.5, 10.0))]


@pytest.mark.parametrize("tolerances", [(0.2, 0.3, 5.0), *OTHERS])
def test_equals_structure_matcher_pair_by_pair(shaken, tolerances):
    """In both orders."""
    rng = np.random.default_rng(8)
    matcher = StructureMatcher(*tolerances)
    crystals = [scaled(structure) for structure in shaken]
    n = len(shaken)
    pairs = [(i, j) for i in range(n) for j in range(n) if shaken[i].composition == shaken[j].composition]
    pairs = [pairs[i] for i in rng.permutation(len(pairs))[:500]] + [(i, i + n // 2) for i in range(n // 2)]
    expected = [matcher.fit(shaken[i], shaken[j], skip_structure_reduction=True) for i, j in pairs]
    assert [fits(crystals[i], crystals[j], Tolerances(*tolerances)) for i, j in pairs] == expected
    assert 20 < sum(expected) < len(expected) - 20


def test_a_shelf_finds_the_first_of_many(shaken):
    """The search among many together is the search among them one by one, also from a cell longer than was announced."""
    tolerances = Tolerances(0.2, 0.3, 5.0)
    by_composition: dict[str, list[ScaledCrystal]] = {}
    for structure in shaken:
        by_composition.setdefault(structure.composition.formula, []).append(scaled(structure))
    hits = 0
    for crystals in by_composition.values():
        for longest in (0.1, max(float(c.lengths.max()) for c in crystals)):
            shelf = Shelf(tolerances, longest)
            for crystal in crystals:
                expected = next((i for i, known in enumerate(crystals[: len(shelf)]) if fits(known, crystal, tolerances)), None)
                assert shelf.first_match(crystal, np.arange(len(shelf))) == expected
                hits += expected is not None
                if len(shelf) > 2:
                    odd = np.arange(1, len(shelf), 2)
                    expected = next((i for i in odd.tolist() if fits(crystals[i], crystal, tolerances)), None)
                    assert shelf.first_match(crystal, odd) == expected
                shelf.add(crystal)
    assert hits > 10


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), amplitude=st.floats(0.0, 0.6), scale=st.floats(0.5, 2.0))
def test_equals_structure_matcher_on_any_cell(seed, amplitude, scale):
    rng = np.random.default_rng(seed)
    lattice = Lattice.from_parameters(*rng.uniform(3, 7, 3), *rng.uniform(60, 120, 3))
    one = Structure(lattice, ["Li", "Li", "P", "S"], rng.random((4, 3)))
    other = one.copy()
    other.perturb(amplitude, seed=seed)
    other.scale_lattice(scale * other.volume)
    assert fits(scaled(primitive(one)), scaled(primitive(other)), Tolerances(0.2, 0.3, 5)) == StructureMatcher().fit(one, other)


def test_unequal_crystals_of_one_size(li2s):
    swapped = li2s.copy()
    swapped.replace_species({"Li": "S", "S": "Li"})
    one, other = scaled(primitive(li2s)), scaled(primitive(swapped))
    assert not fits(one, other, Tolerances(0.2, 0.3, 5))
    assert fits(one, one, Tolerances(0.2, 0.3, 5))


@pytest.mark.parametrize("radius", [1.0, 4.0, 2.0])
def test_lattice_points(li2s, radius):
    crystal = scaled(primitive(li2s))
    multiples, vectors, lengths = crystal.lattice_points(radius)
    _, distances, _, _ = Lattice(crystal.cell).get_points_in_sphere([[0, 0, 0]], [0, 0, 0], radius, zip_results=False)
    assert lengths == pytest.approx(np.sort(distances)[1:])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(lengths)
    assert vectors == pytest.approx(multiples @ crystal.cell)
