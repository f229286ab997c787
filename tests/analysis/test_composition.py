from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Composition, Lattice, Structure

from coevo.analysis.composition import as_composition, chemical_system, fractions, reduced_formula
from coevo.errors import AnalysisError, CoevoError


def test_fractions_of_every_kind_of_source(li2s):
    rows = fractions(["Li3PS4", Composition("P2S5"), li2s, {"Li": 3.0}, "Li+3 P5+ S2-4"[:2]], ("Li", "P", "S"))
    assert rows == pytest.approx(np.array([[3 / 8, 1 / 8, 1 / 2], [0, 2 / 7, 5 / 7], [2 / 3, 0, 1 / 3], [1, 0, 0], [1, 0, 0]]))
    assert fractions(["Li3PS4"], ("S", "Li", "P"))[0] == pytest.approx([1 / 2, 3 / 8, 1 / 8])
    assert fractions([], ("Li", "P", "S")).shape == (0, 3)


def test_oxidation_states_are_dropped(li2s):
    charged = li2s.copy()
    charged.add_oxidation_state_by_element({"Li": 1, "S": -2})
    assert fractions([charged], ("Li", "S"))[0] == pytest.approx([2 / 3, 1 / 3])
    assert chemical_system(charged) == "Li-S"


def test_foreign_element_and_nonsense_are_named():
    with pytest.raises(AnalysisError, match=r"Na1 Cl1 contains .* allowed elements: Li, P, S"):
        fractions(["NaCl"], ("Li", "P", "S"))
    with pytest.raises(CoevoError, match="cannot read a composition"):
        fractions(["Li3PS4)("], ("Li", "P", "S"))
    with pytest.raises(ValueError, match="empty"):
        fractions([Structure(Lattice.cubic(3), [], [])], ("Li",))


def test_fast_and_careful_ways_agree_to_the_bit(random_crystals, li2s):
    charged = li2s.copy()
    charged.add_oxidation_state_by_element({"Li": 1, "S": -2})
    mixed = Structure(
        Lattice.cubic(4), [{"Li+": 0.3, "P5+": 0.7}, "S2-", {"Li+": 0.5}], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0, 0]]
    )
    sources = [*random_crystals, charged, mixed, mixed.composition, li2s.composition, Composition({"Li": 1e-9, "S": 1.0})]
    elements = ("Li", "P", "S")
    careful = [[as_composition(s)[symbol] for symbol in elements] for s in sources]
    expected = np.array([np.array(row) / np.array(row).sum() for row in careful])
    assert (fractions(sources, elements) == expected).all()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Structure(Lattice.cubic(4), ["Na", "S"], [[0, 0, 0], [0.5, 0.5, 0.5]]), "Na1 S1 contains Na; allowed elements: Li, S"),
        (Composition({"Li": -1, "S": 2}, allow_negative=True), "cannot read a composition"),
        (Structure(Lattice.cubic(4), ["X0+"], [[0, 0, 0]]), "contains X"),
        ({}, "empty"),
        (None, "cannot read a composition"),
        (7, "cannot read a composition|contains"),
    ],
)
def test_errors_are_those_of_the_careful_way(source, message):
    with pytest.raises(AnalysisError, match=message):
        fractions([source], ("Li", "S"))


def test_names():
    assert chemical_system("S4PLi3") == "Li-P-S"
    assert reduced_formula("Li6P2S8") == "Li3PS4"
