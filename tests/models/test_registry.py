"""Families by name."""

from __future__ import annotations

import pytest

from coevo.configs.tree import GeneratorConfig
from coevo.errors import CheckpointError, ConfigError
from coevo.models.chgnet.force_field import ChgnetForceField
from coevo.models.contracts import Conditions, ForceField, Generator
from coevo.models.registry import force_field_from, generator_from


def test_force_fields(tmp_path):
    published = ChgnetForceField.published("0.3.0")
    published.save(tmp_path / "model")
    assert isinstance(force_field_from("chgnet"), ForceField)
    assert force_field_from("chgnet").digest == published.digest
    assert force_field_from("chgnet", device="auto").digest == published.digest
    assert force_field_from("chgnet", weights="r2scan").energy_scale == "r2scan"
    # A checkpoint goes before a name of weights.
    assert force_field_from("chgnet", "r2scan", tmp_path / "model").digest == published.digest


def test_generators(tmp_path):
    initial = generator_from("embedded", settings=GeneratorConfig(max_atoms=8))
    assert isinstance(initial, Generator)
    initial.save(tmp_path / "generator")
    loaded = generator_from("embedded", tmp_path / "generator", GeneratorConfig(max_atoms=8))
    conditions = Conditions(elements=("Li", "S"), max_atoms=8)
    first, second = (generator.sample(2, conditions, seed=1).candidates for generator in (initial, loaded))
    assert [c.structure for c in first] == [c.structure for c in second]


def test_unknown_names_say_what_is_allowed(tmp_path):
    with pytest.raises(ConfigError, match="force field family 'gap' is unknown; allowed: chgnet"):
        force_field_from("gap")
    with pytest.raises(ConfigError, match=r"generator family 'nobodys' is unknown; allowed: .*embedded, .*mattergen"):
        generator_from("nobodys")
    with pytest.raises(ConfigError, match=r"allowed: 0\.3\.0, 0\.2\.0, r2scan"):
        force_field_from("chgnet", "0.4.0")
    with pytest.raises(ConfigError, match="allowed: cpu, cuda"):
        force_field_from("chgnet", device="tpu")
    with pytest.raises(CheckpointError):
        generator_from("embedded", tmp_path / "none")
