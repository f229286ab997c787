"""Who may label, and what the presets label with and on which scale."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
from jobflow import Maker

from coevo.analysis.hull.energy_scale import RAW_PBE, needs_anion_correction
from coevo.configs.labelling_section import LabellingConfig
from coevo.configs.loading import load_config, preset_names, preset_text
from coevo.configs.overrides import load_with, read_overrides
from coevo.configs.section import identifying, recorded
from coevo.configs.tree import CurationConfig
from coevo.errors import ConfigError
from coevo.labelling.registry import configured, makes_first_principles, teacher_line


def test_a_configuration_that_allows_no_teacher_refuses_one_and_says_the_way() -> None:
    for asked in (["labelling.code=teacher"], ["labelling.code=teacher", "labelling.allow_teacher=false"]):
        with pytest.raises(ConfigError) as caught:
            load_with("li-p-s", read_overrides(asked))
        for words in ("labelling: code: got teacher", "learns its errors", "labelling.allow_teacher=true", "espresso, vasp"):
            assert words in str(caught.value)
    allowed = load_with("li-p-s", read_overrides(["labelling.code=teacher", "labelling.allow_teacher=true"])).config
    assert allowed.labelling.code == "teacher"
    assert LabellingConfig(code="teacher").allow_teacher is None, "as before, where nothing is said"


def test_nor_does_one_label_outside_a_transition() -> None:
    with pytest.raises(
        ConfigError, match=r"--labeller: got teacher, and this configuration says labelling\.allow_teacher: false"
    ):
        configured(load_config("li-p-s").config.labelling, "teacher")
    assert configured(load_config("li-s-qe").config.labelling, "teacher").code == "teacher"


FORCE_FIELD, DFT = "atomate2.forcefields.jobs.ForceFieldStaticMaker", "atomate2.vasp.jobs.mp.MPGGAStaticMaker"


def test_a_force_field_by_another_name_is_refused_too() -> None:
    only = {"labelling": {"allow_teacher": False, "code": "maker", "maker": DFT}}
    for change, words in (
        ({"maker": FORCE_FIELD}, f"code: got maker, with {FORCE_FIELD}, of interatomic potentials"),
        ({"stated": {"first_principles": False}}, r"code: got maker, with stated\.first_principles: false"),
    ):
        with pytest.raises(ValueError, match=words):
            LabellingConfig(**{**only["labelling"], **change})
        assert LabellingConfig(**{**only["labelling"], **change, "allow_teacher": None}).code == "maker"
    # whose Maker computes from first principles although its place does not say it
    assert LabellingConfig(**{**only["labelling"], "maker": FORCE_FIELD, "stated": {"first_principles": True}}).code == "maker"
    vasp = LabellingConfig(code="vasp", allow_teacher=False, maker=FORCE_FIELD)
    with pytest.raises(ConfigError, match=f"--labeller: got maker \\({FORCE_FIELD}\\), of which nothing says") as caught:
        configured(vasp, "maker")
    assert "allowed: a code of first principles (espresso, vasp, or the Maker of a DFT code)" in str(caught.value)
    assert configured(vasp.model_copy(update={"maker": DFT}), "maker").code == "maker"


@pytest.mark.parametrize(
    ("section", "is_so"),
    [
        ({"code": "teacher"}, False),
        ({"code": "espresso", "stated": {"first_principles": False}}, True),
        ({"code": "maker", "maker": DFT}, True),
        ({"code": "maker", "maker": DFT, "stated": {"first_principles": False}}, False),
        ({"code": "maker", "maker": FORCE_FIELD}, False),
        ({"code": "maker", "maker": FORCE_FIELD, "stated": {"first_principles": True}}, True),
        ({"code": "maker", "maker": "jobflow.core.maker.Maker"}, False),
        ({"code": "maker", "maker": "no.such.Maker"}, False),
    ],
)
def test_whether_a_section_asks_for_first_principles_is_what_its_labels_will_say(section: dict, is_so: bool) -> None:
    assert makes_first_principles(LabellingConfig(**section)) is is_so


def test_a_class_of_the_users_is_asked_whose_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the labels are: by the classes that it is of (tests/labelling/task_makers)."""
    base = type("Static", (Maker,), {"__module__": "atomate2.vasp.jobs.mp"})
    mine = ModuleType("mine")
    mine.Own = type("Own", (base,), {})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mine", mine)
    assert makes_first_principles(LabellingConfig(code="maker", maker="mine.Own"))
    assert configured(LabellingConfig(code="vasp", allow_teacher=False, maker="mine.Own"), "maker").code == "maker"


def test_keys_that_no_label_depends_on_are_recorded_and_are_in_no_key_of_a_job() -> None:
    changed = LabellingConfig(code="espresso", allow_teacher=False, references="all", accept_scale_mismatch=True)
    assert identifying(changed) == identifying(LabellingConfig(code="espresso"))
    assert {"allow_teacher", "references", "accept_scale_mismatch"} <= set(recorded(changed))
    assert not {"allow_teacher", "references", "accept_scale_mismatch"} & set(recorded(LabellingConfig()))
    assert CurationConfig(mark_scale_sensitive=True).of_matching() == CurationConfig()


@pytest.mark.parametrize("name", preset_names())
def test_presets_say_on_which_scale_and_by_whom_they_are_labelled(name: str) -> None:
    config = load_config(name).config
    scale, labelling = config.node.energy_scale, config.labelling
    assert labelling.references == "all"
    assert config.curation.mark_scale_sensitive is (scale == "mp2020")
    functional = labelling.teacher.told.functional if labelling.code == "teacher" else labelling.espresso.functional
    is_one_functional = functional == config.screening.force_field.told.functional == "PBE"
    # CHGNet and pw.x are of one functional, and still too far apart on Li2S: 34 meV/atom
    assert labelling.accept_scale_mismatch is (not is_one_functional or name == "li-s-qe"), "where it is needed and nowhere else"
    if not is_one_functional:
        assert "r2SCAN for a force field of corrected PBE" in preset_text(name)
    if scale in RAW_PBE:
        assert not needs_anion_correction(functional, anion_corrected=False, energy_scale=scale)


def test_production_and_sevennet_presets_are_on_plain_pbe_and_production_wants_first_principles() -> None:
    full, small = (load_config(name).config for name in ("li-p-s", "li-p-s-sevennet"))
    assert (full.screening.force_field.family, full.screening.force_field.weights) == ("sevennet", "7net-l3i5")
    assert (full.node.energy_scale, small.node.energy_scale) == ("pbe", "pbe")
    assert full.labelling.allow_teacher is False
    assert (small.labelling.teacher.family, small.labelling.teacher.weights) == ("sevennet", "7net-l3i5")
    assert teacher_line(small.labelling.model_dump(mode="json")) == "labels: SevenNet 7net-l3i5, a teacher, no first principles"
    assert "coevo env create sevennet" in preset_text("li-p-s")


def test_a_teacher_of_a_family_that_is_not_here_is_named_as_it_is_written() -> None:
    assert teacher_line({"code": "teacher", "teacher": {"family": "gone", "weights": "x"}}).startswith(
        "labels: gone x, a teacher"
    )
    assert teacher_line({"code": "teacher"}) == "labels: ?, a teacher, no first principles"
    assert teacher_line({"code": "espresso", "teacher": {"family": "chgnet"}}) == ""
