"""A force field in an environment of its own fulfils the contract of force fields, through a worker that stays."""

from __future__ import annotations

from typing import ClassVar

import pytest
from fake_family import fake
from force_field_contract import ForceFieldContract
from pymatgen.core import Lattice, Structure

from coevo.models.registry import force_field_from

__all__ = ["fake"]


class TestWorkerContract(ForceFieldContract):
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
    def force_field(cls, fake):
        return force_field_from("fake")
