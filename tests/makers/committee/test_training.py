"""What a model of the second opinion counts as trained on."""

from __future__ import annotations

from typing import Any

import pytest

from coevo.analysis.signals.agreement import Training
from coevo.configs.tree import ForceFieldConfig, LabellingConfig
from coevo.configs.uncertainty_section import OtherForceField
from coevo.makers.committee.members import sources_of, training_of, training_of_published

FITTED = {"family": "chgnet", "sha256": "a" * 64, "parent": "b" * 64}
WITNESS = training_of_published(OtherForceField("sevennet", "7net-0"))
OMAT = training_of_published(OtherForceField("mace", "small-omat-0"))


def label(code: str, functional: str, digest: str = "d", status: str = "admitted") -> dict[str, Any]:
    return {"code": code, "functional": functional, "settings_digest": digest, "status": status}


def fitted(*labels: dict[str, Any], teacher: str = "r2scan", family: str = "chgnet", start: str = "") -> Training:
    labelling = LabellingConfig.model_validate({"teacher": {"family": family, "weights": teacher}})
    published = (
        ForceFieldConfig()
        if not start
        else ForceFieldConfig.model_validate(dict(zip(("family", "weights"), start.split("/"), strict=True)))
    )
    return training_of(FITTED, None, published, labelling, sources_of(labels))  # type: ignore[arg-type]


def test_what_was_fitted_on_a_teacher_was_trained_on_what_the_teacher_was() -> None:
    found = fitted(label("teacher", "r2SCAN"), label("vasp", "PBE", status="rejected"))
    assert (found.functional, found.data) == ("r2SCAN", "MP-r2SCAN+MPtrj")
    assert found.words == "the node's labels (teacher chgnet/r2scan)"
    assert found.is_independent_of(WITNESS)  # by the functional
    told = (ForceFieldConfig(), LabellingConfig(), sources_of([label("teacher", "r2SCAN")]))
    assert training_of({**FITTED, "parent": None}, None, *told).words == "PBE of MPtrj"  # type: ignore[arg-type]
    assert not training_of(None, None, *told).is_independent_of(WITNESS)
    assert training_of(None, OtherForceField("sevennet", "7net-0"), *told) == WITNESS


def test_a_fit_does_not_undo_what_published_weights_were_trained_on() -> None:
    found = fitted(label("espresso", "PBE"))
    assert (found.functional, found.data) == ("PBE", "MPtrj+labels by espresso")
    assert found.words == "the node's labels (espresso PBE)"
    assert not found.is_independent_of(WITNESS)
    assert found.is_independent_of(OMAT)
    unknown = fitted(label("espresso", "PBE"), start="mattersim/mattersim-v1.0.0-1M")
    assert unknown.data == ""
    assert not unknown.is_independent_of(OMAT)


@pytest.mark.parametrize("code", ["imported", "maker", "somebodys", "None"])
def test_labels_of_which_nobody_knows_how_they_were_made_are_unknown_data(code: str) -> None:
    for labels in ([label(code, "PBE")], [label(code, "PBE"), label("espresso", "PBE")]):
        found = fitted(*labels)
        assert (found.functional, found.data) == ("PBE", "")
        assert not found.is_independent_of(OMAT)
    assert fitted(label(code, "r2SCAN")).is_independent_of(OMAT)  # another functional


@pytest.mark.parametrize("name", ["StaticMaker", "MatPESStaticMaker", "", "U", "D3", "own"])
def test_an_unknown_functional_is_not_another_one(name: str) -> None:
    found = fitted(label("vasp", name))
    assert found.functional == ""
    assert not found.is_independent_of(WITNESS)


@pytest.mark.parametrize("name", ["PBE+U", "pbe", "PBE-D3(BJ)", "GGA_U", "GGA"])
def test_what_is_added_to_a_functional_makes_no_other_one(name: str) -> None:
    assert fitted(label("vasp", name)).functional == "PBE"
    assert not fitted(label("vasp", name), label("vasp", "PBE", "e")).is_independent_of(WITNESS)
    assert fitted(label("vasp", name), label("vasp", "r2SCAN", "e")).functional == ""


def test_an_earlier_teacher_is_not_taken_for_the_present_one() -> None:
    now, before = label("teacher", "PBE"), label("teacher", "PBE", "earlier")
    assert fitted(now, teacher="0.3.0").data == "MPtrj"
    mixed = fitted(now, before, teacher="0.3.0")
    assert (mixed.functional, mixed.data, mixed.words) == ("PBE", "", "the node's labels (teachers)")
    other = fitted(label("teacher", "PBE"), teacher="r2scan")  # the present one is of another functional
    assert other.data == ""
    assert not mixed.is_independent_of(OMAT)
    assert not other.is_independent_of(OMAT)


def test_a_teacher_of_unknown_data_makes_the_data_unknown() -> None:
    found = fitted(label("teacher", "PBE"), teacher="mattersim-v1.0.0-1M", family="mattersim")
    assert found.data == ""
    assert not found.is_independent_of(OMAT)
    assert fitted().data == ""  # fitted, and no label is there that says on what


def test_what_is_fitted_was_taught_by_all_who_labelled() -> None:
    one, two = (training_of_published(OtherForceField(*name.split("/"))) for name in ("chgnet/r2scan", "sevennet/7net-0"))
    told = (ForceFieldConfig(), LabellingConfig(), sources_of([label("teacher", "r2SCAN"), label("teacher", "PBE", "earlier")]))
    found = training_of(FITTED, None, *told, [one, two])  # type: ignore[arg-type]
    assert found.taught_by == {one, two}
    assert fitted(label("teacher", "r2SCAN")).taught_by == {one}
    # published weights learned of nobody here
    assert training_of({**FITTED, "parent": None}, None, *told, [one]).taught_by == frozenset()  # type: ignore[arg-type]
