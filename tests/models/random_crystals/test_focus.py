"""Depth: which formulas come into focus, that their draws are shared evenly, and that nothing changes without it."""

from __future__ import annotations

import math
import random
from collections import Counter
from functools import lru_cache

import pytest
from generator_contract import LI_P_S, li_p_s_examples, same_sample
from hypothesis import given
from hypothesis import strategies as st

from coevo.configs.depth_section import DepthConfig
from coevo.configs.section import identifying, recorded
from coevo.configs.tree import GeneratorConfig
from coevo.models.contracts import Conditions, Example
from coevo.models.random_crystals.focus import KNOWN, Course, choose, formulas_of, plausibility, score
from coevo.models.random_crystals.generator import EmbeddedGenerator
from coevo.models.random_crystals.knowledge import Knowledge, Tracked, formula_key, read_knowledge

GENERATOR = GeneratorConfig(candidates=60, max_atoms=12, depth=DepthConfig(share=0.5, draws=10))
CONDITIONS = Conditions(LI_P_S, max_atoms=12, chemical_systems={"Li-P-S": 0.7, "Li-S": 0.2, "Li-P": 0.1})


def examples(*, gamma: float = 0.02, known: bool = False) -> list[Example]:
    """The references, and γ-Li3PS4 as an entry, or as one more of them."""
    return [
        Example(e.id, e.structure, gamma, known=known)
        if e.id == "gamma"
        else Example(e.id, e.structure, e.energy_above_hull, known=e.id != "bad")
        for e in li_p_s_examples()
    ]


@lru_cache(maxsize=1)
def fitted() -> EmbeddedGenerator:
    return EmbeddedGenerator.initial(GENERATOR).fit(examples(), 0)[0]


def names(knowledge: Knowledge, conditions: Conditions = CONDITIONS) -> list[str]:
    return [formula_key(f.amounts) for f in choose(knowledge, conditions)]


@given(share=st.floats(0.05, 1.0), number=st.integers(1, 30), seed=st.integers(0, 2**32 - 1), n=st.integers(1, 500))
def test_a_course_has_its_share_and_each_formula_its_own(share, number, seed, n):
    course = Course(share, number, seed)
    counts = Counter(course.formula(k) for k in range(n))
    del counts[None]
    assert abs(counts.total() - share * n) <= 1 + 1e-6
    # multiples of the golden ratio: N points differ from N times the length of an interval by no more than about ln N
    assert all(abs(counts[f] - counts.total() / number) <= 2 + math.log(n + 1) for f in range(number))


def test_the_draws_of_a_formula_add_up_over_shards():
    shards = [Course(0.6, 7, seed) for seed in range(20)]
    counts = Counter(course.formula(k) for course in shards for k in range(50))
    assert counts[None] == pytest.approx(400, abs=20)
    assert min(counts[f] for f in range(7)) > 0.8 * 600 / 7
    assert max(counts[f] for f in range(7)) < 1.2 * 600 / 7


@pytest.mark.parametrize(
    ("share", "draws", "formulas", "number"), [(0.5, 10, 30, 3), (0.5, 60, 30, 1), (1.0, 1, 30, 30), (0.0, 1, 30, 0)]
)
def test_fewer_formulas_where_not_all_can_have_their_draws(share, draws, formulas, number):
    assert DepthConfig(share=share, draws=draws, formulas=formulas).number(60) == number


def test_the_formulas_do_not_depend_on_the_order_of_examples():
    shuffled = examples()
    random.Random(1).shuffle(shuffled)
    other, report = EmbeddedGenerator.initial(GENERATOR).fit(shuffled, 5)
    assert other.knowledge.to_bytes() == fitted().knowledge.to_bytes()
    assert names(other.knowledge) == names(fitted().knowledge)
    assert [f["formula"] for f in report["focus"]] == names(
        fitted().knowledge,
        Conditions(LI_P_S, max_atoms=12, chemical_systems={"Li-P-S": 0.75, "Li-P": 0.25 / 3, "Li-S": 0.25 / 3, "P-S": 0.25 / 3}),
    )


def test_a_good_draw_comes_into_focus_and_a_known_phase_hardly():
    assert names(fitted().knowledge)[0] == "Li3 P1 S4"
    known = EmbeddedGenerator.initial(GENERATOR).fit(examples(gamma=0.0, known=True), 0)[0]
    assert names(known.knowledge)[0] != "Li3 P1 S4"
    assert "Li2 S1" not in names(known.knowledge)


def test_no_formula_in_focus_has_an_electron_excess():
    assert plausibility({"Li": 7, "S": 3}) == 0.0
    assert plausibility({"Li": 3, "P": 1, "S": 4}) == pytest.approx(math.exp(-8 / 12))
    assert 0 < plausibility({"Li": 3, "P": 7}) < plausibility({"Li": 3, "P": 1}), "bonds between like atoms may balance it"
    wide = fitted().knowledge.model_copy(
        update={"settings": GENERATOR.model_copy(update={"depth": DepthConfig(share=1, draws=1)})}
    )
    chosen = choose(wide, CONDITIONS)
    assert len(chosen) == 30
    assert all(f.amounts.get("Li", 0) <= 3 * f.amounts.get("P", 0) + 2 * f.amounts.get("S", 0) for f in chosen)


def test_the_score_is_an_upper_confidence_bound():
    def of(**more):
        return score(Tracked(amounts={"Li": 1}, **more), 0.3, 0.5, 10, 4)[0]

    assert of(lowest=0.01) > of(lowest=0.05) > of(lowest=0.3), "what is lower promises more"
    assert of(lowest=0.01, rounds=1) > of(lowest=0.01, rounds=1, since=1) > of(lowest=0.01, rounds=2, since=2)
    assert of(examples=100) < of(examples=10) < of() == score(None, 0.3, 0.5, 10, 4)[0]
    assert of(lowest=0.0, known=True) == pytest.approx(KNOWN * of(lowest=0.0))
    # by hand: promise exp(-0.05/0.05)/(1+1), pulls 1 + 10/10
    by_hand = math.exp(-1) / 2 + 0.5 * 0.5 * math.sqrt(math.log(math.e + 4) / 3)
    assert of(lowest=0.05, rounds=1, since=1, examples=10) == pytest.approx(by_hand)


def test_rounds_are_counted_on_and_begin_anew_with_a_better_example():
    first = fitted().knowledge
    assert all(t.rounds == 0 for t in first.tracked.values())
    drawn = [f["formula"] for f in EmbeddedGenerator(first).fit(examples(), 0)[1]["focus"]]
    second = EmbeddedGenerator(first).fit(examples(), 0)[0].knowledge
    assert sum(t.rounds for t in second.tracked.values()) == 3, "the three that were in focus"
    assert (second.tracked["Li3 P1 S4"].rounds, second.tracked["Li3 P1 S4"].since) == (1, 1)
    assert drawn
    better = [*examples(), Example("better", li_p_s_examples()[2].structure, 0.001)]
    third = EmbeddedGenerator(second).fit(better, 0)[0].knowledge
    assert third.tracked["Li3 P1 S4"].best == "better"
    assert third.tracked["Li3 P1 S4"].since == 0
    assert third.tracked["Li3 P1 S4"].rounds >= 1
    lost = EmbeddedGenerator(third).fit([e for e in better if e.structure.composition.reduced_formula != "Li3PS4"], 0)[0]
    assert lost.knowledge.tracked["Li3 P1 S4"].lowest is None
    assert lost.knowledge.tracked["Li3 P1 S4"].rounds >= 1, "what was drawn is not forgotten"


def test_formulas_that_conditions_admit():
    asked = Conditions(LI_P_S, max_atoms=12, compositions=("Li2S", "Li3PS4"))
    assert set(names(fitted().knowledge, asked)) == {"Li2 S1", "Li3 P1 S4"}
    from coevo.models.random_crystals.compositions import CompositionTable

    few = formulas_of(CompositionTable(Knowledge(settings=GENERATOR), Conditions(("Li", "S"), max_atoms=4)))
    assert set(few) == {"Li1 S1", "Li2 S1", "Li1 S2", "Li3 S1", "Li1 S3"}
    assert EmbeddedGenerator.initial(GENERATOR).sample(2, Conditions(LI_P_S, max_atoms=1), 0).candidates == []


def test_half_of_a_sample_is_of_the_formulas_in_focus():
    sample = fitted().sample(24, CONDITIONS, 3)
    chosen = {formula_key(f.amounts) for f in choose(fitted().knowledge, CONDITIONS)}
    focused = [c for c in sample.candidates if c.origin.get("focus")]
    assert len(focused) == pytest.approx(12, abs=2)

    def reduced(c):
        return formula_key({s: round(n) for s, n in c.structure.composition.reduced_composition.get_el_amt_dict().items()})

    assert {reduced(c) for c in focused} == chosen
    assert all(len(c.structure) <= 12 for c in sample.candidates)


@pytest.mark.long
def test_workers_have_the_same_formulas_in_focus():
    assert same_sample(fitted().sample(8, CONDITIONS, 3, workers=2), fitted().sample(8, CONDITIONS, 3))


def test_a_draw_that_explores_is_the_one_that_it_was(tmp_path):
    """The draws between those in focus are those of a generator without depth."""
    plain = GENERATOR.model_copy(update={"depth": DepthConfig()})
    path = tmp_path / "checkpoint"
    fitted().save(path)
    without = EmbeddedGenerator.load(path, plain).sample(16, CONDITIONS, 7)
    both = {c.origin["draw"]: c for c in fitted().sample(16, CONDITIONS, 7).candidates if not c.origin.get("focus")}
    assert both
    for candidate in without.candidates:
        if candidate.origin["draw"] in both:
            assert candidate.structure == both[candidate.origin["draw"]].structure


def test_without_depth_a_checkpoint_and_its_key_are_those_of_before(tmp_path):
    plain = GeneratorConfig(candidates=60, max_atoms=12)
    knowledge = EmbeddedGenerator.initial(plain).fit(examples(), 0)[0].knowledge
    assert b"tracked" not in knowledge.to_bytes()
    assert b"depth" not in knowledge.to_bytes()
    for described in (recorded, identifying):
        assert "depth" not in described(plain)
        assert described(GENERATOR)["depth"]["share"] == 0.5
    other = GENERATOR.model_copy(update={"family": "mattergen"})
    assert "depth" not in identifying(other), "it is of the embedded generator"
    path = tmp_path / "checkpoint"
    fitted().save(path)
    assert read_knowledge(path) == fitted().knowledge
