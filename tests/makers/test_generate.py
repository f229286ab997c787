"""The share of candidates with an excess of electrons, in the Maker with any family and in the embedded generator's draws."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from generator_contract import li_p_s_examples
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.core import Composition, Lattice, Structure

from coevo.configs.tree import GeneratorConfig
from coevo.makers.generate import conditions_of, sample_within_share, within_share
from coevo.models.contracts import Candidate, Conditions, Example, Sample
from coevo.models.random_crystals.generator import EmbeddedGenerator
from coevo.models.random_crystals.variation import OPERATORS

if TYPE_CHECKING:
    from collections.abc import Iterable

LI_P_S = ("Li", "P", "S")


def crystal(formula: str) -> Structure:
    symbols = [symbol for symbol, n in Composition(formula).get_el_amt_dict().items() for _ in range(int(n))]
    return Structure(Lattice.cubic(8.0), symbols, [[i / len(symbols), 0, 0] for i in range(len(symbols))])


EXCESS, FITTING = crystal("Li3S"), crystal("Li2S")


def candidates(marks: Iterable[bool]) -> list[Candidate]:
    return [Candidate(EXCESS if mark else FITTING, {"number": number}) for number, mark in enumerate(marks)]


def has_excess(candidate: Candidate) -> bool:
    amounts = candidate.structure.composition
    return amounts["Li"] > 3 * amounts["P"] + 2 * amounts["S"] and candidate.structure.composition.reduced_formula != "Li"


@given(st.lists(st.booleans(), max_size=60), st.floats(0, 1))
def test_of_those_that_are_kept_at_most_the_share_has_an_excess(marks: list[bool], share: float) -> None:
    given_ = candidates(marks)
    kept = within_share(given_, share)
    excess = [c for c in kept if has_excess(c)]
    assert len(excess) <= share * len(kept) + 1e-6
    assert [c for c in kept if not has_excess(c)] == [c for c in given_ if not has_excess(c)]
    assert excess == [c for c in given_ if has_excess(c)][: len(excess)]
    if len(excess) < sum(marks):  # one more would be too many
        assert len(excess) + 1 > share * (len(kept) + 1)
    assert within_share(given_, None) == given_


def test_dropped_candidates_are_counted_and_drawn_again() -> None:
    asked = []

    def draw(number: int, seed: int) -> Sample:
        asked.append((number, seed))
        return Sample(candidates([n % 2 == 0 for n in range(number)]), {"too_close": 1})

    sample = sample_within_share(draw, 20, [5, 6, 7], 0.1)
    # ten fit, and one more is a tenth of eleven; of nine more four fit; of five more two, and then one more is too many
    assert asked == [(20, 5), (9, 6), (5, 7)]
    assert len(sample.candidates) == 17
    assert sum(map(has_excess, sample.candidates)) == 1
    assert [c.origin["seed"] for c in sample.candidates] == [5] * 11 + [6] * 4 + [7] * 2
    assert sample.rejected == {"too_close": 3, "electron_excess": 9 + 5 + 3}


def test_without_a_share_nothing_is_dropped() -> None:
    sample = sample_within_share(lambda n, _: Sample(candidates([True] * n), {}), 4, [5, 6], None)
    assert (len(sample.candidates), sample.rejected) == (4, {})


@pytest.fixture(scope="module")
def greedy() -> EmbeddedGenerator:
    """A generator that has learned from phases of much lithium, by which it draws more of them and varies them."""
    sites = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5]]
    rich = [Example(f"rich {n}", Structure(Lattice.cubic(4.3 + n / 50), ["S", "Li", "Li", "Li"], sites), 0.0) for n in range(20)]
    found, _ = EmbeddedGenerator.initial(GeneratorConfig()).fit([*li_p_s_examples(), *rich], 0)
    return found


def test_the_embedded_generator_draws_within_the_share(greedy: EmbeddedGenerator) -> None:
    share, n = 0.15, 20
    free = Conditions(LI_P_S, max_atoms=6, chemical_systems={"Li-P-S": 0.4, "Li-S": 0.6})
    before, sample = (greedy.sample(n, c, 3) for c in (free, replace(free, electron_excess_share=share)))
    assert sum(map(has_excess, before.candidates)) > 4  # what there is to limit
    marks = [has_excess(c) for c in sample.candidates]
    assert len(marks) == n
    assert sum(marks) > 0
    assert all(sum(marks[:first]) <= share * first for first in range(n + 1))
    assert sample.rejected["electron_excess"] > 0
    assert within_share(sample.candidates, share) == sample.candidates
    # what fits is what it is without a limit, and what replaces the others is of the same systems and by the same operators
    drawn_before = {c.origin["draw"]: c for c in before.candidates}
    both = [(c, drawn_before[c.origin["draw"]]) for c in sample.candidates if c.origin["draw"] in drawn_before]
    assert len(both) > n / 2
    for now, then in both:
        assert now.structure.composition.chemical_system == then.structure.composition.chemical_system
        assert (now.origin["operator"] in OPERATORS) == (then.origin["operator"] in OPERATORS)
        assert has_excess(then) or now.structure == then.structure


def test_a_longer_sample_within_the_share_begins_with_the_shorter() -> None:
    conditions = Conditions(LI_P_S, max_atoms=6, electron_excess_share=0.2)
    generator = EmbeddedGenerator.initial(GeneratorConfig())
    longer, shorter = (generator.sample(n, conditions, 1).candidates for n in (10, 6))
    assert [c.structure for c in longer[:6]] == [c.structure for c in shorter]


def test_where_every_formula_asked_for_has_an_excess_none_comes() -> None:
    conditions = Conditions(("Li", "S"), max_atoms=6, compositions=("Li3S",), electron_excess_share=0.0)
    sample = EmbeddedGenerator.initial(GeneratorConfig()).sample(2, conditions, 0)
    assert sample.candidates == []
    assert sample.rejected["electron_excess"] > 0


def test_the_configuration_asks_for_the_share() -> None:
    from coevo.configs.loading import load_config

    config = load_config("li-p-s-demo").config
    assert conditions_of(config.node, config.generator).electron_excess_share == 0.05


def test_a_checkpoint_without_a_share_is_that_of_an_earlier_version() -> None:
    settings = json.loads(EmbeddedGenerator.initial(GeneratorConfig()).knowledge.to_bytes())["settings"]
    assert "electron_excess_share" not in settings
    limited = EmbeddedGenerator.initial(GeneratorConfig(electron_excess_share=0.05))
    assert json.loads(limited.knowledge.to_bytes())["settings"] == {**settings, "electron_excess_share": 0.05}
