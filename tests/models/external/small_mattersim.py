"""A small MatterSim that knows Li2S and Li3P by CHGNet's labels: made at random, trained by the fit that all its models have."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from force_field_contract import lithium_phosphide, lithium_sulfide, rattled

from coevo.families.built_in import MATTERSIM_ENVIRONMENT
from coevo.models.contracts import FitSettings, Prediction, TrainingFrame
from coevo.models.external.archive import pack
from coevo.models.external.environment import environment_of
from coevo.models.external.families import PROTOCOL_FILE
from coevo.models.external.fitting import write_frames
from coevo.models.external.mattersim import MatterSimForceField
from coevo.models.registry import force_field_from

HERE = Path(__file__).parent
DOCUMENT = {"weights": "mattersim-v1.0.0-1M", "energy_scale": "pbe", "functional": "PBE"}
"""What a checkpoint that began with published weights says; those are not at hand."""


def in_environment(directory: Path, *words: str, **variables: str) -> str:
    """What a Python program prints that MatterSim's environment runs in a directory, beside the modules of the runner."""
    environment = environment_of(MATTERSIM_ENVIRONMENT)
    for module in (PROTOCOL_FILE, *MATTERSIM_ENVIRONMENT.companions):
        shutil.copy(module, directory / module.name)
    done = subprocess.run(
        environment.command(*words),
        cwd=directory,
        env={**environment.variables(), "OMP_NUM_THREADS": "1", **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def answer_of(directory: Path, program: str, **variables: str) -> Any:
    """The last line that a program prints, as JSON."""
    return json.loads(in_environment(directory, "-c", program, **variables).splitlines()[-1])


def chgnet_frames(seeds: range) -> list[TrainingFrame]:
    """Crystals of Li2S and Li3P with CHGNet's labels, from small to large displacements and strains."""
    crystals = []
    for seed in seeds:
        share = 0.3 + np.random.default_rng(seed).uniform()
        perfect = lithium_sulfide() if seed % 2 else lithium_phosphide()
        crystals.append(rattled(perfect, seed, stdev=0.12 * share, strain=0.06 * share))
    found = force_field_from("chgnet").evaluate(crystals)
    return [
        TrainingFrame(crystal, p.energy, p.forces, p.stress)
        for crystal, p in zip(crystals, found, strict=True)
        if isinstance(p, Prediction)
    ]


@pytest.fixture(scope="session")
def small_mattersim(tmp_path_factory: pytest.TempPathFactory) -> tuple[MatterSimForceField, dict[str, Any]]:
    """The force field, and the report of the fit that made it."""
    assert os.environ.get("COEVO_ENVIRONMENTS"), "run `make test-models`"
    directory = tmp_path_factory.mktemp("mattersim")
    training, validation = chgnet_frames(range(120)), chgnet_frames(range(1000, 1020))
    write_frames(directory / "frames.jsonl", training)
    shutil.copy(HERE / "mattersim_initial.py", directory)
    in_environment(directory, "mattersim_initial.py", "frames.jsonl", "initial.pth")
    pack(directory / "packed", "mattersim", DOCUMENT, {"checkpoint.pth": directory / "initial.pth"})
    initial = MatterSimForceField.load(directory / "packed")
    return initial.fit(training, validation, FitSettings(epochs=6, learning_rate=5e-3, batch_size=8), seed=1)
