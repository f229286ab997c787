"""The example of docs/generators.md fulfils the generator contract, through its runner."""

from __future__ import annotations

import pytest
from example_family import random_cells
from generator_contract import GeneratorContract

__all__ = ["random_cells"]


class TestExampleGenerator(GeneratorContract):
    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def family(cls, random_cells) -> None:
        cls.generator_class = random_cells
