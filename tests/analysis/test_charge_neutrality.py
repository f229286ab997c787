from __future__ import annotations

from collections import Counter

import pytest

from coevo.analysis import composition
from coevo.analysis.composition import is_charge_neutral
from coevo.errors import AnalysisError


@pytest.mark.parametrize("formula", ["Li2S", "Li3PS4", "Li7P3S11", "P2S5", "Li3P", "NaCl", "Fe2O3", "S", "P", "FeAl", "MnFeRuO4"])
def test_neutral(formula):
    assert is_charge_neutral(formula)


@pytest.mark.parametrize("formula", ["Li5P", "LiP7", "P4S3", "Li10P3S12", "Fe3O4", "NaHe", "Na2Cl"])
def test_not_neutral(formula):
    assert not is_charge_neutral(formula)


def test_the_set_of_oxidation_states_matters():
    # A -3 state of phosphorus is not in pymatgen's statistics of species.
    assert is_charge_neutral("Li3P")
    assert not is_charge_neutral("Li3P", oxidation_states="pymatgen_sp")


def test_same_answer_for_every_way_to_write_a_composition(li3ps4):
    charged = li3ps4.copy()
    charged.add_oxidation_state_by_element({"Li": 1, "P": 5, "S": -2})
    before = composition._is_neutral.cache_info().currsize
    assert all(
        is_charge_neutral(source)
        for source in ("Li3PS4", "S8P2Li6", li3ps4, charged, {"S": 4, "P": 1, "Li": 3}, Counter(S=8, Li=6, P=2))
    )
    assert composition._is_neutral.cache_info().currsize <= before + 1


def test_errors(monkeypatch):
    with pytest.raises(AnalysisError, match="no whole number of atoms"):
        is_charge_neutral("Li2S0.5")
    with pytest.raises(AnalysisError, match="oxidation states 'guess'"):
        is_charge_neutral("Li2S", oxidation_states="guess")
    with pytest.raises(AnalysisError, match="empty"):
        is_charge_neutral({})
    monkeypatch.setattr(composition, "smact_version", lambda: None)
    with pytest.raises(AnalysisError, match=r"pip install 'coevo\[analyse\]'"):
        is_charge_neutral("Li2S")
