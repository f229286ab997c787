"""Labels against a force field: signs and units that are wrong are told, and what cannot be told is said."""

from __future__ import annotations

import numpy as np
import pytest

from coevo.analysis.label_agreement import compare

RNG = np.random.default_rng(11)
FORMULAS = ["Li2S"] * 6 + ["Li3PS4"] * 6
FORCES = [RNG.normal(scale=0.6, size=(5, 3)) for _ in FORMULAS]
STRESSES = [(s + s.T) / 2 for s in (RNG.normal(scale=0.02, size=(3, 3)) for _ in FORMULAS)]
ENERGIES = [np.array(e) for e in RNG.normal(scale=0.05, size=len(FORMULAS))]
TRUE = {"forces": FORCES, "stress": STRESSES, "energy": ENERGIES}


def near(values: list[np.ndarray], *, softer: float = 0.8, noise: float = 0.25) -> list[np.ndarray]:
    """What a force field that is only roughly right says."""
    size = np.sqrt(np.mean([np.mean(v**2) for v in values]))
    return [softer * v + noise * size * RNG.normal(size=np.shape(v)) for v in values]


@pytest.mark.parametrize("quantity", ["forces", "stress", "energy"])
def test_labels_that_a_force_field_is_near_to_agree(quantity: str) -> None:
    model = near(TRUE[quantity])
    constant = {"Li2S": -3.0, "Li3PS4": 40.0}
    labels = [x + constant[f] * (quantity == "energy") for x, f in zip(TRUE[quantity], FORMULAS, strict=True)]
    found = compare(quantity, labels, model, FORMULAS)
    assert (found.verdict, found.is_wrong, found.words) == ("agrees", False, "")
    assert found.correlation > 0.8


@pytest.mark.parametrize(
    ("quantity", "factor", "unit"),
    [
        ("stress", 160.2, "GPa and eV/Å³"),
        ("stress", 1602.0, "kbar and eV/Å³"),
        ("stress", 10.0, "kbar and GPa"),
        ("stress", 1 / 160.2, "GPa and eV/Å³"),
        ("forces", 1 / 25.71, "Ry/bohr and eV/Å"),
        ("forces", 51.42, "hartree/bohr and eV/Å"),
        ("energy", 27.2, "hartree and eV"),
        ("energy", 1 / 13.6, "rydberg and eV"),
    ],
)
def test_a_wrong_unit_is_named(quantity: str, factor: float, unit: str) -> None:
    found = compare(quantity, [factor * x for x in TRUE[quantity]], near(TRUE[quantity]), FORMULAS)
    assert found.verdict == "wrong_scale"
    assert unit in found.words


@pytest.mark.parametrize("factor", [-1.0, -160.2])
def test_a_wrong_sign_is_told_with_a_wrong_unit_too(factor: float) -> None:
    found = compare("stress", [factor * x for x in STRESSES], near(STRESSES), FORMULAS)
    assert found.verdict == "wrong_sign"
    assert "anti-correlated" in found.words
    assert ("GPa" in found.words) == (abs(factor) > 1)
    assert compare("forces", [-x for x in FORCES], near(FORCES), FORMULAS).verdict == "wrong_sign"


def test_stresses_that_differ_by_a_lattice_constant_are_no_wrong_sign() -> None:
    """Frames relaxed by the code: no stress in the labels, a pressure in all that the force field says."""
    labels = [0.0005 * RNG.normal(size=(3, 3)) for _ in FORMULAS]
    model = [0.012 * np.eye(3) + label for label in labels]
    found = compare("stress", labels, model, FORMULAS)
    assert found.verdict == "not_compared"
    # and where they are strained around it, the difference is not in the way
    strained = [label + stress for label, stress in zip(labels, STRESSES, strict=True)]
    assert compare("stress", strained, [x - 0.02 * np.eye(3) for x in strained], FORMULAS).verdict == "agrees"


def test_what_cannot_be_told_is_said() -> None:
    few = compare("forces", FORCES[:3], FORCES[:3], FORMULAS[:3])
    assert (few.verdict, few.is_wrong) == ("not_compared", False)
    assert "3 frames with large forces, 5 needed" in few.words
    still = compare("forces", [0 * f for f in FORCES], [0.001 * f for f in FORCES], FORMULAS)
    assert "0 frames" in still.words
    other = [RNG.normal(scale=0.6, size=(5, 3)) for _ in FORMULAS]
    assert compare("forces", other, FORCES, FORMULAS).verdict == "not_compared"
    zero = compare("forces", [0 * f for f in FORCES], FORCES, FORMULAS)
    assert zero.is_wrong
    assert "are zero in 12 frames" in zero.words
    lone = compare("energy", ENERGIES[:2], ENERGIES[:2], ["Li", "S"])
    assert lone.verdict == "not_compared"


@pytest.mark.parametrize("count", [1, 3])
def test_numbers_of_another_size_are_told_from_one_frame(count: int) -> None:
    model = [np.diag([0.003, 0.006, 0.004]) * (1 + number / 10) for number in range(count)]
    found = compare("stress", [160.218 * x for x in model], model, ["Li2S"] * count)
    assert (found.verdict, found.frames) == ("wrong_scale", count)
    assert found.scale == pytest.approx(160.218)
    assert "160.218: GPa and eV/Å³" in found.words
    assert compare("stress", [5 * x for x in model], model, ["Li2S"] * count).verdict == "not_compared"
    steep = [np.full((3, 3), 0.3)] * count
    assert compare("forces", [7.0 * x for x in steep], steep, ["Li2S"] * count).verdict == "not_compared"
    assert compare("forces", [51.422 * x for x in steep], steep, ["Li2S"] * count).is_wrong
