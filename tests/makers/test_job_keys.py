"""Keys of jobs: finished work of an earlier version is found, and what is new or not in use does not enter."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from pydantic import Field

from coevo.configs.loading import config_from_dict, load_config, preset_names
from coevo.configs.section import Section, identifying, recorded
from coevo.configs.tree import DescriptorConfig, TrainingConfig
from coevo.makers import step
from coevo.makers.assess import AssessMaker
from coevo.makers.choose_for_labels import ChooseForLabelsMaker
from coevo.makers.curate import CurateMaker
from coevo.makers.evaluate import EvaluateMaker, EvaluateReferencesMaker, ReevaluateMaker, ReevaluateUnionMaker
from coevo.makers.generate import GenerateMaker
from coevo.makers.label import LabelPacketMaker
from coevo.makers.measure import MeasureMaker
from coevo.makers.screen import ScreenMaker
from coevo.makers.select import SelectMaker
from coevo.makers.train_force_field import TrainForceFieldMaker
from coevo.makers.train_generator import TrainGeneratorMaker
from coevo.makers.train_on_union import TrainOnUnionMaker
from coevo.makers.unite import UniteMaker

if TYPE_CHECKING:
    from coevo.configs.tree import NodeConfig

RECORDED = Path(__file__).parents[1] / "earlier_version" / "job_keys.json"


def makers(config: NodeConfig) -> list[step.StepMaker]:
    node, elements = config.node, list(config.node.elements)
    return [
        GenerateMaker(node=node, generator=config.generator),
        ScreenMaker(elements=elements, screening=config.screening),
        CurateMaker(node=node, curation=config.curation, maturity=config.maturity),
        SelectMaker(node=node, selection=config.selection),
        ChooseForLabelsMaker(node=node, labelling=config.labelling),
        LabelPacketMaker(labelling=config.labelling, elements=config.node.elements, settings_digest="0" * 64),
        TrainForceFieldMaker(node=node, training=config.training),
        TrainOnUnionMaker(node=node, training=config.training),
        EvaluateMaker(screening=config.screening),
        ReevaluateMaker(node=node, screening=config.screening),
        ReevaluateUnionMaker(node=node, screening=config.screening),
        EvaluateReferencesMaker(node=node, screening=config.screening),
        AssessMaker(node=node, curation=config.curation),
        TrainGeneratorMaker(node=node, generator=config.generator),
        UniteMaker(node=node, curation=config.curation),
        MeasureMaker(node=node, maturity=config.maturity),
    ]


def configurations() -> dict[str, NodeConfig]:
    """Configurations that use each code and family, with keys that are not at their defaults."""
    found = {name: load_config(name).config for name in sorted(preset_names())}
    plain = found["li-p-s-demo"].model_dump(mode="json")
    changes: dict[str, dict[str, Any]] = {
        "espresso": {"labelling": {"code": "espresso", "espresso": {"ecutwfc": 30.0, "k_spacing": 0.5}}},
        "vasp": {"labelling": {"code": "vasp", "vasp": {"maker": "mp", "incar": ["NCORE = 4"]}}},
        "mattergen": {"generator": {"family": "mattergen", "mattergen": {"weights": "small", "steps": 20}}},
        "coarse": {"screening": {"fmax": 0.2}, "training": {"epochs": 2}, "selection": {"rattled": 0}},
    }
    return found | {name: config_from_dict(_merged(plain, change), name) for name, change in changes.items()}


def _merged(plain: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    return plain | {key: _merged(plain[key], value) if isinstance(value, dict) else value for key, value in change.items()}


def keys_of(config: NodeConfig) -> dict[str, str]:
    return {type(maker).__name__: step.job_key(maker, {"parent": "a" * 64, "iteration": 3}) for maker in makers(config)}


def record() -> None:
    """Write what this version computes: done once, by the version whose work must be found for good."""
    rows = {name: {"configuration": c.identity(), "keys": keys_of(c)} for name, c in configurations().items()}
    RECORDED.write_text(json.dumps(rows, indent=1, sort_keys=True) + "\n")


@pytest.fixture(autouse=True)
def same_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step, "package_version", lambda name: f"{name} 1.0")  # versions enter keys, and are no concern here


RAISED: dict[type[step.StepMaker], int] = {
    AssessMaker: 5,  # evaluations say electron_excess
}
"""Makers that compute something else since, and the version that they had. Nothing but the version changes their keys."""

ROWS = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}


@pytest.mark.parametrize("name", list(ROWS))
def test_finished_work_of_an_earlier_version_is_found(name: str) -> None:
    config = config_from_dict(ROWS[name]["configuration"], name)
    assert config.identity() == ROWS[name]["configuration"]
    with pytest.MonkeyPatch.context() as patch:
        for maker, version in RAISED.items():
            patch.setattr(maker, "version", version)
        assert keys_of(config) == ROWS[name]["keys"]
    found = keys_of(config)
    assert {key for key in found if found[key] != ROWS[name]["keys"][key]} == {maker.__name__ for maker in RAISED}


def packet_key(config: NodeConfig) -> str:
    return step.job_key(LabelPacketMaker(labelling=config.labelling, elements=("Li", "S")), {"frames": {"sha256": "b" * 64}})


@pytest.mark.parametrize("code", ["teacher", "espresso", "vasp"])
def test_settings_of_other_codes_are_not_in_the_key_of_a_packet(code: str) -> None:
    changes = {
        "teacher": {"teacher": {"weights": "0.3.0"}},
        "espresso": {"espresso": {"ecutwfc": 90.0}},
        "vasp": {"vasp": {"maker": "mp"}},
    }
    plain = _merged(configurations()["li-p-s-demo"].model_dump(mode="json"), {"labelling": {"code": code}})
    before = packet_key(config_from_dict(plain, code))
    for other, change in changes.items():
        after = packet_key(config_from_dict(_merged(plain, {"labelling": change}), code))
        assert (after == before) == (other != code)


def test_settings_of_another_family_are_not_in_the_key_of_a_generator() -> None:
    plain = configurations()["li-p-s-demo"].model_dump(mode="json")
    changed = _merged(plain, {"generator": {"mattergen": {"epochs": 3}}})
    for family, same in (("embedded", True), ("mattergen", False)):
        one, other = (
            keys_of(config_from_dict(_merged(data, {"generator": {"family": family}}), family)) for data in (plain, changed)
        )
        assert (one["GenerateMaker"] == other["GenerateMaker"]) is same


class Longer(TrainingConfig):
    """The section with keys that a later version adds."""

    warmup: int = 0
    audit: DescriptorConfig = Field(default_factory=DescriptorConfig)


Longer.__name__ = "TrainingConfig"


def test_a_later_key_is_named_where_it_is_not_at_its_default() -> None:
    assert recorded(Longer()) == recorded(TrainingConfig())
    assert recorded(Longer(warmup=3)) == {**recorded(TrainingConfig()), "warmup": 3}
    assert recorded(Longer(audit=DescriptorConfig(cutoff=4.0)))["audit"]["cutoff"] == 4.0
    assert identifying(Longer(epochs=7)) == identifying(TrainingConfig(epochs=7))


def test_a_later_section_names_its_later_keys_only() -> None:
    class Fresh(Section):
        one: int = 1
        two: int = 2

    assert recorded(Fresh()) == {}
    assert recorded(Fresh(two=3)) == {"two": 3}


def test_a_later_parameter_or_argument_enters_where_it_says_something_new() -> None:
    @dataclass
    class Counting(step.StepMaker):
        seed: int = 0
        later: ClassVar[dict[str, Any]] = {"seed": 0, "attempt": 1}

    assert step.job_key(Counting(), {"frames": 1, "attempt": 1}) == step.job_key(Counting(), {"frames": 1})
    assert step.job_key(Counting(seed=2), {"frames": 1}) != step.job_key(Counting(), {"frames": 1})
    assert step.job_key(Counting(), {"frames": 1, "attempt": 2}) != step.job_key(Counting(), {"frames": 1})


CHECKPOINT = {"family": "chgnet", "sha256": "c" * 64}


def test_a_result_is_stored_under_the_versions_of_its_own_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """An upgrade of the force field's packages computes labels of a teacher again, and none of pw.x or VASP."""
    plain = configurations()["li-p-s-demo"].model_dump(mode="json")
    for code, same in (("teacher", False), ("espresso", True), ("vasp", True)):
        config = config_from_dict(_merged(plain, {"labelling": {"code": code}}), code)
        maker = LabelPacketMaker(labelling=config.labelling, elements=("Li", "S"))
        before = step.job_keys(maker, {"frames": {"sha256": "b" * 64}})
        with monkeypatch.context() as patch:
            patch.setattr(step, "package_version", lambda name: f"{name} 2.0")
            after = step.job_keys(maker, {"frames": {"sha256": "b" * 64}})
        assert (before[0] == after[0]) is same


def test_finished_work_is_found_under_the_key_that_it_was_stored_with() -> None:
    """Every key of a job holds the one of the earlier version, which comes first where nothing changed."""
    for config in configurations().values():
        for maker in makers(config):
            keys = step.job_keys(maker, {"checkpoint": CHECKPOINT})
            assert step.job_key(maker, {"checkpoint": CHECKPOINT}) in keys
            if isinstance(maker, (ScreenMaker, EvaluateMaker, TrainForceFieldMaker)):
                assert len(keys) == 1


def test_the_environment_of_a_family_is_in_the_key_of_its_work() -> None:
    config = configurations()["mattergen"]
    maker = GenerateMaker(node=config.node, generator=config.generator)
    versions = maker.versions({"checkpoint": {"family": "mattergen"}})
    assert versions["mattergen: mattergen"] == "1.0.3"
    assert versions["mattergen: torch"] == "2.13.0"
    assert not any(name.startswith("mattergen") for name in maker.versions({"checkpoint": {"family": "embedded"}}))
