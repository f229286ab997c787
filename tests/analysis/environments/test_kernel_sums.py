from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from quests.entropy import DEFAULT_BATCH, kernel_sum
from scipy.spatial.distance import cdist

from coevo.analysis.environments import kernel_blocks, kernel_sums
from coevo.analysis.environments.kernel_blocks import BLOCK, Blocks, Frame
from coevo.errors import AnalysisError

H = 0.015


@pytest.fixture
def sums(monkeypatch):
    """``kernel_sums`` on its way for large sets, however small the set."""
    monkeypatch.setattr(kernel_sums, "_FEW_COLUMNS", 0)
    monkeypatch.setattr(kernel_sums, "_FEW_PAIRS", 0)
    return kernel_sums.kernel_sums


def all_terms(Y, X, bandwidth):
    """By distances from scipy, which subtracts first and squares then."""
    return np.exp(-0.5 * (cdist(Y, X) / bandwidth) ** 2).sum(axis=1)


def clusters(rng, n, d, spread):
    centres = rng.normal(size=(1 + n // 50, d)) * spread
    return centres[rng.integers(len(centres), size=n)] + rng.normal(size=(n, d)) * rng.choice([0.0, 0.3, 1.0], size=(n, 1))


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n=st.integers(1, 700),
    m=st.integers(1, 300),
    d=st.sampled_from([1, 3, 20, 63]),
    spread=st.sampled_from([0.1, 3.0, 30.0]),
)
def test_sums_hold_all_terms(seed, n, m, d, spread):
    """Sets of one block and of several, with exact copies, from one blob to clusters far out of reach of each other."""
    rng = np.random.default_rng(seed)
    X, Y = clusters(rng, n, d, spread), clusters(rng, m, d, spread)
    exact = all_terms(X, X, 1.0)
    with pytest.MonkeyPatch.context() as patch:
        small = kernel_sums.kernel_sums(X, X, 1.0)
        patch.setattr(kernel_sums, "_FEW_COLUMNS", 0)
        patch.setattr(kernel_sums, "_FEW_PAIRS", 0)
        large = kernel_sums.kernel_sums(X, X, 1.0)
        between = kernel_sums.kernel_sums(Y, X, 1.0)
        loose = kernel_sums.kernel_sums(Y, X, 1.0, relative=False)
    assert small == pytest.approx(exact, rel=1e-9)
    assert large == pytest.approx(exact, rel=1e-9)
    exact = all_terms(Y, X, 1.0)
    assert between == pytest.approx(exact, rel=1e-8, abs=1e-300)
    assert loose == pytest.approx(exact, rel=1e-9, abs=2e-12)


def sums_of_quests(Y, X):
    """As its own functions call it: numba compiles it anew for other kinds of arguments, and takes seconds for each."""
    return kernel_sum(np.ascontiguousarray(Y), np.ascontiguousarray(X), h=H, batch_size=DEFAULT_BATCH)


def test_equal_to_quests_on_environments(big_cloud, sums):
    theirs = sums_of_quests(big_cloud, big_cloud)
    assert sums(big_cloud, big_cloud, H) == pytest.approx(theirs, rel=1e-9)
    known, new = big_cloud[::2], big_cloud[1::2]
    theirs = sums_of_quests(new, known)
    assert theirs.min() < 1e-6
    assert sums(new, known, H) == pytest.approx(theirs, rel=1e-7)


def test_what_is_left_out_is_out_of_reach(big_cloud):
    """The bound that pruning rests on, on every pair of blocks; and there is something to prune."""
    frame = Frame.of(big_cloud, H)
    blocks = Blocks.of(big_cloud, frame)
    assert sorted(blocks.order.tolist()) == list(range(len(big_cloud)))
    assert max(np.diff(blocks.starts)) <= BLOCK
    assert blocks.Z * H + frame.origin == pytest.approx(big_cloud[blocks.order], abs=1e-12)
    radius, left_out = 8.7, 0
    for i in range(len(blocks)):
        mine = blocks.Z[blocks.starts[i] : blocks.starts[i + 1]]
        near = set(blocks.within(blocks, i, radius).tolist())
        assert i in near
        for j in set(range(len(blocks))) - near:
            left_out += 1
            assert cdist(mine, blocks.Z[blocks.starts[j] : blocks.starts[j + 1]]).min() > radius
    assert left_out > 0.1 * len(blocks) ** 2


def test_sizes_of_blocks_do_not_matter(big_cloud, sums, monkeypatch):
    whole = sums(big_cloud, big_cloud, H)
    monkeypatch.setattr(kernel_blocks, "BLOCK", 37)
    monkeypatch.setattr(kernel_sums, "PIECE", 111)
    assert sums(big_cloud, big_cloud, H) == pytest.approx(whole, rel=1e-11)
    assert (sums(big_cloud, big_cloud, H) == sums(big_cloud, big_cloud, H)).all()


def test_rows_on_top_of_each_other_do_not_spoil_the_others(cloud, sums):
    """Two atoms in one place give a descriptor of 1e16."""
    junk = np.concatenate([cloud, np.full((1, cloud.shape[1]), 1e16)])
    for some in (sums, kernel_sums._all_pairs):
        assert some(junk, junk, H) == pytest.approx([*all_terms(cloud, cloud, H), 1.0], rel=1e-9)


def test_memory_does_not_grow_with_the_square():
    """30,000 rows: the kernel matrix would take 7.2 GB, a sorted copy of the rows takes 2 MB."""
    rng = np.random.default_rng(0)
    X = np.repeat(rng.normal(size=(300, 8)) * 200, 100, axis=0) + rng.normal(size=(30000, 8))
    tracemalloc.start()
    found = kernel_sums.kernel_sums(X, X, 1.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.max() < 100
    assert found.sum() == pytest.approx(all_terms(X[:100], X[:100], 1.0).sum() * 300, rel=0.1)
    assert peak < 40e6


def test_bad_input(cloud):
    broken = cloud.copy()
    broken[3, 3] = np.nan
    with pytest.raises(AnalysisError, match="not finite"):
        kernel_sums.kernel_sums(cloud, broken, H)
    with pytest.raises(AnalysisError, match="not finite"):
        kernel_sums.kernel_sums(broken, cloud, H)
    with pytest.raises(AnalysisError, match="same d"):
        kernel_sums.kernel_sums(cloud, cloud[:, :5], H)
    with pytest.raises(AnalysisError, match="bandwidth"):
        kernel_sums.kernel_sums(cloud, cloud, 0.0)
    assert kernel_sums.kernel_sums(cloud[:3], cloud[:0], H).tolist() == [0.0, 0.0, 0.0]
    assert kernel_sums.kernel_sums(cloud[:0], cloud, H).shape == (0,)
