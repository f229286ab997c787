"""Energies of members on the scale of the node."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from coevo.analysis.hull.energy_scale import anion_correction
from coevo.families import Weights
from coevo.makers.committee.scales import Corrections, correction_sign, offsets_on_references, shifted, stored_offsets

RAW, CORRECTED, META = Weights("pbe", "PBE"), Weights("mp2020", "PBE", anion_corrected=True), Weights("r2scan", "r2SCAN")


def crystals() -> list[Structure]:
    cell = Lattice.cubic(4.0)
    sulphide = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.72), ["Li", "S"], [[0.25, 0.25, 0.25], [0, 0, 0]])
    return [Structure(cell, ["Li"], [[0, 0, 0]]), Structure(cell, ["S"], [[0, 0, 0]]), sulphide]


@pytest.mark.parametrize(
    ("weights", "scale", "sign"),
    [
        (RAW, "mp2020", 1),
        (RAW, "pbe", 0),
        (CORRECTED, "pbe", -1),
        (CORRECTED, "omat24", -1),
        (CORRECTED, "mp2020", 0),
        (META, "mp2020", 0),
    ],
)
def test_the_correction_applies_where_and_only_where_the_scale_needs_it(weights: Weights, scale: str, sign: int) -> None:
    assert correction_sign(weights, scale) == sign
    found = Corrections(crystals()).of(weights, scale)
    expected = [sign * anion_correction(structure) for structure in crystals()]
    np.testing.assert_allclose(np.broadcast_to(found, 3), expected)


def test_offsets_and_correction_bring_energies_to_the_node() -> None:
    structures, own = crystals(), np.array([-1.9, -4.1, -4.0])
    correction = Corrections(structures).of(RAW, "mp2020")
    shift = np.array([0.7, -0.4, (2 * 0.7 - 0.4) / 3])
    member = own - correction + shift
    offsets, reason = offsets_on_references(["Li", "S"], structures, member + correction, own)
    assert offsets is not None
    assert not reason
    assert offsets.values == pytest.approx((-0.7, 0.4))
    np.testing.assert_allclose(shifted(member, structures, correction, offsets), own, atol=1e-10)
    told = {"a": {"offsets": offsets.to_dict()}}
    assert stored_offsets(told, "a", ("Li", "S")) == offsets
    assert stored_offsets(told, "b", ("Li", "S")) is None
    assert stored_offsets(told, "a", ("Li", "S", "Cl")) is None


@pytest.mark.parametrize(
    "change",
    [
        {"elements": ["Li"], "values": [0.1]},
        {"elements": ["Li", "S", "S"], "values": [0.1, 0.2, 0.3]},
        {"elements": ["Li", "S", 1], "values": [0.1, 0.2, 0.3]},
        {"elements": ["Li", "S", ["P"]], "values": [0.1, 0.2, 0.3]},
        {"elements": None},
        {"values": [0.1]},
        {"values": [0.1, 0.2, 0.3]},
        {"values": [0.1, 1e308]},
        {"values": [0.1, 10**400]},
        {"values": [0.1, float("nan")]},
        {"values": [0.1, "x"]},
        {"values": 1},
        {"rank": float("inf")},
    ],
)
def test_offsets_that_a_stranger_wrote_are_none(change: dict[str, Any]) -> None:
    good = {"elements": ["Li", "S"], "values": [0.1, 0.2], "rank": 2, "residual_rms": 0.0, "n": 2}
    assert stored_offsets({"a": {"offsets": good}}, "a", ("Li", "S")) is not None
    assert stored_offsets({"a": {"offsets": good | change}}, "a", ("Li", "S")) is None
    assert stored_offsets({"a": {"offsets": [1]}}, "a", ("Li", "S")) is None


def test_without_an_elemental_reference_there_are_no_offsets() -> None:
    member = np.array([-1.0, np.nan, -3.0])
    offsets, reason = offsets_on_references(["Li", "S"], crystals(), member, np.array([-1.9, -4.1, -4.0]))
    assert offsets is None
    assert reason == "it has no energy of an elemental reference of S"
    assert offsets_on_references(["Li", "S"], crystals(), np.full(3, np.nan), np.zeros(3))[0] is None
