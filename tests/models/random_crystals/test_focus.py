"""Depth: which formulas come into focus, that their draws are shared evenly, and that nothing changes without it."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from functools import lru_cache
from types import SimpleNamespace

import pytest
from generator_contract import LI_P_S, li_p_s_examples, same_sample
from hypothesis import given
from hypothesis import strategies as st

from coevo.configs.depth_section import DepthConfig
from coevo.configs.element_lists import chemical_systems
from coevo.configs.section import identifying, recorded
from coevo.configs.tree import GeneratorConfig
from coevo.errors import CheckpointError
from coevo.models.contracts import Conditions, Example
from coevo.models.random_crystals.compositions import CompositionTable
from coevo.models.random_crystals.focus import KNOWN, MOST_CELLS, Course, choose, formulas_of, plausibility, score
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


def test_within_an_iteration_the_formulas_in_focus_stay():
    """A fit between two of its parts counts the round, and would take others."""
    before = fitted()
    bred, _ = before.fit(examples(gamma=0.0), 0)
    assert set(names(bred.knowledge)) != set(names(before.knowledge))
    kept = bred.keep_focus(before, CONDITIONS)
    assert set(names(kept.knowledge)) == set(names(before.knowledge))
    assert Knowledge.model_validate_json(kept.knowledge.to_bytes()) == kept.knowledge


def test_a_formula_under_another_name_is_refused(tmp_path):
    knowledge = json.loads(fitted().knowledge.to_bytes())
    knowledge["tracked"]["salt"] = knowledge["tracked"].pop("Li3 P1 S4")
    path = tmp_path / "generator.json"
    path.write_text(json.dumps(knowledge))
    with pytest.raises(CheckpointError, match="amounts of Li3 P1 S4 under another name"):
        read_knowledge(path)


def test_of_many_elements_the_formulas_of_few_atoms_are_compared():
    elements = ("Cl", "F", "Li", "Mg", "Na", "O", "S", "Zn")
    systems = [frozenset(name.split("-")) for name in chemical_systems(elements, 0.9)]
    table = SimpleNamespace(systems=systems, conditions=Conditions(elements, 24), wants=lambda key: True)
    found = formulas_of(table)
    assert "Cl1 Na1" in found
    assert 10_000 < len(found) <= MOST_CELLS


def test_in_a_mixture_the_draws_of_the_embedded_generator_are_shared():
    """A quarter of 200 draws, half of them in focus: two formulas have ten draws each; of all 200 it would be ten."""
    section = GENERATOR.model_copy(update={"candidates": 200, "mixture": {"embedded": 1.0, "mattergen": 3.0}})
    assert section.depth.number(section.of_family("embedded").candidates) == 2
    plain = section.model_copy(update={"depth": DepthConfig()})
    assert plain.of_family("embedded").candidates == 200


def test_even_cells_leave_a_formula_its_share_and_draw_its_small_cells():
    """Zn-S up to 8 atoms: ZnS has one to four units. Squares of 2, 4, 6, 8 atoms are 4, 16, 36, 64 of 120."""
    conditions = Conditions(("S", "Zn"), max_atoms=8)

    def shares(**depth: bool) -> tuple[float, list[float]]:
        settings = GeneratorConfig(depth=DepthConfig(**depth))
        rows, weights = CompositionTable(Knowledge(settings=settings), conditions).table(frozenset({"S", "Zn"}))
        own = {row["Zn"]: w / weights.sum() for row, w in zip(rows, weights, strict=True) if row["Zn"] == row["S"]}
        return sum(own.values()), [own[n] / sum(own.values()) for n in (1, 2, 3, 4)]

    (large, by_size), (total, even) = shares(), shares(even_cells=True)
    assert total == pytest.approx(large)
    assert by_size == pytest.approx([4 / 120, 16 / 120, 36 / 120, 64 / 120])
    assert even == pytest.approx([1 / 3.4, 1 / 3.4, 0.4 / 3.4, 1 / 3.4])
