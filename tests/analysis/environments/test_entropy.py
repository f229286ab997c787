from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.io.ase import AseAtomsAdaptor
from quests.descriptor import get_descriptors
from quests.entropy import delta_entropy as quests_delta_entropy
from quests.entropy import entropy as quests_entropy
from quests.tools.example import get_noisy_structures, get_reference_structures

from coevo.analysis.environments.descriptors import descriptors, descriptors_of
from coevo.analysis.environments.entropy import (
    MAX_DELTA_ENTROPY,
    delta_entropy,
    entropy,
    sampled_entropies,
    sampled_entropy,
)
from coevo.errors import AnalysisError

H = 0.015


@pytest.mark.parametrize("bandwidth", [0.005, 0.015, 0.1, 1.0])
def test_entropy_equals_quests(cloud, big_cloud, bandwidth):
    assert entropy(cloud, bandwidth) == pytest.approx(quests_entropy(cloud, h=bandwidth), abs=1e-6)
    assert entropy(big_cloud, bandwidth) == pytest.approx(quests_entropy(big_cloud, h=bandwidth), abs=1e-6)


@pytest.mark.parametrize("size", [3, 8])
def test_entropy_equals_quests_on_its_own_examples(size):
    """Copper in three lattices, displaced: 81 atoms, and 1,536 in blocks with most of the terms between them left out."""
    np.random.seed(4)  # noqa: NPY002  (the examples draw from the global generator)
    atoms = get_noisy_structures(supercell_size=size)
    X, _ = descriptors_of([AseAtomsAdaptor.get_structure(a) for a in atoms])
    theirs = get_descriptors(list(atoms))
    assert pytest.approx(theirs, abs=1e-9) == X
    assert entropy(X, H) == pytest.approx(quests_entropy(theirs, h=H), abs=1e-6)
    perfect, _ = descriptors_of([AseAtomsAdaptor.get_structure(a) for a in get_reference_structures(supercell=4)])
    assert delta_entropy(perfect, X, H) == pytest.approx(
        np.minimum(quests_delta_entropy(perfect, X, h=H), MAX_DELTA_ENTROPY), abs=1e-6
    )


def test_delta_entropy_equals_quests_and_is_clipped(cloud):
    known, new = cloud[:200], np.concatenate([cloud[200:], cloud[:1] + 1.0])
    theirs = quests_delta_entropy(new, known, h=H)
    assert np.isinf(theirs[-1])
    assert delta_entropy(new, known, H) == pytest.approx(np.minimum(theirs, MAX_DELTA_ENTROPY), abs=1e-6)
    assert delta_entropy(known, known, H).max() <= 1e-12
    assert (delta_entropy(new, cloud[:0], H) == MAX_DELTA_ENTROPY).all()


def test_delta_entropy_of_far_environments_equals_quests(big_cloud):
    """Sums far below what is left out at first (1e-12) are made again with all that matters to them."""
    known, new = big_cloud[:1200], big_cloud[1200:]
    theirs = quests_delta_entropy(new, known, h=H)
    assert ((theirs > 30) & (theirs < 700)).sum() > 20
    assert delta_entropy(new, known, H) == pytest.approx(np.minimum(theirs, MAX_DELTA_ENTROPY), abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), n=st.integers(1, 60), copies=st.integers(1, 4))
def test_bounds_and_copies(seed, n, copies):
    X = np.random.default_rng(seed).random((n, 5))
    value = entropy(X, 0.2)
    assert -1e-12 <= value <= np.log(n) + 1e-12
    assert entropy(np.repeat(X, copies, axis=0), 0.2) == pytest.approx(value, abs=1e-9)
    assert entropy(X + 1000.0, 0.2) == pytest.approx(value, abs=1e-6)
    assert entropy(X[::-1], 0.2) == pytest.approx(value, abs=1e-12)
    assert entropy(np.repeat(X[:1], 7, axis=0), 0.2) == pytest.approx(0.0, abs=1e-15)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), n=st.integers(1, 400), m=st.integers(1, 40))
def test_contained_environments_are_not_new(seed, n, m):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 8)) * rng.uniform(0.1, 50)
    rows = X[rng.integers(n, size=m)]
    assert delta_entropy(rows, X, 1.0).max() <= 1e-9
    assert (delta_entropy(rows, np.concatenate([X, X]), 1.0) <= delta_entropy(rows, X, 1.0) + 1e-9).all()


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_entropy_of_a_crystal_is_invariant(shaken, move, seed):
    """Rotated, translated, its atoms in another order, in another cell."""
    rng = np.random.default_rng(seed)
    value = entropy(descriptors(shaken[4]), H)
    assert entropy(descriptors(move(shaken[4], rng)), H) == pytest.approx(value, abs=1e-6)
    larger = shaken[4].make_supercell([[1, 1, 0], [0, 1, 0], [0, 0, 2]], in_place=False)
    assert entropy(descriptors(larger), H) == pytest.approx(value, abs=1e-6)


def test_copies_of_a_whole_large_set_leave_the_entropy(big_cloud):
    assert entropy(np.concatenate([big_cloud, big_cloud]), H) == pytest.approx(entropy(big_cloud, H), abs=1e-9)


def test_far_apart_gives_ln_n():
    assert entropy(np.arange(50.0)[:, None], H) == pytest.approx(np.log(50))
    assert entropy(np.arange(5000.0)[:, None], H) == pytest.approx(np.log(5000), abs=1e-12)


def test_sampled_entropy(cloud):
    estimate = sampled_entropy(cloud, 100, H, subsamples=8, seed=1)
    assert estimate == sampled_entropy(cloud, 100, H, subsamples=8, seed=1)
    assert estimate != sampled_entropy(cloud, 100, H, subsamples=8, seed=2)
    assert estimate.n == 100
    assert estimate.ln_n == pytest.approx(4.605170)
    assert 0 < estimate.standard_error < 0.2
    assert estimate.mean < entropy(cloud, H)
    whole = sampled_entropy(cloud, len(cloud), H, subsamples=2, seed=0)
    assert whole.mean == pytest.approx(entropy(cloud, H), abs=1e-12)
    assert sampled_entropy(cloud, 100, H, subsamples=1, seed=0).standard_error is None
    assert sampled_entropy(cloud, len(cloud) + 1, H, subsamples=2, seed=0) is None


def test_all_species_at_once(cloud, shaken):
    species = [site.specie.symbol for structure in shaken for site in structure]
    found = sampled_entropies(cloud, species, 60, H, elements=("Li", "Na", "P", "S"), subsamples=5, seed=3)
    assert found.total == sampled_entropy(cloud, 60, H, subsamples=5, seed=3)
    assert list(found.per_species) == ["Li", "Na", "P", "S"]
    for symbol in ("Li", "P", "S"):
        mine = cloud[np.array(species) == symbol]
        assert found.counts[symbol] == len(mine)
        assert found.per_species[symbol] == sampled_entropy(mine, 60, H, subsamples=5, seed=3)
    assert found.per_species["Na"] is None
    assert found.counts["Na"] == 0
    with pytest.raises(AnalysisError, match="one each"):
        sampled_entropies(cloud, species[1:], 60, H, elements=("Li", "P", "S"), subsamples=5, seed=3)
    with pytest.raises(AnalysisError, match="about P, S are not among"):
        sampled_entropies(cloud, species, 60, H, elements=("Li",), subsamples=5, seed=3)


def test_entropy_of_nothing():
    with pytest.raises(AnalysisError, match="no environments"):
        entropy(np.empty((0, 63)), H)
