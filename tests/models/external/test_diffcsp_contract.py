"""DiffCSP fulfils the generator contract as far as it promises, with a small model that was trained in this run."""

from __future__ import annotations

import pytest
from generator_contract import GeneratorContract
from small_diffcsp import small_settings
from small_mattergen import strained_examples

from coevo.models.external.diffcsp import DiffCSPGenerator


@pytest.mark.models
class TestDiffCSPContract(GeneratorContract):
    generator_class = DiffCSPGenerator
    n = 4
    most_atoms = 16
    cases = 2

    @classmethod
    def examples(cls):
        return strained_examples()

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def model(cls, small_diffcsp, tmp_path_factory):
        """The node's weights are a folder, as a user's own would be."""
        # long and gentle enough that a fit makes a model better that was trained on the same crystals already
        cls.configuration = small_settings(weights=str(small_diffcsp), epochs=30, learning_rate=4e-4)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("COEVO_SCRATCH", str(tmp_path_factory.mktemp("scratch")))
            patch.setenv("COEVO_DEVICE", "cpu")
            yield
