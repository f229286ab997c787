"""Offsets that do not bring labels to the scale of a force field: residuals, the limit, and what is said."""

from __future__ import annotations

import numpy as np
import pytest

from coevo.analysis.composition import fractions
from coevo.analysis.hull.energy_scale import Offsets, Residual, fit_further_offsets, fit_offsets, joined_offsets
from coevo.analysis.hull.scale_mismatch import LIMIT, is_mismatch, mismatch_words, offsets_words, residual_words

NAMES = [("a" * 64, "Li"), ("b" * 64, "S"), ("c" * 64, "LiS")]


def fitted(binding: float) -> Offsets:
    """Offsets of Li, S and LiS where the force field binds LiS by ``binding`` less than the labels do, eV/atom."""
    shares = fractions(["Li", "S", "LiS"], ["Li", "S"])
    labels = np.array([-12.0, -24.0, -19.0])
    model = labels + shares @ [10.0, 20.0] + [0.0, 0.0, binding]
    offsets, reason = fit_offsets(shares, model, labels, ["Li", "S"], [True, True, False], NAMES)
    assert reason == ""
    assert offsets is not None
    return offsets


def test_residuals_are_those_of_least_squares_by_hand() -> None:
    # what no offset reaches is along (-1/2, -1/2, 1), of length squared 3/2: 0.09 is parted into 0.09/1.5 (-1/2, -1/2, 1)
    offsets = fitted(0.09)
    assert [residual.value for residual in offsets.residuals] == pytest.approx([-0.03, -0.03, 0.06], abs=1e-12)
    assert [(residual.reference, residual.formula) for residual in offsets.residuals] == NAMES
    assert offsets.residual_rms == pytest.approx(np.sqrt((0.03**2 + 0.03**2 + 0.06**2) / 3), abs=1e-12)


def test_the_limit_is_of_the_rms() -> None:
    at_limit = 0.030 * np.sqrt(4.5)  # the rms of b/1.5 (-1/2, -1/2, 1) is b/sqrt(4.5)
    assert fitted(at_limit).residual_rms == pytest.approx(LIMIT)
    assert not is_mismatch(fitted(0.999 * at_limit))
    assert is_mismatch(fitted(1.001 * at_limit))


def test_words_name_every_residual_in_order_the_limit_and_the_way_out() -> None:
    told = mismatch_words(fitted(0.09))
    assert "off by 42 meV/atom (rms), allowed: 30 (force field minus label: LiS +60, Li −30, S −30 meV/atom)" in told
    for way in ("labelling.teacher", "node.energy_scale: pbe", "labelling.accept_scale_mismatch: true"):
        assert way in told
    assert offsets_words(fitted(0.09), 2, accepted=True) == (
        "the references are off by 42 meV/atom (rms) (more than 30: accepted); largest residuals, force field minus label: "
        "LiS +60, Li −30 meV/atom"
    )
    assert "accept" not in offsets_words(fitted(0.01), accepted=True)
    twice = [Residual("0123456789", "S", 0.01), Residual("abcdefghij", "S", -0.02), Residual("x", "Li", 0.0)]
    assert residual_words(twice) == "S abcdefgh −20, S 01234567 +10, Li +0"


def test_documents_of_before_have_no_residuals_and_those_of_now_come_back() -> None:
    offsets = fitted(0.09)
    assert Offsets.from_dict(offsets.to_dict()) == offsets
    old = {key: value for key, value in offsets.to_dict().items() if key != "residuals"}
    assert Offsets.from_dict(old).to_dict() == old
    assert offsets_words(Offsets.from_dict(old), accepted=False) == (
        "the references are off by 42 meV/atom (rms) (more than 30: frozen as they were fitted, "
        "labelling.accept_scale_mismatch is off)"
    )


def test_an_extension_adds_its_residuals_to_those_that_are_there() -> None:
    stored = fitted(0.03)
    shares = fractions(["Li", "S", "P", "Li3P"], ["Li", "P", "S"])
    labels = np.array([-12.0, -24.0, -8.0, -11.0])
    model = labels + shares @ [stored.values[0], 3.0, stored.values[1]] + [0.0, 0.0, 0.0, 0.02]
    names = [("a" * 64, "Li"), ("b" * 64, "S"), ("d" * 64, "P"), ("e" * 64, "Li3P")]
    further, _ = fit_further_offsets(stored, shares, model, labels, ["Li", "P", "S"], [True, True, True, False], names)
    assert further is not None
    joined = joined_offsets(stored, further, ["Li", "P", "S"])
    assert joined.residuals[:3] == stored.residuals
    # one offset of P for P and Li3P, of which a quarter is P: what is left is along (-1/4, 1)
    assert [r.formula for r in joined.residuals[3:]] == ["P", "Li3P"]
    left = 0.02 / (1 + 1 / 16)
    assert [r.value for r in joined.residuals[3:]] == pytest.approx([-left / 4, left], abs=1e-12)
    # the scale is known as well as both fits say, and the new one alone is held to the limit
    assert further.residual_rms == pytest.approx(left * np.sqrt((1 / 16 + 1) / 2), abs=1e-12)
    every = np.array([residual.value for residual in joined.residuals])
    assert joined.residual_rms == pytest.approx(np.sqrt((every**2).mean()), abs=1e-12)
    assert (joined.elements, joined.n, joined.rank) == (("Li", "P", "S"), 5, 3)


def test_constants_that_meet_every_reference_say_nothing_of_the_scale() -> None:
    """Two elements fix two offsets whatever their labels are: a residual of zero is no agreement."""
    offsets, _ = fit_offsets(np.eye(2), [-2.0, -4.0], [-12.0, 24.0], ["Li", "S"], [True, True], NAMES[:2])
    assert offsets is not None
    assert (offsets.n, offsets.rank, offsets.is_tested) == (2, 2, False)
    words = "how far the references are off is not known: 2 of them for as many constants, which meet them exactly"
    assert offsets_words(offsets, accepted=True) == words
    assert fitted(0.0).is_tested
    assert offsets_words(fitted(0.0), accepted=True).startswith("the references are off by 0 meV/atom (rms); ")
