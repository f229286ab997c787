"""Hulls at temperature against pymatgen's phase diagram, and transitions between polymorphs whose temperature is known."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
from pymatgen.core import Composition

from coevo.analysis.phonons.hulls import hull_at, transitions

FORMULAS = {"li": "Li", "s": "S", "a": "Li2S", "b": "Li2S", "c": "LiS4"}
ENERGIES = {"li": -1.9, "s": -4.1, "a": -4.0, "b": -3.9, "c": -3.8}


def test_the_hull_is_that_of_pymatgen() -> None:
    found = hull_at(["Li", "S"], FORMULAS, ENERGIES)
    entries = {name: PDEntry(Composition(f), ENERGIES[name] * Composition(f).num_atoms) for name, f in FORMULAS.items()}
    diagram = PhaseDiagram(entries.values())
    expected = {name: diagram.get_e_above_hull(entry) for name, entry in entries.items()}
    assert found.above == pytest.approx(expected, abs=1e-9)
    assert found.stable == ["li", "s", "a"]


def test_phases_without_a_free_energy_take_no_part() -> None:
    found = hull_at(["Li", "S"], FORMULAS, ENERGIES | {"a": None})
    assert found.stable == ["li", "s", "b"]
    assert "a" not in found.above


def test_without_a_phase_of_an_element_phases_are_compared_with_those_that_there_are() -> None:
    """LiS4 is 0.3 Li2S and 0.7 S by atoms: 0.3 · −4.0 + 0.7 · −4.1 = −4.07 eV/atom, with or without lithium."""
    found = hull_at(["Li", "S"], FORMULAS, ENERGIES | {"li": None})
    assert found.missing == ("Li",)
    assert found.above == pytest.approx({"s": 0.0, "a": 0.0, "b": 0.1, "c": 0.27}, abs=1e-9)
    whole = hull_at(["Li", "S"], FORMULAS, ENERGIES)
    assert whole.missing == ()
    assert {name: whole.above[name] for name in found.above} == pytest.approx(found.above, abs=1e-9)
    alone = hull_at(["Li", "S"], FORMULAS, {"b": -3.9, "c": -3.8})
    assert (alone.missing, alone.stable) == (("Li", "S"), ["b", "c"])
    assert hull_at(["Li", "S"], FORMULAS, dict.fromkeys(FORMULAS)).reason == "no phase has a free energy"


def test_a_transition_has_its_temperature_and_the_band_of_its_error() -> None:
    """G falls by 0.02 meV/K from 10 meV above: equal at 500 K, and as far apart as errors of 1 meV each at 70.7 K from it."""
    temperatures = np.arange(0.0, 901.0, 90.0)
    energies = {"gamma": [0.0] * 11, "beta": list(0.010 - 2e-5 * temperatures)}
    errors = {"gamma": [0.001] * 11, "beta": [0.001] * 11}
    (found,) = transitions(temperatures, energies, errors)
    assert (found.before, found.after) == ("gamma", "beta")
    assert found.temperature == pytest.approx(500.0)
    assert (found.low, found.high) == pytest.approx((500 - 70.71, 500 + 70.71), abs=0.01)


def test_a_band_that_does_not_end_within_the_temperatures_is_open() -> None:
    temperatures = [0.0, 400.0, 600.0]
    energies = {"a": [0.0] * 3, "b": list(0.010 - 2e-5 * np.array(temperatures))}
    (found,) = transitions(temperatures, energies, {"a": [0.02] * 3, "b": [0.0] * 3})
    assert found.temperature == pytest.approx(500.0)
    assert (found.low, found.high) == (None, None)


def test_a_refused_free_energy_is_no_transition() -> None:
    energies = {"a": [0.0, None, None], "b": [0.01, 0.01, 0.01]}
    assert transitions([0.0, 100.0, 200.0], energies, {"a": [0.0, None, None], "b": [0.0] * 3}) == []
