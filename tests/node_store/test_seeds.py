"""Seeds derive from the node, the branch, the iteration, the step and the shard."""

from __future__ import annotations

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from coevo.configs.tree import NodeSection
from coevo.node_store.seeds import seed_for

SEED = st.integers(0, 2**32 - 1)


def node(name: str = "a", seed: int = 0, branch_seed: int = 0) -> NodeSection:
    return NodeSection(name=name, elements=("Li",), references="x", seed=seed, branch_seed=branch_seed)


@given(SEED, SEED, st.from_regex(r"[a-z0-9][a-z0-9._-]{0,63}", fullmatch=True), st.integers(0, 10**6), st.integers(0, 10**6))
def test_seeds_fit_every_generator_and_repeat(seed: int, branch_seed: int, name: str, iteration: int, shard: int) -> None:
    found = seed_for(node(name, seed, branch_seed), iteration, "generate", shard)
    assert 0 <= found < 2**32
    assert found == seed_for(node(name, seed, branch_seed), iteration, "generate", shard)


def test_different_jobs_have_different_seeds() -> None:
    nodes = product("ab", (0, 1), (0, 1, 2))
    seeds = [
        seed_for(node(*each), iteration, step, shard)
        for each in nodes
        for iteration, step, shard in product(range(5), ("generate", "select"), range(20))
    ]
    assert len(set(seeds)) == len(seeds)


def test_a_branch_without_a_seed_of_its_own_has_those_of_the_node() -> None:
    """Values that campaigns of older versions used; another one would void their unfinished work."""
    assert seed_for(node("li-p-s-demo", 1), 2, "generate", 3) == 3415097799
    assert seed_for(node("li-p-s-demo", 1), 2, "entropy") == 2312583682
