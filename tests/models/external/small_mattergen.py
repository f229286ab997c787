"""A small MatterGen model that really samples, trained on crystals that coevo itself made and relaxed: minutes of one CPU."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from generator_contract import li_p_s_examples

from coevo.configs.tree import GeneratorConfig
from coevo.models.contracts import Example
from coevo.models.external.mattergen import MatterGenGenerator
from tiny_node import TINY, Coevo

MOST_ATOMS = 8
CANDIDATES = 400
SMALL = {"weights": "small", "hidden": 48, "blocks": 2, "steps": 50}
TRAINING = {"epochs": 80, "patience": 20, "learning_rate": 2e-3, "train_batch_size": 16}

CRYSTALS = (
    TINY.replace("name: tiny", "name: crystals")
    .replace("candidates: 8", f"candidates: {CANDIDATES}")
    .replace("shard_size: 4", "shard_size: 100")
    .replace("max_atoms: 8", f"max_atoms: {MOST_ATOMS}")
    .replace("batch_size: 2\n", "batch_size: 16\n")
    .replace("structures: 5", "structures: 1")
)


def small_settings(**changes) -> GeneratorConfig:
    """The small model from scratch, trained for long."""
    return GeneratorConfig(
        family="mattergen", max_atoms=MOST_ATOMS, fit_max_e_hull=0.5, mattergen={**SMALL, **TRAINING, **changes}
    )


def strained_examples() -> list[Example]:
    """The examples of the contract, each in a few cells of its own, so that some are for validation."""
    found = []
    for example in li_p_s_examples():
        for k in range(8):
            structure = example.structure.copy().apply_strain(0.002 * k, inplace=False)
            energy = min(example.energy_above_hull, 0.25) + 0.002 * k
            found.append(Example(f"{example.id}-{k}", structure, energy))
    return found


def relaxed_crystals(directory: Path) -> list[Example]:
    """Entries of a node with the embedded generator, after one iteration: generated, relaxed by CHGNet, unique."""
    from ase.io import read
    from pymatgen.io.ase import AseAtomsAdaptor

    coevo = Coevo(directory)
    (directory / "crystals.yaml").write_text(CRYSTALS)
    coevo("init", "crystals.yaml")
    coevo("run", "crystals")
    coevo("query", "crystals", "--format", "extxyz", "--output", "crystals.extxyz")
    frames = read(directory / "crystals.extxyz", ":")
    return [Example(a.info["structure_id"], AseAtomsAdaptor.get_structure(a), float(a.info["energy_above_hull"])) for a in frames]


@pytest.fixture(scope="session")
def crystals(tmp_path_factory) -> list[Example]:
    """At least 200 relaxed crystals of at most 8 atoms."""
    found = relaxed_crystals(tmp_path_factory.mktemp("crystals"))
    assert len(found) >= 200
    assert all(len(example.structure) <= MOST_ATOMS for example in found)
    return found


@pytest.fixture(scope="session")
def small_model(crystals, tmp_path_factory) -> Path:
    """A model directory of MatterGen (``config.yaml``, ``checkpoints/last.ckpt``), trained on the crystals."""
    assert os.environ.get("COEVO_ENVIRONMENTS"), "run `make test-models`"
    directory = tmp_path_factory.mktemp("mattergen")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COEVO_SCRATCH", str(directory))
        trained, report = MatterGenGenerator.initial(small_settings()).fit(crystals, 1)
    assert report["loss_after"] < 0.6 * report["loss_before"]
    shutil.copytree(trained._model.path, directory / "model")
    return directory / "model"
