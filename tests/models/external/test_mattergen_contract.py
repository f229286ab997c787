"""MatterGen fulfils the generator contract as far as it promises, with a small model that was trained in this run."""

from __future__ import annotations

import pytest
from generator_contract import GeneratorContract
from small_mattergen import MOST_ATOMS, strained_examples

from coevo.configs.tree import GeneratorConfig
from coevo.models.external.mattergen import MatterGenGenerator


@pytest.mark.models
class TestMatterGenContract(GeneratorContract):
    generator_class = MatterGenGenerator
    n = 6
    most_atoms = MOST_ATOMS
    cases = 4

    @classmethod
    def examples(cls):
        return strained_examples()

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def model(cls, small_model, tmp_path_factory):
        """The node's weights are a folder, as a user's own would be."""
        cls.configuration = GeneratorConfig(
            family="mattergen",
            max_atoms=MOST_ATOMS,
            mattergen={
                "weights": str(small_model),
                "guidance_factor": 1.0,
                "batch_size": 8,
                "epochs": 2,
                "learning_rate": 2e-4,
                "train_batch_size": 8,
                "validation_fraction": 0.3,
            },
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("COEVO_SCRATCH", str(tmp_path_factory.mktemp("scratch")))
            yield
