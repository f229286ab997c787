"""A small MatterSim that knows Li2S and Li3P, trained from scratch on labels of CHGNet: about a minute of one CPU."""

from __future__ import annotations

import hashlib
import inspect
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
from coevo.models.contracts import Prediction, TrainingFrame
from coevo.models.external.environment import environment_of
from coevo.models.external.families import PROTOCOL_FILE
from coevo.models.external.fitting import write_frames
from coevo.models.registry import force_field_from

TRAINING = Path(__file__).with_name("small_mattersim_training.py")


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
        rng = np.random.default_rng(seed)
        perfect = lithium_sulfide() if seed % 2 else lithium_phosphide()
        crystals.append(rattled(perfect, seed, stdev=rng.uniform(0.0, 0.2), strain=rng.uniform(0.0, 0.1)))
    found = force_field_from("chgnet").evaluate(crystals)
    return [
        TrainingFrame(crystal, p.energy, p.forces, p.stress)
        for crystal, p in zip(crystals, found, strict=True)
        if isinstance(p, Prediction)
    ]


def trained(directory: Path) -> Path:
    """Train the model in a directory of its own."""
    write_frames(directory / "training.jsonl", chgnet_frames(range(128)))
    write_frames(directory / "validation.jsonl", chgnet_frames(range(1000, 1020)))
    shutil.copy(TRAINING, directory)
    in_environment(directory, TRAINING.name, "training.jsonl", "validation.jsonl", "results", HOME=str(directory))
    return directory / "results" / "best_model.pth"


@pytest.fixture(scope="session")
def small_mattersim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file as MatterSim writes it; kept with the environments for the next time that the same is asked for."""
    assert os.environ.get("COEVO_ENVIRONMENTS"), "run `make test-models`"
    recipe = TRAINING.read_text() + inspect.getsource(inspect.getmodule(trained)) + MATTERSIM_ENVIRONMENT.digest()
    name = f"small-mattersim-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}.pth"
    kept = Path(os.environ["COEVO_ENVIRONMENTS"]) / name
    if not kept.exists():
        made = trained(tmp_path_factory.mktemp("small-mattersim"))
        partial = kept.with_suffix(f".{os.getpid()}")
        partial.write_bytes(made.read_bytes())
        partial.replace(kept)
    return kept
