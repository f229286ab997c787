"""What every study says of how soft its force field is."""

from __future__ import annotations

from typing import Any

import pytest

from coevo.analysis.stiffness.softness import softness_lines, softness_of


def metrics(model: float | None, label: float | None, slope: float | None = None) -> dict[str, Any]:
    labels = None if label is None else {"bulk_modulus_gpa": label, "code": "espresso", "functional": "PBE"}
    row = {"id": "a", "formula": "Li2S", "atoms": 3, "model": {"bulk_modulus_gpa": model, "notes": []}, "labels": labels}
    return {"stiffness": {"compounds": [row], "bulk_modulus_ratio": None, "frequency_ratio": slope}}


def test_too_soft_too_stiff_and_alike() -> None:
    # 29.5 / 40.8 = 0.723: 28 % too soft
    assert softness_lines(softness_of(metrics(29.5, 40.8, 0.846))) == [
        "this force field is 28 % too soft in Li2S (B0 29.5 against 40.8 GPa of espresso labels, PBE)",
        "its frequencies at Γ of Li2S are 0.85 times those of the labels (slope through the origin)",
    ]
    assert "50 % too stiff in Li2S (B0 60.0 against 40.0 GPa" in softness_lines(softness_of(metrics(60.0, 40.0)))[0]
    assert "is as stiff as its labels in Li2S (B0 39.0 against 40.0" in softness_lines(softness_of(metrics(39.0, 40.0)))[0]


def test_what_was_not_measured_is_said_to_be_unknown() -> None:
    (line,) = softness_lines(softness_of({}))
    assert line.startswith(
        "how soft this force field is, is not known: the state has measured no stiffness (maturity.stiffness: "
    )
    (line,) = softness_lines(softness_of(metrics(29.5, None)))
    assert "it has measured B0 by the force field alone (Li2S 29.5 GPa), and has no labels to compare with" in line
    (line,) = softness_lines(softness_of(metrics(None, 40.8)))
    assert "no bulk modulus could be measured" in line


def test_what_a_study_keeps_says_the_same_again() -> None:
    kept = softness_of(metrics(29.5, 40.8, 0.846))
    assert softness_lines(softness_of({"stiffness": kept})) == softness_lines(kept)


@pytest.mark.parametrize(
    "strange",
    [
        {"stiffness": 3},
        {"stiffness": {"compounds": "x"}},
        {"stiffness": {"compounds": [1, None, {"formula": 7}]}},
        {"stiffness": {"compounds": [{"formula": "Li2S", "model": [], "labels": {"bulk_modulus_gpa": "big"}}]}},
        {"stiffness": {"compounds": [{"formula": "Li2S", "model": {"bulk_modulus_gpa": float("nan")}, "labels": 1}]}},
    ],
)
def test_numbers_of_a_stranger_are_no_error(strange: dict[str, Any]) -> None:
    assert softness_lines(softness_of(strange))[0].startswith("how soft this force field is, is not known")
