from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from coevo.analysis.environments import entropy_gain
from coevo.analysis.environments.descriptors import descriptors
from coevo.analysis.environments.entropy_gain import NO_GAIN, greedy_entropy_gain

H = 0.015


def plainly(batches, base, bandwidth, budget):
    """The definition: all gains at every step, the first of the equal largest."""

    def kernel(Y, X):
        return np.exp(-0.5 * (cdist(Y, X) / bandwidth) ** 2).sum(axis=1) if len(Y) and len(X) else np.zeros(len(Y))

    own = [kernel(batch, batch) for batch in batches]
    known = [kernel(batch, base) for batch in batches]
    left, chosen = [i for i, batch in enumerate(batches) if len(batch)], []
    while left and len(chosen) < budget:
        gains = [float((np.maximum(0.0, 1.0 - known[i]) / own[i]).sum()) for i in left]
        best = next(place for place, gain in enumerate(gains) if gain >= max(gains) - NO_GAIN)
        if gains[best] <= NO_GAIN:
            break
        chosen.append(left.pop(best))
        known = [k + kernel(batch, batches[chosen[-1]]) for k, batch in zip(known, batches, strict=True)]
    return chosen


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n=st.integers(1, 40),
    kinds=st.integers(1, 30),
    known=st.integers(0, 20),
    budget=st.integers(1, 45),
    at_a_time=st.sampled_from([1, 3, 64]),
    rows_at_a_time=st.sampled_from([1, 10, 16384]),
)
def test_the_lazy_choice_is_the_plain_one(seed, n, kinds, known, budget, at_a_time, rows_at_a_time):
    """With copies of whole structures (ties), empty ones, and environments shared in part."""
    rng = np.random.default_rng(seed)
    pool = rng.normal(size=(kinds, 4)) * rng.choice([1.0, 5.0])
    batches = [pool[rng.integers(kinds, size=rng.integers(0, 9))] + rng.normal(size=4) * rng.choice([0, 0.2]) for _ in range(n)]
    batches = [batches[int(rng.integers(i + 1))] if rng.random() < 0.2 else batch for i, batch in enumerate(batches)]
    base = pool[rng.integers(kinds, size=known)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(entropy_gain, "_CANDIDATES_AT_A_TIME", at_a_time)
        patch.setattr(entropy_gain, "_ROWS_AT_A_TIME", rows_at_a_time)
        patch.setattr(entropy_gain, "_LARGEST_STACKED", int(rng.integers(0, 9)))
        assert greedy_entropy_gain(batches, base, 1.0, budget) == plainly(batches, base, 1.0, budget)


def test_the_lazy_choice_is_the_plain_one_on_crystals(shaken, random_crystals):
    batches = [descriptors(structure) for structure in [*shaken[1:], *random_crystals]]
    base = descriptors(shaken[0])
    assert greedy_entropy_gain(batches, base, H, 40) == plainly(batches, base, H, 40)


def test_the_first_of_equals_is_taken_though_a_later_one_is_looked_at_first(monkeypatch):
    """Gains after the first choice: 1.4 and 1.4 + 2e-10; the second has the higher bound and is refreshed alone."""
    monkeypatch.setattr(entropy_gain, "_CANDIDATES_AT_A_TIME", 1)
    batches = [np.array([[0.0], [10.0], [20.0]]), np.array([[30.0], [31.0]]), np.array([[40.0], [41.0 + 1e-9]])]
    assert greedy_entropy_gain(batches, np.empty((0, 1)), 1.0, 3) == [0, 1, 2]
    assert greedy_entropy_gain([batches[i] for i in (0, 2, 1)], np.empty((0, 1)), 1.0, 3) == [0, 1, 2]
    larger = [np.array([[0.0], [10.0], [20.0]]), np.array([[30.0], [31.0]]), np.array([[40.0], [41.0 + 1e-7]])]
    assert greedy_entropy_gain(larger, np.empty((0, 1)), 1.0, 3) == [0, 2, 1]


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


def test_cost_does_not_grow_with_candidates_times_budget(monkeypatch):
    """5,000 structures, 50 of them chosen: all gains at every step would be 250,000."""
    rng = np.random.default_rng(2)
    X = rng.normal(size=(40000, 6)) * 3
    batches = np.split(X, 5000)
    refreshed = []
    refresh = entropy_gain._Gains._refresh

    def counting(self, candidates):
        refreshed.append(len(candidates))
        refresh(self, candidates)

    monkeypatch.setattr(entropy_gain._Gains, "_refresh", counting)
    tracemalloc.start()
    chosen = greedy_entropy_gain(batches, X[:400], 1.0, 50)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(chosen) == len(set(chosen)) == 50
    assert not set(chosen) & set(range(50))
    assert sum(refreshed) < 50000
    assert peak < 30e6
