"""The example of docs/force-fields.md, an ASE calculator as a force field, fulfils the contract of force fields."""

from __future__ import annotations

import json
from typing import ClassVar

import numpy as np
import pytest
from example_force_field import EXAMPLE, FAMILY, effective_medium
from force_field_contract import ForceFieldContract
from pymatgen.core import Lattice, Structure

from coevo.errors import CheckpointError, ConfigError, ModelError
from coevo.models.ase_force_field import AsePredictor
from coevo.models.contracts import Failure
from coevo.models.registry import force_field_from

__all__ = ["effective_medium"]


class TestEffectiveMedium(ForceFieldContract):
    symbols: ClassVar[tuple[str, ...]] = ("Cu", "Au", "Pd", "Ni")

    @staticmethod
    def small() -> Structure:
        """Cu3Au."""
        return Structure.from_spacegroup("Pm-3m", Lattice.cubic(3.80), ["Au", "Cu"], [[0, 0, 0], [0.5, 0.5, 0]])

    @staticmethod
    def large() -> Structure:
        """CuAu, doubled twice."""
        crystal = Structure(Lattice.tetragonal(2.85, 3.7), ["Au", "Cu"], [[0, 0, 0], [0.5, 0.5, 0.5]])
        crystal.make_supercell([2, 2, 1])
        return crystal

    @pytest.fixture(scope="class")
    @classmethod
    def force_field(cls, effective_medium):
        return effective_medium


class TestCheckpoints:
    @pytest.fixture(autouse=True)
    def family(self, effective_medium):
        self.force_field = effective_medium

    def test_only_checkpoints_of_the_family_are_read(self, tmp_path):
        path = tmp_path / "checkpoint"
        self.force_field.save(path)
        assert force_field_from(FAMILY, checkpoint=path).digest == self.force_field.digest
        document = json.loads(path.read_bytes())
        for change, message in (
            ({"family": "other"}, "no checkpoint of effective-medium"),
            ({"format": "coevo-ase-2"}, "no checkpoint of effective-medium"),
            ({"weights": "better"}, "no weights 'better' here"),
        ):
            path.write_text(json.dumps({**document, **change}))
            with pytest.raises(CheckpointError, match=message):
                force_field_from(FAMILY, checkpoint=path)
        path.write_bytes(b"\x80\x04K\x01.")
        with pytest.raises(CheckpointError, match="cannot be read"):
            force_field_from(FAMILY, checkpoint=path)

    def test_unknown_weights_and_devices_say_what_is_allowed(self):
        with pytest.raises(ConfigError, match="no weights 'better'; allowed: standard"):
            force_field_from(FAMILY, weights="better")
        with pytest.raises(ConfigError, match="'cuda' is not supported by effective-medium; allowed: cpu"):
            force_field_from(FAMILY, device="cuda")


def test_a_calculator_that_fails_at_one_crystal_fails_at_that_one_only():
    from ase.calculators.calculator import CalculationFailed
    from ase.calculators.emt import EMT

    class Fragile(EMT):
        def calculate(self, atoms=None, *arguments, **keywords):
            if len(atoms) == 2:
                raise CalculationFailed("did not converge")
            super().calculate(atoms, *arguments, **keywords)

    predictor = AsePredictor(Fragile(), 5.8, {"Cu": 0.0})
    counts, cells = np.array([1, 2, 1]), np.stack([3.6 * np.eye(3)] * 3)
    positions = np.array([[0.0, 0, 0], [0, 0, 0], [1.8, 1.8, 1.8], [0, 0, 0]])
    found = predictor.predict(np.full(4, 29), counts, positions, cells)
    assert found.failures == {1: Failure("calculation_failed", "CalculationFailed: did not converge")}
    assert found.energies[0] == found.energies[2] != 0.0
    assert found.interaction[0] == pytest.approx(found.energies[0])


def test_a_calculator_without_stress_is_no_force_field():
    from ase.calculators.lj import LennardJones

    class Molecular(LennardJones):
        implemented_properties: ClassVar[list[str]] = ["energy", "forces"]

        def calculate(self, *arguments, **keywords):
            super().calculate(*arguments, **keywords)
            self.results.pop("stress", None)

    predictor = AsePredictor(Molecular(), 6.0)
    with pytest.raises(ModelError, match="Molecular cannot be a force field, which gives energy, forces and stress"):
        predictor.predict(np.array([18]), np.array([1]), np.zeros((1, 3)), 4.0 * np.eye(3)[None])


def test_the_page_shows_the_files_that_the_tests_run():
    import re

    page = (EXAMPLE.parents[1] / "force-fields.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```(?:toml|python|yaml)\n(.*?)```", page, flags=re.DOTALL)
    names = ("pyproject.toml", "effective_medium/__init__.py", "effective_medium/force_field.py", "cu-au.yaml")
    for name in names:
        assert (EXAMPLE / name).read_text(encoding="utf-8") in blocks
