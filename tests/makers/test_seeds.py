"""Seeds derive from the node, the iteration, the step and the shard."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from coevo.makers.seeds import seed_for


@given(st.integers(0, 2**32 - 1), st.text(min_size=1), st.integers(0, 10**6), st.integers(0, 10**6))
def test_seeds_fit_every_generator_and_repeat(node_seed: int, node: str, iteration: int, shard: int) -> None:
    seed = seed_for(node_seed, node, iteration, "generate", shard)
    assert 0 <= seed < 2**32
    assert seed == seed_for(node_seed, node, iteration, "generate", shard)


def test_different_jobs_have_different_seeds() -> None:
    parts = product((0, 1), ("a", "b"), range(5), ("generate", "select"), range(20))
    seeds = [seed_for(*part) for part in parts]
    assert len(set(seeds)) == len(seeds)
