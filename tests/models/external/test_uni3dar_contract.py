"""Uni-3DAR fulfils the generator contract as far as it promises, with a small network that learned one crystal in this run."""

from __future__ import annotations

import shutil

import pytest
from generator_contract import GeneratorContract
from pymatgen.core import Lattice, Structure
from required_checkouts import require_checkouts
from small_mattergen import strained_examples

from coevo.configs.tree import GeneratorConfig
from coevo.models.contracts import Example
from coevo.models.external.uni3dar import UNI3DAR, Uni3darGenerator

NETWORK = {"hidden": 64, "heads": 4, "layers": 2, "levels": 6, "augmentation": 0.0, "train_batch_size": 8}
LEARNING = {"epochs": 70, "learning_rate": 3e-3, "patience": 50, "validation_fraction": 0.2}


def one_crystal() -> list[Example]:
    """A cube of Li, P and S, a little larger each time: a small network learns no more in a minute. The cell has to be large
    against the errors of the corners, which have to be a parallelepiped within a twentieth of its edges.
    """
    structure = Structure(Lattice.cubic(6.0), ["Li", "P", "S"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0, 0]])
    return [Example(f"one-{k}", structure.copy().apply_strain(1e-4 * k, inplace=False), 0.0) for k in range(60)]


@pytest.mark.models
class TestUni3darContract(GeneratorContract):
    generator_class = Uni3darGenerator
    n = 6
    most_atoms = 8
    cases = 3

    @classmethod
    def examples(cls):
        return strained_examples()

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def model(cls, tmp_path_factory):
        """The node's weights are a model directory, as a user's own would be."""
        require_checkouts(UNI3DAR)
        directory = tmp_path_factory.mktemp("uni3dar")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("COEVO_SCRATCH", str(directory))
            small = GeneratorConfig(family="uni3dar", uni3dar={**NETWORK, **LEARNING})
            trained, report = Uni3darGenerator.initial(small).fit(one_crystal(), 3)
            assert report["loss_after"] < 0.2 * report["loss_before"]
            shutil.copytree(trained._model.path, directory / "model")
            cls.configuration = GeneratorConfig(
                family="uni3dar",
                max_atoms=cls.most_atoms,
                uni3dar={
                    **NETWORK,
                    "weights": str(directory / "model"),
                    "temperature": 0.5,
                    "oversampling": 50.0,
                    "batch_size": 32,
                    "epochs": 1,
                    "learning_rate": 1e-4,
                    "validation_fraction": 0.3,
                },
            )
            yield
