from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer
from scipy.stats import entropy as scipy_entropy

from coevo.analysis.diversity import diversity, shannon_entropy, space_group_number


def test_space_groups_equal_pymatgen(known_phases, random_crystals):
    for structure in [*known_phases.values(), *random_crystals[:20]]:
        assert space_group_number(structure, 0.01) == SpacegroupAnalyzer(structure, symprec=0.01).get_space_group_number()


def test_space_groups_of_known_phases(known_phases):
    expected = {"Li bcc": 229, "Li2S": 225, "Li3P": 194, "P black": 64, "alpha-S8 (Fddd)": 70, "P4S3": 62}
    assert {name: space_group_number(known_phases[name]) for name in expected} == expected


def test_tolerance(li2s):
    displaced = li2s.copy()
    displaced.perturb(0.02, seed=1)
    assert space_group_number(displaced, 0.001) == 1
    assert space_group_number(displaced, 0.15) == 225


@pytest.mark.filterwarnings("error")
def test_no_space_group():
    assert space_group_number(Structure(Lattice.cubic(3), ["Li", "Li"], [[0, 0, 0], [0, 0, 0]])) is None


@given(st.lists(st.integers(0, 50), max_size=20))
def test_shannon_entropy_equals_scipy(counts):
    expected = scipy_entropy(counts) if sum(counts) else 0.0
    assert shannon_entropy(counts) == pytest.approx(expected, abs=1e-12)
    assert shannon_entropy(Counter(dict(enumerate(counts)))) == shannon_entropy(counts) == shannon_entropy(counts[::-1])


def test_diversity(known_phases):
    structures = [known_phases[name] for name in ("Li2S", "Li2S", "Li3P", "P black")]
    found = diversity(structures)
    assert (found.n, found.formulas, found.chemical_systems, found.space_groups, found.fragments) == (4, 3, 3, 3, 3)
    assert found.formula_entropy == pytest.approx(1.5 * np.log(2))
    assert diversity([]).to_dict()["formula_entropy"] == 0.0
