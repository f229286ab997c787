"""A small ADiT that really samples, trained on strained phases of Li-P-S in half a minute of one CPU; what its tests need."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from required_checkouts import require_checkouts
from small_mattergen import strained_examples

from coevo.configs.tree import GeneratorConfig
from coevo.models.external.adit import ADIT, AditGenerator

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = ADIT.checkouts[0]
MOST_ATOMS = 16
SMALL = {
    "vae_width": 64,
    "vae_layers": 2,
    "width": 64,
    "layers": 3,
    "steps": 25,
    "batch_size": 16,
    "train_batch_size": 16,
    "learning_rate": 2e-3,
    "validation_fraction": 0.2,
    "oversampling": 10.0,
    "vae_epochs": 120,
    "epochs": 80,
}


def small_settings(**changes: object) -> GeneratorConfig:
    """A network of 0.5 million parameters, from scratch unless ``weights`` say otherwise."""
    return GeneratorConfig(family="adit", max_atoms=MOST_ATOMS, fit_max_e_hull=2.0, adit={**SMALL, **changes})


@pytest.fixture(scope="session")
def adit_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The environment of ``make test-models``, and the user's checkout; its path. Without one the tests are skipped."""
    place = require_checkouts(ADIT)[CHECKOUT.name]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COEVO_SCRATCH", str(tmp_path_factory.mktemp("scratch")))
        yield place


@pytest.fixture(scope="session")
def small_adit(adit_environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model directory (``adit.json``, ``vae.pt``, ``dit.pt``)."""
    trained, report = AditGenerator.initial(small_settings()).fit(strained_examples(), 1)
    assert report["loss_after"] < 0.2 * report["loss_before"]
    target = tmp_path_factory.mktemp("adit") / "model"
    shutil.copytree(trained._model.path, target)
    return target
