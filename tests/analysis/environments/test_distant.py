"""Shares of atoms far from all older ones: against all pairs, and with a motif that was not there before."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Structure
from scipy.spatial.distance import cdist

from coevo.analysis.environments import distant
from coevo.analysis.environments.descriptors import descriptors_of, multicomponent_descriptors_of
from coevo.analysis.environments.distant import DistantShare, distant_shares, far_rows
from coevo.analysis.environments.entropy import sampled_entropy
from coevo.analysis.environments.resolution import resolution, wandering
from coevo.analysis.intervals import wilson
from coevo.configs.references import load_references

ELEMENTS = ("Li", "P", "S")
DESCRIPTION = {"elements": ELEMENTS, "neighbours": 32, "cutoff": 5.0, "seed": 3}


@pytest.fixture(scope="module")
def phases():
    return {phase.name: phase.structure for phase in load_references("li-p-s", ELEMENTS)}


def shaken(structure, count, first=0):
    """Copies whose atoms are off by 0.08 Å along each axis, root mean square, about as far as at 300 K."""
    found = []
    for number in range(count):
        moves = np.random.default_rng(first + number).normal(scale=0.08, size=(len(structure), 3))
        coordinates = structure.cart_coords + moves
        found.append(Structure(structure.lattice, structure.species, coordinates, coords_are_cartesian=True, to_unit_cell=True))
    return found


def test_far_rows_by_hand_and_against_all_pairs(monkeypatch):
    Y, X = np.array([[0.0, 0.0], [1.0, 0.0], [5.0, 5.0]]), np.array([[0.0, 0.5], [1.0, 0.4]])
    assert far_rows(Y, X, 0.45).tolist() == [[0.0, 0.0], [5.0, 5.0]]
    assert far_rows(Y, X[:0], 0.45).tolist() == Y.tolist()
    rng = np.random.default_rng(0)
    Y, X = rng.normal(size=(300, 20)), rng.normal(size=(700, 20))
    monkeypatch.setattr(distant, "_COLUMNS_AT_A_TIME", 64)
    assert np.array_equal(far_rows(Y, X, 4.0), Y[cdist(Y, X).min(axis=1) > 4.0])
    assert 0 < len(far_rows(Y, X, 4.0)) < 300


def test_shares_equal_those_of_all_pairs_however_the_older_ones_are_cut(phases, monkeypatch):
    known = [phases["Li2S"], phases["beta-Li3PS4 (ordered approximant)"]]
    structures = [*shaken(known[0], 2), *known, *shaken(known[1], 2, 10), phases["Li7P3S11"]]
    since = [1, 1, None, None, 2, 1, 2]
    X = multicomponent_descriptors_of(structures, ELEMENTS, 32, 5.0, atoms=[np.arange(len(s)) for s in structures])
    symbols = np.array([site.specie.symbol for s in structures for site in s])
    ages = np.repeat([-1 if age is None else age for age in since], [len(s) for s in structures])
    found = {}
    for at_a_time in (1, 1000):
        monkeypatch.setattr(distant, "_STRUCTURES_AT_A_TIME", at_a_time)
        found[at_a_time] = distant_shares(structures, since, [1, 2, 3], distance=0.12, limit=1000, **DESCRIPTION)
    assert found[1] == found[1000]
    for iteration in (1, 2):
        for symbol in ELEMENTS:
            new = X[(ages == iteration) & (symbols == symbol)]
            count = int((cdist(new, X[(ages < iteration) & (symbols == symbol)]).min(axis=1) > 0.12).sum())
            assert found[1][iteration][symbol] == DistantShare.counted(count, len(new))
    shares = [share for iteration in (1, 2) for share in found[1][iteration].values()]
    assert 0 < sum(share.count for share in shares) < sum(share.n for share in shares)
    assert found[1][3]["P"] == DistantShare(0, 0, None, None, None)


def test_of_many_atoms_a_sample_is_looked_at(phases):
    structures = [phases["Li2S"], *shaken(phases["Li7P3S11"], 2)]
    arguments = {"distance": 0.1, "limit": 20, **DESCRIPTION}
    found = distant_shares(structures, [None, 1, 1], [1], **arguments)
    assert {symbol: share.n for symbol, share in found[1].items()} == {"Li": 20, "P": 12, "S": 20}
    assert found == distant_shares(structures, [None, 1, 1], [1], **arguments)
    share = found[1]["P"]
    assert (share.fraction, (share.low, share.high)) == (1.0, wilson(12, 12))


@pytest.mark.parametrize("percent", [1, 5])
def test_a_new_motif_in_few_atoms_is_seen_and_the_entropy_at_quests_bandwidth_does_not_move(phases, percent):
    old, motif = phases["beta-Li3PS4 (ordered approximant)"], phases["P black"]
    found = resolution([wandering(shaken(old, 2, 900), ELEMENTS, 32, 5.0)], ELEMENTS)
    population = shaken(old, 60)
    since = [1 + number // 20 for number in range(60)]
    injected = shaken(motif, {1: 2, 5: 8}[percent], 500)
    share_of_atoms = sum(map(len, injected)) / (640 + sum(map(len, injected)))
    assert share_of_atoms == pytest.approx(percent / 100, abs=0.003)
    fourth = shaken(old, 20, 300)
    without = distant_shares(
        [*population, *fourth], [*since, *[4] * 20], [4], distance=found["delta90"], limit=1000, **DESCRIPTION
    )[4]
    everything = [*population, *fourth, *injected]
    ages = [*since, *[4] * (20 + len(injected))]
    with_motif = distant_shares(everything, ages, [4], distance=found["delta90"], limit=1000, **DESCRIPTION)[4]
    assert (without["P"].count, without["P"].n) == (0, 80)
    assert (with_motif["P"].count, with_motif["P"].n) == (4 * len(injected), 80 + 4 * len(injected))
    assert with_motif["P"].low > 0.02, "Wilson's lower limit alone says that there is something new"

    X, offsets = descriptors_of(everything)
    until = int(offsets[80])
    before, after = (sampled_entropy(rows, 1000, 0.015, subsamples=3, seed=1) for rows in (X[:until], X))
    assert abs(before.mean - after.mean) < 0.05, "entropy_tolerance: flat"
