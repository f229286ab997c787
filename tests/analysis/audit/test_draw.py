"""Which structures are audited: the strata, the order, and what an earlier audit is worth."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from coevo.analysis.audit.draw import STRATA, draw, model_energy_above_hull, order_of, stratum_of

NAMES = st.sampled_from(STRATA)
POPULATIONS = st.lists(NAMES, max_size=80).map(
    lambda names: {s: [f"{place}" for place, name in enumerate(names) if name == s] for s in STRATA}
)


def entry(above: float, **more: object) -> dict[str, object]:
    return {"kind": "entry", "duplicate_of": None, "is_novel": True, "energy_above_hull": above, "energy_per_atom": -3.0, **more}


def test_the_order_is_that_of_the_hashes() -> None:
    ids = ["a", "b", "c", "d"]
    assert order_of(ids, 5) == sorted(ids, key=lambda i: hashlib.sha256(f"{i} 5".encode()).digest())
    assert order_of(ids, 5) != order_of(ids, 6) or order_of(ids, 5) != order_of(ids, 7)


def test_strata_are_those_of_the_model() -> None:
    assert stratum_of(entry(0.1), 0.1) == "sun"
    assert stratum_of(entry(0.11), 0.1) == "unstable"
    assert stratum_of(entry(0.11, is_novel=False), 0.1) == "unstable"
    assert stratum_of(entry(0.0, is_novel=False), 0.1) is None
    assert stratum_of(entry(0.0, duplicate_of="x"), 0.1) is None
    assert stratum_of(entry(0.0, kind="reference"), 0.1) is None


def test_a_phase_that_a_label_took_out_of_the_count_stays_where_its_model_put_it() -> None:
    refuted = entry(0.25, model_energy_per_atom=-3.2, is_sun=False, is_stable=False)
    assert abs(model_energy_above_hull(refuted) - 0.05) < 1e-12
    assert stratum_of(refuted, 0.1) == "sun"


def test_the_budget_is_split_sixty_twenty_twenty() -> None:
    strata = {name: [f"{name}{number}" for number in range(100)] for name in STRATA}
    samples, new = draw(strata, (), 30, 0)
    assert {name: len(sample) for name, sample in samples.items()} == {"sun": 18, "unstable": 6, "rejected": 6}
    assert len(new) == 30


@given(POPULATIONS, st.integers(0, 60), st.integers(0, 20), st.integers(0, 5))
def test_a_larger_budget_only_adds(strata: dict[str, list[str]], budget: int, more: int, seed: int) -> None:
    less, new = draw(strata, (), budget, seed)
    larger, new_of_larger = draw(strata, (), budget + more, seed)
    assert all(larger[name][: len(less[name])] == less[name] for name in STRATA)
    assert new_of_larger[: len(new)] == new
    assert len(new) == min(budget, sum(map(len, strata.values())))


@given(POPULATIONS, st.sets(st.integers(0, 79).map(str)), st.integers(0, 30), st.integers(0, 5))
def test_samples_are_beginnings_of_the_order_and_earlier_audits_are_not_computed_again(
    strata: dict[str, list[str]], audited: set[str], budget: int, seed: int
) -> None:
    samples, new = draw(strata, audited, budget, seed)
    assert not audited & set(new)
    assert len(new) <= budget
    for name, sample in samples.items():
        order = order_of(strata[name], seed)
        assert sample == order[: len(sample)]
        assert set(sample) <= audited | set(new)
        assert len(sample) == len(order) or order[len(sample)] not in audited  # nothing free is left out


def test_earlier_audits_add_up_while_a_node_grows() -> None:
    seen: set[str] = set()
    for state in range(1, 6):
        samples, new = draw({"sun": [f"{n}" for n in range(50 * state)]}, seen, 10, 3)
        assert len(new) == 10
        seen |= set(new)
        assert set(samples["sun"]) <= seen
    assert len(samples["sun"]) > 30  # of 250, though each state had ten computed
