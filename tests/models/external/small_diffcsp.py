"""A small DiffCSP model that really samples, trained from the user's checkout on a few crystals in many cells."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from required_checkouts import require_checkouts
from small_mattergen import strained_examples

from coevo.configs.tree import GeneratorConfig
from coevo.models.external.diffcsp import DIFFCSP, DiffCSPGenerator

SMALL = {"hidden": 64, "layers": 2, "frequencies": 10, "steps": 30, "schedule": "linear", "validation_fraction": 0.3}
FROM_SCRATCH = {"weights": "scratch", "epochs": 60, "learning_rate": 2e-3, "train_batch_size": 16}
FURTHER = {"epochs": 6, "learning_rate": 1e-3, "train_batch_size": 16, "batch_size": 16, "oversampling": 10.0}


def small_settings(**changes) -> GeneratorConfig:
    return GeneratorConfig(family="diffcsp", max_atoms=16, fit_max_e_hull=0.5, diffcsp={**SMALL, **FURTHER, **changes})


@pytest.fixture(scope="session")
def small_diffcsp(tmp_path_factory) -> Path:
    """A model directory (``network.json``, ``weights.pt``), trained here."""
    require_checkouts(DIFFCSP)
    directory = tmp_path_factory.mktemp("diffcsp")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COEVO_SCRATCH", str(directory))
        patch.setenv("COEVO_DEVICE", "cpu")
        trained, report = DiffCSPGenerator.initial(small_settings(**FROM_SCRATCH)).fit(strained_examples(), 1)
    assert report["loss_after"] < 0.7 * report["loss_before"]
    shutil.copytree(trained._model.path, directory / "model")
    return directory / "model"
