"""Compositions learned from examples and drawn for a request: shares, numbers of formula units, and what is new."""

from __future__ import annotations

import importlib
import json
import math
from collections import Counter

import pytest

from coevo.models.external.families import HERE


@pytest.fixture(scope="module")
def compositions():
    """The module that is copied beside the runners, imported as they do it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE / "runners"))
        yield importlib.import_module("coevo_compositions")


def example(energy=0.0, **amounts):
    return {"species": [symbol for symbol, n in amounts.items() for _ in range(n)], "energy_above_hull": energy}


EXAMPLES = [
    *[example(Li=2, S=1)] * 4,
    example(Li=8, S=4),
    example(Li=6, P=2, S=8),
    example(0.1, Li=3, P=1, S=4),
    example(Li=2),
    example(1.5, Li=1, P=1),
]


def conditions(elements=("Li", "P", "S"), max_atoms=16, systems=None, formulas=()):
    return {"elements": list(elements), "max_atoms": max_atoms, "chemical_systems": systems or {}, "compositions": list(formulas)}


def counted(found, n=2000, seed=7):
    draws = [found.draw(seed, index) for index in range(n)]
    return draws, Counter(draw.formula for draw in draws)


class TestTheTable:
    def test_units_and_weights_are_those_of_the_examples(self, compositions):
        table = compositions.learned(EXAMPLES, 0.3)
        assert {formula: set(row) for formula, row in table.items()} == {"Li2S": {"1", "4"}, "Li3PS4": {"1", "2"}, "Li": {"2"}}
        # √5, √(1 + 1/e) and 1, over their sum; within a formula by exp(−E/0.1 eV)
        roots = {"Li2S": math.sqrt(5), "Li3PS4": math.sqrt(1 + math.exp(-1)), "Li": 1.0}
        for formula, root in roots.items():
            assert sum(table[formula].values()) == pytest.approx(root / sum(roots.values()), rel=1e-5)
        assert table["Li2S"]["1"] == pytest.approx(4 * table["Li2S"]["4"], rel=1e-5)
        assert table["Li3PS4"]["1"] == pytest.approx(math.exp(-1) * table["Li3PS4"]["2"], rel=1e-5)

    def test_it_is_json_and_does_not_depend_on_the_order(self, compositions):
        table = compositions.learned(EXAMPLES)
        assert json.loads(json.dumps(table)) == table == compositions.learned(EXAMPLES[::-1])
        assert compositions.learned([]) == {}

    @pytest.mark.parametrize(
        "table",
        [
            ["Li"],
            {"Li2S": 1},
            {"Li2S": {"0": 1.0}},
            {"Li2S": {"1": -1.0}},
            {"Li2S": {"1": math.nan}},
            {"Li2S": {"99999999999": 1.0}},
            {"Li2S": {"x": 1.0}},
            {"Li4S2": {"1": 1.0}},
            {"; rm": {"1": 1.0}},
            {"Li0S": {"1": 1.0}},
        ],
    )
    def test_another_one_is_refused(self, compositions, table):
        with pytest.raises(ValueError, match=r"formula|table"):
            compositions.Compositions(conditions(), table)


class TestDraws:
    def test_systems_share_the_draws_and_formulas_their_system(self, compositions):
        table = compositions.learned(EXAMPLES, 0.3)
        systems = {"Li-P-S": 0.5, "Li-S": 0.3, "Li": 0.2, "Na-S": 5.0, "P": 0.0}
        found = compositions.Compositions(conditions(systems=systems), table, new_share=0.0)
        assert found.systems == {"Li-P-S", "Li-S", "Li"}
        draws, formulas = counted(found)
        assert {draw.source for draw in draws} == {"learned"}
        # four standard deviations of 2000 draws
        assert Counter(draw.system for draw in draws)["Li-P-S"] / 2000 == pytest.approx(0.5, abs=0.045)
        assert set(formulas) == {"Li2", "Li2S", "Li8S4", "Li3PS4", "Li6P2S8"}
        assert formulas["Li2S"] / (formulas["Li2S"] + formulas["Li8S4"]) == pytest.approx(0.8, abs=0.065)
        draw = next(draw for draw in draws if draw.formula == "Li6P2S8")
        assert (draw.atoms, draw.species()) == (16, ["Li"] * 6 + ["P"] * 2 + ["S"] * 8)

    def test_a_share_is_new_at_numbers_of_atoms_that_the_examples_have(self, compositions):
        found = compositions.Compositions(conditions(), compositions.learned(EXAMPLES, 0.3), new_share=0.25)
        draws, _ = counted(found)
        new = [draw for draw in draws if draw.source == "new"]
        assert len(new) / 2000 == pytest.approx(0.25, abs=0.04)
        assert {draw.atoms for draw in new} == {3, 8, 12, 16}
        assert all(set(draw.amounts) == {"Li", "P", "S"} and min(draw.amounts.values()) > 0 for draw in new)

    def test_before_any_fit_every_way_to_share_the_atoms_is_as_likely(self, compositions):
        draws, formulas = counted(compositions.Compositions(conditions(("Li", "P", "S"), 20), atoms={5: 1.0, 30: 9.0}), 3000)
        assert {draw.source for draw in draws} == {"new"}
        # six ways to write 5 as a sum of three positive numbers
        assert len(formulas) == 6
        assert all(count / 3000 == pytest.approx(1 / 6, abs=0.028) for count in formulas.values())
        sizes = Counter(draw.atoms for draw in counted(compositions.Compositions(conditions(("Li", "S"), 6)), 1000)[0])
        assert set(sizes) == {2, 3, 4, 5, 6}

    def test_formulas_asked_for_are_the_only_ones(self, compositions):
        table = compositions.learned(EXAMPLES, 0.3)
        found = compositions.Compositions(conditions(formulas=("S4P1Li3", "Li4P2S6", "Na2S"), max_atoms=20), table)
        draws, formulas = counted(found)
        # of Li3PS4 the examples' units; of Li2PS3 units with 12 atoms, which examples have, 6 and 18 atoms none
        assert set(formulas) == {"Li3PS4", "Li6P2S8", "Li4P2S6"}
        assert {draw.source for draw in draws} == {"asked"}
        assert formulas["Li4P2S6"] / 2000 == pytest.approx(0.5, abs=0.045)
        alone = compositions.Compositions(conditions(formulas=("Li3P",), max_atoms=9))
        assert set(counted(alone, 100)[1]) == {"Li3P", "Li6P2"}

    def test_systems_and_formulas_together(self, compositions):
        found = compositions.Compositions(conditions(systems={"Li-P-S": 1.0}, formulas=("Li2S", "Li3PS4")))
        assert set(counted(found, 50)[1]) == {"Li3PS4", "Li6P2S8"}

    @pytest.mark.parametrize(
        "given",
        [
            conditions(formulas=("Li7P3S11",), max_atoms=4),
            conditions(systems={"Na": 1.0}),
            conditions(max_atoms=2),
            conditions(("Li", "S"), formulas=("Li3P",)),
        ],
    )
    def test_what_is_impossible_is_said(self, compositions, given):
        found = compositions.Compositions(given)
        assert not found.possible
        with pytest.raises(ValueError, match="no composition"):
            found.draw(0, 0)

    def test_a_draw_depends_on_seed_and_index_only(self, compositions):
        found = compositions.Compositions(conditions(), compositions.learned(EXAMPLES))
        again = compositions.Compositions(conditions(), json.loads(json.dumps(compositions.learned(EXAMPLES))))
        assert [found.draw(3, k) for k in (5, 0, 9)] == [again.draw(3, k) for k in (5, 0, 9)]
        assert [found.draw(3, k) for k in range(20)] != [found.draw(4, k) for k in range(20)]
