from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coevo.analysis.selection import select_structures
from coevo.errors import AnalysisError

OPTIONS = {"random_fraction": 0.2, "novelty_fraction": 0.5, "bandwidth": 0.1}


def population(seed: int, n: int):
    rng = np.random.default_rng(seed)
    ids = [f"c{i:03d}" for i in rng.permutation(n)]
    return ids, rng.random(n), [rng.normal(size=(int(rng.integers(1, 5)), 3)) for _ in range(n)]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), n=st.integers(0, 30), budget=st.integers(0, 40))
def test_shares_and_order(seed, n, budget):
    ids, energies, batches = population(seed, n)
    known = np.zeros((1, 3))
    found = select_structures(ids, energies, batches, known, budget=budget, seed=seed, **OPTIONS)
    assert len(found) == min(budget, n)
    assert set(found) <= set(ids)
    size = min(budget, n)
    counts = Counter(found.values())
    assert counts["random"] == (0 if size == 0 else max(1, round(0.2 * size)))
    assert counts["environment"] <= round(0.5 * size)
    order = np.random.default_rng(seed).permutation(n)
    again = select_structures(
        [ids[i] for i in order], energies[order], [batches[i] for i in order], known, budget=budget, seed=seed, **OPTIONS
    )
    assert list(again.items()) == list(found.items())
    energy = dict(zip(ids, energies, strict=True))
    stable = [energy[i] for i, how in found.items() if how == "stability"]
    left = [energy[i] for i in ids if i not in found]
    assert not (stable and left) or max(stable) <= min(left)


def test_random_is_uniform_over_all():
    ids, energies, batches = population(0, 20)
    drawn = Counter()
    for seed in range(600):
        found = select_structures(ids, energies, batches, np.zeros((1, 3)), budget=5, seed=seed, **OPTIONS)
        drawn.update(i for i, how in found.items() if how == "random")
    assert sum(drawn.values()) == 600
    # Thirty of each are expected; six standard deviations.
    assert len(drawn) == 20
    assert max(abs(count - 30) for count in drawn.values()) < 33


def test_what_finds_no_new_environment_goes_to_stability():
    ids, energies = ["a", "b", "c", "d"], [0.3, 0.1, 0.2, 0.0]
    batches = [np.zeros((2, 3))] * 4
    found = select_structures(
        ids, energies, batches, np.zeros((1, 3)), budget=3, random_fraction=0.0, novelty_fraction=1.0, bandwidth=0.1, seed=0
    )
    assert found == {"d": "stability", "b": "stability", "c": "stability"}


def test_environments_may_be_limited_to_low_energy():
    ids, energies = ["wreck", "good", "known"], [5.0, 0.1, 0.0]
    batches = [10 * np.eye(3), np.ones((1, 3)), np.zeros((1, 3))]
    options = {"budget": 1, "random_fraction": 0.0, "novelty_fraction": 1.0, "bandwidth": 0.1, "seed": 0}
    assert select_structures(ids, energies, batches, np.zeros((1, 3)), **options) == {"wreck": "environment"}
    limited = select_structures(ids, energies, batches, np.zeros((1, 3)), max_novelty_e_hull=0.2, **options)
    assert limited == {"good": "environment"}


def test_what_was_drawn_is_known_to_the_next_share():
    ids, energies = ["a", "b", "c"], [0.0, 0.0, 9.0]
    batches = [np.zeros((1, 3)), np.zeros((1, 3)), np.ones((1, 3))]
    for seed in range(10):
        found = select_structures(
            ids,
            energies,
            batches,
            np.empty((0, 3)),
            budget=2,
            random_fraction=0.5,
            novelty_fraction=0.5,
            bandwidth=0.1,
            seed=seed,
        )
        drawn = next(i for i, how in found.items() if how == "random")
        assert found == ({"c": "random", "a": "environment"} if drawn == "c" else {drawn: "random", "c": "environment"})


def test_bad_input():
    ids, energies, batches = population(0, 3)
    with pytest.raises(AnalysisError, match="one each"):
        select_structures(ids, energies[:2], batches, np.zeros((1, 3)), budget=1, seed=0, **OPTIONS)
    with pytest.raises(AnalysisError, match="repeated"):
        select_structures(["a", "a", "b"], energies, batches, np.zeros((1, 3)), budget=1, seed=0, **OPTIONS)
    with pytest.raises(AnalysisError, match="not finite"):
        select_structures(ids, [0.0, np.nan, 1.0], batches, np.zeros((1, 3)), budget=1, seed=0, **OPTIONS)
