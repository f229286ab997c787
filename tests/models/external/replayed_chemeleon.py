"""A package ``chemeleon_dng`` that draws what the real one drew (``data/chemeleon-dng``), for the real runner.

Its network is one number: what it learns is the mean of the logarithm of the volume per atom.
"""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING

from small_chemeleon import RECORDED, TINY, settings

from coevo.models.external.chemeleon import ChemeleonGenerator
from coevo.models.external.model_files import ModelFiles

if TYPE_CHECKING:
    from pathlib import Path

MODULE = '''
import json
from enum import Enum
from pathlib import Path
from types import SimpleNamespace

import torch

RECORDED = [json.loads(line) for line in (Path(__file__).parents[1] / "candidates.jsonl").read_text().splitlines()]
NUMBERS = {"Li": 3, "P": 15, "S": 16}


class DiffusionModuleTask(Enum):
    CSP = 1


class Network(torch.nn.Module):
    """Keeps whatever tensors it is given; a new one has as many as the smallest network that is allowed."""

    def __init__(self, hidden_dim, time_dim, num_layers, max_atoms, act_fn, dis_emb, num_freqs, ln, ip, smooth, cond_dim,
                 pred_atom_types):
        super().__init__()
        assert cond_dim == 0 and pred_atom_types is False
        self.held = {"a": torch.nn.Parameter(torch.zeros(2000))}

    def parameters(self, recurse=True):
        return iter(self.held.values())

    def state_dict(self):
        return dict(self.held)

    def load_state_dict(self, state):
        self.held = {name: torch.nn.Parameter(value) for name, value in state.items()}


class DiffusionModule(torch.nn.Module):
    def __init__(self, *, task, num_timesteps, diffusion_atom_type, diffusion_lattice, diffusion_frac_coord, model_configs,
                 optimizer_configs):
        super().__init__()
        assert task == DiffusionModuleTask.CSP and diffusion_atom_type is None
        assert len(diffusion_lattice.alphas) == len(diffusion_frac_coord.sigmas_norm) == num_timesteps + 1
        self.model, self.cells, self.steps, self.drawn = Network(**model_configs), diffusion_lattice, num_timesteps, 0

    def sample(self, *, task, num_atoms, atom_types, return_trajectory, verbose):
        assert task == "csp" and return_trajectory and not self.training and sum(num_atoms) == len(atom_types)
        if self.cells.bounds is None:
            lattices = 1000 * torch.eye(3).expand(len(num_atoms), 3, 3)
            return SimpleNamespace(container={0: SimpleNamespace(lattices=lattices, frac_coords=torch.zeros(sum(num_atoms), 3))})
        lines = RECORDED[self.drawn : self.drawn + len(num_atoms)]
        self.drawn += len(num_atoms)
        recorded = [NUMBERS[symbol] for line in lines for symbol in line["species"]]
        assert atom_types[: len(recorded)] == recorded
        for n in num_atoms[len(lines) :]:  # in the place of what was dropped
            lines.append({"lattice": [[2.0 * n, 0, 0], [0, 3.0, 0], [0, 0, 3.0]], "positions": [[k / n, 0, 0] for k in range(n)]})
        assert self.cells.bounds["least"].shape == (len(num_atoms), 3, 3)
        drawn = SimpleNamespace(
            lattices=torch.tensor([line["lattice"] for line in lines]),
            frac_coords=torch.tensor([row for line in lines for row in line["positions"]]) - 1.0,
        )
        return SimpleNamespace(container={0: drawn})

    def calculate_loss(self, x, t=None):
        assert t is None or (1 <= t.min() and t.max() <= self.steps and len(t) == x.num_graphs)
        assert len(x.atom_types) == len(x.frac_coords) == len(x.batch) == x.num_nodes == int(x.num_atoms.sum())
        assert torch.equal(torch.bincount(x.batch, minlength=x.num_graphs), x.num_atoms) and set(NUMBERS.values()) >= set(
            x.atom_types.tolist())
        wanted = torch.log(torch.linalg.det(x.lattices).abs() / x.num_atoms)
        return {"total_loss": ((self.model.held["a"][0] - wanted) ** 2).mean()}
'''
FILES = {
    "dataset/num_atom_distributions.py": 'NUM_ATOM_DISTRIBUTIONS = {"mp-20": {0: 0.0, 1: 0.25, 4: 0.75}}\n',
    "diffusion/diffusion_module.py": MODULE.lstrip(),
    "diffusion/diffusion_scheduler.py": (
        "import torch\n\n\ndef get_named_beta_schedule(name, steps):\n"
        "    assert name == 'cosine'\n    return torch.linspace(1e-4, 0.999, steps)\n"
    ),
    "diffusion/models/ddpm.py": (
        "import torch\n\n\nclass DDPM:\n    def __init__(self, *, betas):\n"
        "        self.alphas = torch.cat([torch.ones(1), 1.0 - betas])\n"
    ),
    "diffusion/models/dsm.py": (
        "import torch\n\n\nclass DSM:\n    def __init__(self, num_timesteps, sigma_begin, sigma_end):\n"
        "        self.sigmas_norm = torch.ones(num_timesteps + 1)\n"
    ),
    "schema.py": "from types import SimpleNamespace\n\n\nclass CrystalBatch(SimpleNamespace):\n    pass\n",
}


def make_package(directory: Path, environments: Path) -> None:
    """Write the package, and an environment whose interpreter is this one with the package on its path."""
    for name, text in FILES.items():
        path = directory / "chemeleon_dng" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    shutil.copyfile(RECORDED / "sample" / "output" / "candidates.jsonl", directory / "chemeleon_dng" / "candidates.jsonl")
    environments.mkdir()
    told = {"python": sys.executable, "variables": {"PYTHONPATH": str(directory)}}
    (environments / "chemeleon-dng.yaml").write_text(json.dumps(told))


def recorded_generator() -> ChemeleonGenerator:
    """The generator of the recorded fit."""
    model = ModelFiles()
    shutil.copytree(RECORDED / "fit" / "output" / "model", model.path, dirs_exist_ok=True)
    document = json.loads((RECORDED / "fit" / "result.json").read_text())["output"]["document"]
    return ChemeleonGenerator(model, document, settings(TINY))
