from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.analysis.compatibility import MaterialsProject2020Compatibility
from pymatgen.analysis.compatibility.computed_entries import ComputedStructureEntry
from pymatgen.core import Composition, Lattice, Structure

from coevo.analysis.composition import fractions
from coevo.analysis.hull.energy_scale import (
    Offsets,
    anion_correction,
    composition_correction,
    fit_offsets,
    needs_anion_correction,
)
from coevo.errors import AnalysisError

SYSTEM = ("Li", "P", "S")


def test_li_p_s(known_phases):
    for name in ("Li bcc", "Li2S", "P black", "Li3P", "P2S5 (P4S10)", "Li7PS6 (cubic argyrodite model)"):
        structure = known_phases[name]
        sulfur = structure.composition["S"] / len(structure) if len(structure.composition) > 1 else 0.0
        assert anion_correction(structure) == pytest.approx(-0.503 * sulfur, abs=1e-12)
    assert anion_correction(known_phases["S mp-96-like (P2/c,32)"]) == 0.0


def rock_salt(a: float, *pair: str) -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(a), pair, [[0, 0, 0], [0.5, 0.5, 0.5]])


@pytest.mark.parametrize(
    ("structure", "per_atom"),
    [
        (rock_salt(5.64, "Na", "Cl"), -0.614 / 2),
        (rock_salt(4.03, "Li", "F"), -0.462 / 2),
        (rock_salt(4.21, "Mg", "O"), -0.687 / 2),
        (Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.62), ["Li", "O"], [[0.25, 0.25, 0.25], [0, 0, 0]]), -0.687 / 3),
        (rock_salt(5.0, "Li", "P"), 0.0),
    ],
)
def test_other_anions(structure, per_atom):
    assert anion_correction(structure) == pytest.approx(per_atom, abs=1e-12)


def test_peroxide_is_told_from_the_distances():
    structure = Structure.from_spacegroup(
        "P6_3/mmc", Lattice.hexagonal(3.14, 7.65), ["Li", "Li", "O"], [[0, 0, 0], [1 / 3, 2 / 3, 0.75], [1 / 3, 2 / 3, 0.149]]
    )
    assert anion_correction(structure) == pytest.approx(-0.465 / 2, abs=1e-12)


@pytest.mark.parametrize(
    ("formula", "per_atom"),
    [
        ("LiS13", -0.503 * 13 / 14),
        ("P4S9", -0.503 * 9 / 13),
        ("Li3P", 0.0),
        ("S8", 0.0),
        ("Li2O", -0.687 / 3),
        ("Na2O2", -0.465 / 2),
    ],
)
def test_the_correction_of_a_composition(formula: str, per_atom: float) -> None:
    """Values of Wang et al., Sci. Rep. 11, 15496 (2021), table 2."""
    assert composition_correction(Composition(formula)) == pytest.approx(per_atom, abs=1e-12)


def test_equals_pymatgens_own_processing(known_phases):
    scheme = MaterialsProject2020Compatibility(check_potcar=False)
    for name in ("Li2S", "P4S3", "Li7P3S11"):
        structure = known_phases[name]
        entry = ComputedStructureEntry(structure, 0.0, parameters={"run_type": "GGA", "hubbards": {}, "software": "other"})
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scheme.process_entry(entry)
        assert anion_correction(structure) == pytest.approx(entry.energy / len(structure), abs=1e-12)


def test_who_needs_the_correction():
    assert needs_anion_correction("PBE", anion_corrected=False, energy_scale="mp2020")
    assert not needs_anion_correction("PBE", anion_corrected=True, energy_scale="mp2020")
    assert needs_anion_correction("PBE+U", anion_corrected=False, energy_scale="mp2020")
    for other in ("r2SCAN", "PBE+D3", "PBEsol", "HSE06", "PBE0", "revPBE", "SCAN+rVV10", "LDA"):
        assert not needs_anion_correction(other, anion_corrected=False, energy_scale="mp2020")
    assert not needs_anion_correction("PBE", anion_corrected=False, energy_scale="pbe")


FORMULAS = ["Li", "P", "S", "Li2S", "Li3P", "P2S5", "Li3PS4", "Li7P3S11"]
ELEMENTAL = [True, True, True] + [False] * 5


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_offsets_are_recovered(seed):
    rng = np.random.default_rng(seed)
    x, truth = fractions(FORMULAS, SYSTEM), rng.normal(0, 5, 3)
    labels = rng.normal(-4, 1, len(x))
    offsets, reason = fit_offsets(x, labels + x @ truth, labels, SYSTEM, ELEMENTAL)
    assert reason == ""
    assert offsets.values == pytest.approx(truth, abs=1e-9)
    assert offsets.residual_rms < 1e-9
    assert (offsets.rank, offsets.n) == (3, 8)
    assert offsets.apply(x, labels) == pytest.approx(labels + x @ truth, abs=1e-9)


def test_residual_is_the_rms_of_what_is_left():
    x = fractions(FORMULAS, SYSTEM)
    noise = np.array([0.01, -0.02, 0.01, 0.03, -0.01, 0.0, 0.02, -0.03])
    offsets, _ = fit_offsets(x, noise, np.zeros(8), SYSTEM, ELEMENTAL)
    left = noise - offsets.apply(x, np.zeros(8))
    assert offsets.residual_rms == pytest.approx(np.sqrt((left**2).mean()), abs=1e-12)
    assert x.T @ left == pytest.approx(np.zeros(3), abs=1e-12)


def test_charge_balanced_compounds_do_not_fix_offsets():
    compounds = fractions(FORMULAS[3:4] + FORMULAS[5:], SYSTEM)
    assert np.linalg.matrix_rank(compounds) == 2
    offsets, reason = fit_offsets(compounds, np.zeros(4), np.zeros(4), SYSTEM, [False] * 4)
    assert offsets is None
    assert reason == "no labelled elemental reference of Li, P, S; label one of each element"
    x = fractions(["Li", "S", "Li2S"], SYSTEM)
    offsets, reason = fit_offsets(x, np.zeros(3), np.zeros(3), SYSTEM, [True, True, False])
    assert offsets is None
    assert "elemental reference of P" in reason


def test_an_elemental_candidate_is_no_reference():
    x = fractions(["Li", "P", "S"], SYSTEM)
    assert fit_offsets(x, np.zeros(3), np.zeros(3), SYSTEM, [True, True, False])[0] is None


def test_offsets_as_json(li2s):
    offsets, _ = fit_offsets(fractions(FORMULAS, SYSTEM), np.arange(8.0), np.zeros(8), SYSTEM, ELEMENTAL)
    assert Offsets.from_dict(json.loads(json.dumps(offsets.to_dict()))) == offsets
    assert offsets.of(li2s) == pytest.approx((2 * offsets.values[0] + offsets.values[2]) / 3)


def test_bad_input():
    with pytest.raises(AnalysisError, match="one finite pair"):
        fit_offsets(fractions(["Li"], SYSTEM), [np.nan], [0.0], SYSTEM, [True])
    with pytest.raises(AnalysisError, match=r"expected \(m, 3\)"):
        Offsets(SYSTEM, (0.0, 0.0, 0.0), 3, 0.0, 3).apply([[1.0, 0.0]], [0.0])
