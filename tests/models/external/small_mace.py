"""A small MACE model, trained from scratch by MACE's own command on labels of CHGNet: about a minute of one CPU."""

from __future__ import annotations

import hashlib
import inspect
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from ase.io import write
from force_field_contract import lithium_phosphide, lithium_sulfide, rattled
from pymatgen.io.ase import AseAtomsAdaptor

from coevo.families.built_in import MACE_ENVIRONMENT
from coevo.models.external.environment import directory_of, python_in
from coevo.models.registry import force_field_from

ELEMENTS = [*range(1, 84), *range(89, 95)]
"""Of the published models, so that the small one knows all that its family does."""
SEED = 5
TRAINING = """
    --model MACE --hidden_irreps 16x0e+16x1o --r_max 5.0 --num_interactions 2 --max_ell 2 --correlation 2 --num_radial_basis 6
    --MLP_irreps 8x0e --loss universal --energy_weight 10 --forces_weight 10 --stress_weight 100 --compute_stress True
    --batch_size 8 --valid_batch_size 16 --lr 0.01 --max_num_epochs 8 --eval_interval 7 --device cpu --default_dtype float32
    --num_workers 0 --energy_key REF_energy --forces_key REF_forces --stress_key REF_stress --scaling rms_forces_scaling
    --plot False
"""


def labelled_atoms(seeds: range) -> list:
    """Crystals of the contract, rattled by a little to much and strained, with CHGNet's labels as MACE's command reads them."""
    rng = np.random.default_rng(seeds.start)
    structures = []
    for seed in seeds:
        crystal = lithium_sulfide() if seed % 2 else lithium_phosphide()
        structures.append(rattled(crystal, seed, stdev=rng.uniform(0.0, 0.2), strain=rng.uniform(0.0, 0.1)))
    found = []
    for structure, prediction in zip(structures, force_field_from("chgnet").evaluate(structures), strict=True):
        atoms = AseAtomsAdaptor.get_atoms(structure)
        atoms.info = {"REF_energy": prediction.energy * len(atoms), "REF_stress": prediction.stress}
        atoms.arrays["REF_forces"] = prediction.forces
        found.append(atoms)
    return found


def in_environment(*words: str, directory: Path) -> str:
    """Run the Python of MACE's environment, one thread; what it prints."""
    python = python_in(directory_of(MACE_ENVIRONMENT.name))
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([python, *words], cwd=directory, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout


def trained(directory: Path) -> Path:
    """Train the model in a directory of its own."""
    frames = labelled_atoms(range(96))
    write(directory / "train.xyz", frames[:80], format="extxyz")
    write(directory / "valid.xyz", frames[80:], format="extxyz")
    energies = dict.fromkeys(ELEMENTS, 0.0)
    # by least squares CHGNet's crystals of Li2S and Li3P have these energies of the elements, about
    energies.update({3: -2.9, 15: -5.5, 16: -6.0})
    given = ["--atomic_numbers", str(ELEMENTS), "--E0s", str(energies), "--seed", str(SEED), "--name", "small"]
    files = ["--train_file", "train.xyz", "--valid_file", "valid.xyz"]
    in_environment("-m", "mace.cli.run_train", *given, *files, *TRAINING.split(), directory=directory)
    return directory / "small.model"


@pytest.fixture(scope="session")
def small_mace(tmp_path_factory) -> Path:
    """A file as MACE writes it; kept with the environments for the next time that the same is asked for."""
    environments = Path(os.environ["COEVO_ENVIRONMENTS"])
    recipe = inspect.getsource(inspect.getmodule(trained)) + MACE_ENVIRONMENT.digest()
    kept = environments / f"small-mace-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}.model"
    if not kept.exists():
        made = trained(tmp_path_factory.mktemp("small-mace"))
        partial = kept.with_suffix(f".{os.getpid()}")
        partial.write_bytes(made.read_bytes())
        partial.replace(kept)
    return kept
