from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor
from quests.descriptor import get_descriptors, get_descriptors_multicomponent
from quests.entropy import delta_entropy as quests_delta_entropy
from quests.entropy import entropy as quests_entropy

from coevo.analysis.environments import (
    MAX_DELTA_ENTROPY,
    delta_entropy,
    descriptors,
    descriptors_by_element,
    entropy,
    greedy_entropy_gain,
    multicomponent_descriptors,
    sampled_entropy,
)
from coevo.errors import AnalysisError

H = 0.015


def atoms(structure: Structure):
    return AseAtomsAdaptor.get_atoms(structure)


def right_handed(structure: Structure) -> Structure:
    """QUESTS finds too few neighbours in left-handed cells."""
    if np.linalg.det(structure.lattice.matrix) > 0:
        return structure
    return Structure(Lattice(-structure.lattice.matrix), structure.species, structure.frac_coords)


@pytest.fixture(scope="module")
def shaken(known_phases):
    """The known phases displaced at random: no two distances are equal, so that the neighbours to take are well defined."""
    found = []
    for structure in known_phases.values():
        copy = structure.copy()
        copy.perturb(0.1, seed=3)
        found.append(copy)
    return found


@pytest.fixture(scope="module")
def cloud(shaken):
    return np.concatenate([descriptors(structure) for structure in shaken])


def test_descriptors_equal_quests_on_known_phases(shaken):
    for structure in shaken:
        assert descriptors(structure) == pytest.approx(get_descriptors([atoms(structure)]), abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), n=st.integers(1, 8), length=st.floats(2.0, 9.0), k=st.sampled_from([4, 16, 32]))
def test_descriptors_equal_quests_on_random_cells(seed, n, length, k):
    """From one atom without a neighbour in reach to sixty neighbours."""
    rng = np.random.default_rng(seed)
    lattice = Lattice.from_parameters(*(length * rng.uniform(0.8, 1.3, 3)), *rng.uniform(60, 120, 3))
    structure = right_handed(Structure(lattice, ["Li"] * n, rng.random((n, 3))))
    cutoff = float(rng.uniform(3.0, 6.0))
    mine, theirs = descriptors(structure, k, cutoff), get_descriptors([atoms(structure)], k=k, cutoff=cutoff)
    assert mine.shape == (n, 2 * k - 1)
    # Equal distances (an atom's own images) may be taken in another order, which matters only where the k-th is among them.
    first, _, _, distance = structure.get_neighbor_list(cutoff)
    for atom in range(n):
        near = np.sort(distance[first == atom])
        if len(near) <= k or near[k] - near[k - 1] > 1e-7:
            assert mine[atom] == pytest.approx(theirs[atom], abs=1e-6)


def test_an_atom_alone_has_the_zero_descriptor():
    assert not descriptors(Structure(Lattice.cubic(9), ["Li"], [[0, 0, 0]])).any()


def test_multicomponent_equals_quests(shaken):
    for structure in shaken[4:7]:
        mine = multicomponent_descriptors(structure, ("Li", "P", "S"))
        theirs = get_descriptors_multicomponent([atoms(structure)], species=["Li", "P", "S"])
        assert np.sort(mine, axis=1) == pytest.approx(np.sort(theirs, axis=1), abs=1e-9)
        assert entropy(mine, 0.05) == pytest.approx(quests_entropy(theirs, h=0.05), abs=1e-9)
    lithium = shaken[0]
    assert (multicomponent_descriptors(lithium, ("Li",)) == descriptors(lithium)).all()


def test_multicomponent_sees_species_and_the_plain_one_does_not():
    rock_salt = [
        Structure.from_spacegroup("Fm-3m", Lattice.cubic(5), pair, [[0, 0, 0], [0.5, 0.5, 0.5]])
        for pair in (["Li", "S"], ["P", "P"])
    ]
    plain = [descriptors(structure) for structure in rock_salt]
    assert plain[0] == pytest.approx(plain[1], abs=1e-12)
    kinds = [multicomponent_descriptors(structure, ("Li", "P", "S")) for structure in rock_salt]
    assert np.linalg.norm(kinds[0][0] - kinds[1][0]) > 10 * H


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_descriptors_are_invariant(shaken, move, seed):
    structure = shaken[5]
    rng = np.random.default_rng(seed)
    changed = descriptors(move(structure, rng))
    original = descriptors(structure)
    gaps = np.abs(changed[:, None, :] - original[None, :, :]).max(axis=2)
    assert sorted(gaps.argmin(axis=0)) == list(range(len(structure)))
    assert gaps.min(axis=0).max() < 1e-9
    doubled = descriptors(structure.make_supercell([1, 2, 1], in_place=False))
    assert np.abs(doubled[::2] - original).max() < 1e-9


def test_by_element(shaken):
    split = descriptors_by_element(shaken[4:6])
    assert {symbol: len(rows) for symbol, rows in split.items()} == {"Li": 12, "P": 8 + 4, "S": 20 + 16}


@pytest.mark.parametrize("bandwidth", [0.005, 0.015, 0.1, 1.0])
def test_entropy_equals_quests(cloud, bandwidth):
    assert entropy(cloud, bandwidth) == pytest.approx(quests_entropy(cloud, h=bandwidth), abs=1e-6)


def test_delta_entropy_equals_quests_and_is_clipped(cloud):
    known, new = cloud[:200], np.concatenate([cloud[200:], cloud[:1] + 1.0])
    theirs = quests_delta_entropy(new, known, h=H)
    assert np.isinf(theirs[-1])
    assert delta_entropy(new, known, H) == pytest.approx(np.minimum(theirs, MAX_DELTA_ENTROPY), abs=1e-6)
    assert delta_entropy(known, known, H).max() <= 1e-12
    assert (delta_entropy(new, cloud[:0], H) == MAX_DELTA_ENTROPY).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), n=st.integers(1, 60), copies=st.integers(1, 4))
def test_bounds_and_copies(seed, n, copies):
    X = np.random.default_rng(seed).random((n, 5))
    value = entropy(X, 0.2)
    assert -1e-12 <= value <= np.log(n) + 1e-12
    assert entropy(np.repeat(X, copies, axis=0), 0.2) == pytest.approx(value, abs=1e-9)
    assert entropy(X + 1000.0, 0.2) == pytest.approx(value, abs=1e-6)


def test_far_apart_gives_ln_n():
    assert entropy(np.arange(50.0)[:, None], H) == pytest.approx(np.log(50))


def test_blocks_do_not_matter(cloud, monkeypatch):
    whole = entropy(cloud, H)
    monkeypatch.setattr("coevo.analysis.environments._BLOCK_ROWS", 37)
    monkeypatch.setattr("coevo.analysis.environments._BLOCK_COLUMNS", 53)
    assert entropy(cloud, H) == pytest.approx(whole, abs=1e-12)


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


def test_entropy_of_nothing():
    with pytest.raises(AnalysisError, match="no environments"):
        entropy(np.empty((0, 63)), H)


def test_greedy_takes_new_environments_first():
    point = np.eye(6)
    batches = [
        point[[0, 0, 0, 0]],  # one environment, known
        point[[1, 1, 1, 1, 1, 1]],  # one new environment, six times
        point[[2, 3]],  # two new ones
        point[[2, 3, 4]],  # three new ones, two of them shared with the one before
        point[[1]],
        np.empty((0, 6)),
    ]
    assert greedy_entropy_gain(batches, point[[0]], 0.1, 2) == [3, 1]
    assert greedy_entropy_gain(batches, point[[0]], 0.1, 10) == [3, 1]
    assert greedy_entropy_gain(batches, np.empty((0, 6)), 0.1, 10) == [3, 0, 1]
    assert greedy_entropy_gain(batches, np.empty((0, 6)), 0.1, 0) == []
    assert greedy_entropy_gain([], point, 0.1, 3) == []


def test_greedy_adds_more_entropy_than_chance(cloud, shaken):
    batches = [descriptors(structure) for structure in shaken]
    base = batches.pop(0)
    chosen = greedy_entropy_gain(batches, base, H, 4)
    assert chosen == greedy_entropy_gain(batches, base, H, 12)[:4]
    gain = np.log(len(np.unique(np.round(np.concatenate([batches[i] for i in chosen]), 6), axis=0)))
    rng = np.random.default_rng(0)
    others = [rng.choice(len(batches), 4, replace=False) for _ in range(10)]
    assert gain >= max(np.log(sum(len(batches[i]) for i in other)) for other in others)
