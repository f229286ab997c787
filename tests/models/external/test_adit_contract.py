"""ADiT fulfils the generator contract as far as it promises, with a small model that was trained in this run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from generator_contract import GeneratorContract
from small_adit import MOST_ATOMS, small_settings
from small_mattergen import strained_examples

from coevo.models.external.adit import AditGenerator

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.models
class TestAditContract(GeneratorContract):
    generator_class = AditGenerator
    n = 6
    most_atoms = MOST_ATOMS
    cases = 4

    @classmethod
    def examples(cls):
        return strained_examples()

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def model(cls, small_adit: Path) -> None:
        """The node's weights are a folder, as a user's own would be."""
        cls.configuration = small_settings(weights=str(small_adit), epochs=8, learning_rate=5e-4)
