"""Charges of units, read off crystals of which they are known, and the formulas that they balance."""

from __future__ import annotations

import pytest
from generator_contract import LI_P_S, li_p_s_examples
from pymatgen.core import Lattice, Structure

from coevo.configs.depth_section import DepthConfig
from coevo.configs.references import load_references
from coevo.configs.tree import GeneratorConfig
from coevo.models.contracts import Example
from coevo.models.random_crystals.focus import WITHOUT_UNITS, plausibility
from coevo.models.random_crystals.generator import EmbeddedGenerator
from coevo.models.random_crystals.unit_charges import UnitBalance, charges_of, simple_charge

THIOPHOSPHATES = UnitBalance({"P1S4": -3, "P2S7": -4, "P2S6": -4, "P4S3": 0, "P7": -3})


def structures(*names: str) -> list[Structure]:
    references = {r.name: r.structure for r in load_references("li-p-s", LI_P_S)}
    return [references[name] for name in names]


def test_charges_of_known_units():
    assert charges_of(structures("Li7PS6 (cubic argyrodite model)")) == {"P1S4": -3}, "beside two sulfides"
    assert charges_of(structures("P4S3", "Li2S")) == {"P4S3": 0}
    assert charges_of(structures("Li7P3S11")) == {"P1S4": -3, "P2S7": -4}, "two kinds together, by the states of their atoms"
    assert charges_of(structures("Li2S", "Li bcc")) == {}


def test_charges_of_another_chemistry():
    x = 1.48 / 3**0.5 / 7.0
    sulfate = Structure.from_spacegroup(
        "F-43m", Lattice.cubic(7.0), ["S", "O", "Na", "Na"], [[0, 0, 0], [x, x, x], [0.25, 0.25, 0.25], [0.75, 0.75, 0.75]]
    )
    assert charges_of([sulfate]) == {"O4S1": -2}
    assert UnitBalance({"O4S1": -2}).balances({"Mg": 1, "S": 1, "O": 4})
    assert not UnitBalance({"O4S1": -2}).balances({"Na": 1, "S": 1, "O": 4})


def test_an_ion_whose_charge_is_open_tells_nothing():
    assert (simple_charge("Li"), simple_charge("S"), simple_charge("Mg"), simple_charge("Cl")) == (1, -2, 2, -1)
    assert simple_charge("Fe") is None
    assert not THIOPHOSPHATES.balances({"Fe": 3, "P": 2, "S": 8})


@pytest.mark.parametrize(
    ("amounts", "balanced"),
    [
        ({"Li": 3, "P": 1, "S": 4}, True),
        ({"Li": 7, "P": 1, "S": 6}, True),
        ({"Li": 7, "P": 3, "S": 11}, True),
        ({"Li": 2, "P": 1, "S": 3}, True),
        ({"Li": 3, "P": 7}, True),
        ({"P": 4, "S": 3}, True),
        ({"Li": 5, "P": 1, "S": 4}, False),
        ({"Li": 1, "P": 2, "S": 2}, False),
        ({"Li": 4, "P": 1, "S": 4}, True),
        ({"Li": 6, "P": 1, "S": 4}, False),
        ({"P": 1, "S": 1}, False),
    ],
)
def test_what_units_balance(amounts, balanced):
    """By hand: Li7PS6 has two sulfides, Li7P3S11 two kinds of units, Li2PS3 half a P2S6, Li4PS4 that and a sulfide."""
    assert THIOPHOSPHATES.balances(amounts) == balanced


def test_units_count_in_plausibility():
    amounts = {"Li": 5, "P": 1, "S": 4}  # of phosphorus with the state 3
    assert plausibility(amounts, THIOPHOSPHATES) == pytest.approx(WITHOUT_UNITS * plausibility(amounts))
    assert plausibility({"Li": 3, "P": 7}, THIOPHOSPHATES) > plausibility({"Li": 3, "P": 7})
    assert plausibility({"Li": 2, "S": 1}, THIOPHOSPHATES) == plausibility({"Li": 2, "S": 1})


def test_a_fit_keeps_charges_only_with_depth():
    examples = [Example(e.id, e.structure, e.energy_above_hull) for e in li_p_s_examples()]
    deep = EmbeddedGenerator.initial(GeneratorConfig(depth=DepthConfig(share=0.5), max_atoms=8)).fit(examples, 0)
    assert deep[0].knowledge.charges == deep[1]["unit_charges"] == {"P1S4": -3}
    plain = EmbeddedGenerator.initial(GeneratorConfig()).fit(examples, 0)
    assert plain[0].knowledge.charges == {}
    assert "unit_charges" not in plain[1]
