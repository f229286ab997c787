from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer
from pymatgen.symmetry.groups import SpaceGroup
from scipy.stats import entropy as scipy_entropy

from coevo.analysis.signals.diversity import (
    CRYSTAL_SYSTEMS,
    crystal_system,
    diversity,
    duplicates,
    shannon_entropy,
    space_group_number,
    spread,
    symmetry_distribution,
)
from coevo.errors import AnalysisError


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


def test_crystal_systems_equal_pymatgen():
    for number in (1, 2, 3, 15, 16, 74, 75, 142, 143, 146, 167, 168, 194, 195, 230):
        assert crystal_system(number) == SpaceGroup.from_int_number(number).crystal_system
    for number in (0, 231):
        with pytest.raises(AnalysisError, match="from 1 to 230"):
            crystal_system(number)


def test_symmetry_distribution():
    found = symmetry_distribution([225, 1, 225, None, 2, 194, 1, 160])
    assert (found.n, found.unknown) == (8, 1)
    assert found.space_groups == {1: 2, 2: 1, 160: 1, 194: 1, 225: 2}
    assert list(found.crystal_systems) == list(CRYSTAL_SYSTEMS)
    assert found.crystal_systems["cubic"] == 2
    assert found.crystal_systems["tetragonal"] == 0
    assert found.triclinic_share == pytest.approx(3 / 7)
    assert found.space_group_entropy == pytest.approx(scipy_entropy([2, 1, 1, 1, 2]))
    assert found.crystal_system_entropy == pytest.approx(scipy_entropy([3, 1, 1, 2]))
    assert found.to_dict()["space_groups"]["225"] == 2
    assert symmetry_distribution([]).triclinic_share is None


@pytest.mark.parametrize("metric", ["euclidean", "chebyshev"])
def test_spread_of_all_pairs(metric):
    x = np.random.default_rng(2).normal(size=(40, 5))
    order = {"euclidean": 2, "chebyshev": np.inf}[metric]
    table = np.linalg.norm(x[:, None] - x, ord=order, axis=2)
    pairs = table[np.triu_indices(40, 1)]
    found = spread(x, seed=0, metric=metric)
    assert (found.n, found.dimensions, found.sampled) == (40, 5, 40)
    assert found.mean == pytest.approx(pairs.mean())
    assert found.quantiles == pytest.approx({"q05": np.quantile(pairs, 0.05), "q25": np.quantile(pairs, 0.25),
        "q50": np.median(pairs), "q75": np.quantile(pairs, 0.75), "q95": np.quantile(pairs, 0.95)})  # fmt: skip
    assert found.mean_nearest == pytest.approx((table + np.diag(np.full(40, np.inf))).min(axis=1).mean())


def test_spread_of_a_sample():
    x = np.random.default_rng(2).normal(size=(3000, 3))
    one, again, other = (spread(x, seed=seed, sample=300) for seed in (1, 1, 2))
    assert one == again
    assert one != other
    assert one.sampled == 300
    assert one.mean == pytest.approx(spread(x, seed=0, sample=1500).mean, rel=0.05)


def test_spread_of_few_vectors_and_bad_ones():
    assert spread(np.empty((0, 4)), seed=0).mean is None
    assert spread([[1.0, 2.0]], seed=0).quantiles == {}
    assert spread([[1.0], [1.0]], seed=0).mean == 0.0
    with pytest.raises(AnalysisError, match="finite"):
        spread([[1.0], [np.nan]], seed=0)
    with pytest.raises(AnalysisError, match=r"shape \(2,\)"):
        spread([1.0, 2.0], seed=0)


def test_duplicates():
    found = duplicates(["a", "b", "a", "a", "c"])
    assert (found.n, found.groups, found.duplicates, found.rate, found.largest) == (5, 3, 2, 0.4, 3)
    assert duplicates([]).to_dict() == {"n": 0, "groups": 0, "duplicates": 0, "rate": None, "largest": 0}
