"""What tables say of a hull of labelled phases, and nothing of one that all makes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from coevo.studies.states.hull_words import check_words, entry_hull_rows, hull_counts, hull_rows, hull_words, standing_word
from coevo.studies.states.label_scales import refused_scale_rows
from coevo.studies.states.summaries import next_step


def test_counts_of_a_state() -> None:
    population = {"confirmed": 7, "unconfirmed": 2, "refuted": 3, "in_doubt": 4}
    counts = "7 entries confirmed, 3 refuted (labels against this state's force field); "
    counts += "without a label 2 unconfirmed at or below it, 4 in doubt"
    for code, labels in (("teacher", "a teacher's, no first principles"), ("espresso", "by espresso")):
        config = {"labelling": {"code": code}}
        words = f"labelled phases make it (labels {labels}): {counts}"
        assert hull_counts({"population": population}, config) == words
    assert hull_counts({"population": {"entries": 9}}, {}) == ""
    assert check_words({"hull_check": {"wanted": 5, "labelled": 4, "refuted": 3}}) == (
        "5 phases on it wanted a label, 4 got one, which refuted 3 (against the parent's force field, before it learned of them)"
    )
    assert check_words({"hull_check": {"wanted": 5, "labelled": 4, "refuted": 3, "limit": 0.1941}}) == (
        "5 phases on it wanted a label, 4 got one, which refuted 3 (against the parent's force field, before it learned of "
        "them; off by more than 0.194 eV/atom)"
    )
    assert check_words({"hull_check": None}) == check_words({}) == ""


def of_state(*residuals: float, **curation: float) -> Any:
    population = {"confirmed": 7, "unconfirmed": 2, "refuted": 3, "in_doubt": 4, "first_principles_only": True}
    document = {"config": {"curation": curation}, "metrics": {"population": population}, "counts": {}}
    offsets = {str(number): {"residual_rms": rms} for number, rms in enumerate(residuals)}
    return SimpleNamespace(document=document, manifest={"offsets": offsets})


def test_the_limit_of_refutation_is_the_one_in_effect() -> None:
    """Twice the residual of the offsets, where that is more than is asked for."""
    assert hull_words(of_state(0.01)).startswith("labelled phases make it (labels first-principles ones alone): 7 entries")
    assert hull_words(of_state(0.01)).endswith(
        "; a label refutes that is off by more than 0.025 eV/atom (curation.refuted_above)"
    )
    assert "off by more than 0.194 eV/atom: twice what the offsets leave" in hull_words(of_state(0.097, refuted_above=0.03))
    assert hull_words(of_state(0.097, refuted_above=0.03)).endswith("more than curation.refuted_above, 0.03")
    assert "off by more than 0.025 to 0.194 eV/atom" in hull_words(of_state(0.097, 0.001))
    assert "more than 0.05 eV/atom (curation" in hull_words(of_state(refuted_above=0.05))
    of_all = of_state(0.097)
    of_all.document["metrics"]["population"] = {"entries": 9}
    assert hull_words(of_all) == ""
    assert hull_rows(of_all) == []
    assert hull_rows(of_state(0.01)) == [("hull", hull_words(of_state(0.01)))]


def test_labels_of_no_usable_scale_neither_confirm_nor_refute() -> None:
    state = of_state()
    state.document["counts"]["labels"] = 26
    assert hull_words(state).endswith(
        "; no offsets bring its 26 labels to the scale of the hull, so that none confirms or refutes"
    )
    check = {"wanted": 1, "labelled": 0, "refuted": 0}
    assert check_words({"hull_check": check}).startswith("1 phase on it wanted a label, 0 got one, which refuted 0 (against")
    refused = {"hull_check": check, "force_field": {"warning": "no reference has a label"}}
    assert check_words(refused) == "1 phase on it wanted a label; the new labels are of no usable scale, and none counts"
    refused["force_field"]["frames"] = {"train": 3}
    assert "0 got one, which refuted 0" in check_words(refused)


def test_a_refusal_is_told_with_the_way_out() -> None:
    signal = {"name": "hull", "status": "no signal", "reason": "", "cause": "short"}
    config = {"maturity": {"patience": 2, "min_frames": 1, "min_test_frames": 1, "environments": 10}}

    def state(warning: str, *parents: Any) -> Any:
        metrics = {
            "iteration": {},
            "maturity": {"mature": False, "signals": [signal]},
            "force_field": {"warning": warning},
            "entropy": None,
        }
        document = {"metrics": metrics, "counts": {"labels": 26}}
        return SimpleNamespace(document=document, manifest={"offsets": {}}, first_parents=lambda: iter(parents))

    refused = state("26 labels of teacher: off by 64, or accept it with labelling.accept_scale_mismatch: true")
    (row,) = refused_scale_rows(refused)
    assert row == ("label scale", "refused: " + refused.document["metrics"]["force_field"]["warning"])
    assert refused_scale_rows(state("", refused)) == [row], "no new label since"
    assert refused_scale_rows(state("")) == []
    told = next_step("mine", refused.document["metrics"], config)
    assert "accept the difference (labelling.accept_scale_mismatch: true)" in told
    assert told.endswith("and go on: coevo run mine -n 1")
    told = next_step("mine", state("26 labels of pw.x: no reference has a label").document["metrics"], config)
    assert "(labelling.references: all)" in told
    assert "accept" not in told
    assert next_step("mine", state("").document["metrics"], config).startswith("more iterations")


def test_words_of_an_entry() -> None:
    refuted = {"hull_status": "refuted", "model_energy_per_atom": -4.25}
    assert entry_hull_rows(refuted) == [
        ("on the hull", "refuted by its label; the force field says -4.2500 eV/atom, the energy above is the label's")
    ]
    assert standing_word({"hull_status": "in_doubt"}) == "in doubt"
    for row in ({}, {"hull_status": None}, {"hull_status": "of a later version"}):
        assert entry_hull_rows(row) == []


@pytest.mark.parametrize(("cause", "words"), [("refuted", "labels refute phases"), ("unlabelled", "got no label that counts")])
def test_what_to_do_next(cause: str, words: str) -> None:
    signal = {"name": "hull", "status": "refuted", "reason": "", "cause": cause}
    moving = {"name": "environments", "status": "not flat", "reason": "", "cause": "moving"}
    metrics = {"iteration": {}, "maturity": {"mature": False, "signals": [moving, signal]}}
    config = {"maturity": {"patience": 2, "min_frames": 1, "min_test_frames": 1, "environments": 10}}
    assert words in next_step("mine", {**metrics, "entropy": None, "population": {"refuted": 1}}, config)
    learned = next_step("mine", {**metrics, "entropy": None, "population": {"refuted": 0}}, config)
    assert ("the force field has learned it" in learned) == (cause == "refuted")
    assert "coevo query" not in learned  # there is nothing to look at
