"""A checkout whose classes give what ADiT's own gave when they were recorded (``data/adit``); all else is the real thing."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

from coevo.configs.tree import GeneratorConfig
from coevo.models.external.adit import ADIT, AditGenerator
from coevo.models.external.model_files import ModelFiles

RECORDED = Path(__file__).resolve().parent / "data" / "adit"
REQUEST: dict[str, Any] = json.loads((RECORDED / "request.json").read_text())
RESULT: dict[str, Any] = json.loads((RECORDED / "result.json").read_text())

NUMBERS = {"vae": 224_112, "dit": 269_576}
"""Parameters of the networks that were recorded, counted by torch."""

NETWORK = """
class {name}:
    def __init__(self, **sizes):
        assert sorted(sizes) == {keys}, sorted(sizes)
    def load_state_dict(self, state):
        assert sorted(state) == ["weights"]
"""
OF_THE_AUTOENCODER = ["activation", "bias", "d_model", "dim_feedforward", "dropout", "max_num_elements", "nhead", "norm_first"]
NETWORKS = {
    "encoders/transformer.py": ("TransformerEncoder", sorted([*OF_THE_AUTOENCODER, "num_layers"])),
    "decoders/transformer.py": ("TransformerDecoder", sorted([*OF_THE_AUTOENCODER, "num_layers"])),
    "denoisers/dit.py": ("DiT", ["d_model", "d_x", "mlp_ratio", "nhead", "num_datasets", "num_layers", "num_spacegroups"]),
    "interpolants/flow_matching.py": (
        "FlowMatchingInterpolant",
        ["corrupt", "device", "min_t", "num_timesteps", "self_condition", "self_condition_prob"],
    ),
}
AUTOENCODER = """
import wandb
from src.eval.crystal_reconstruction import CrystalReconstructionEvaluator
from torch_scatter import scatter


class VariationalAutoencoderLitModule:
    def __init__(
        self, encoder, decoder, latent_dim, optimizer, scheduler, scheduler_frequency, loss_weights, augmentations,
        visualization, compile,
    ):
        CrystalReconstructionEvaluator()

    def load_state_dict(self, state):
        assert sorted(state) == ["weights"]
"""
DIFFUSION = """
import json
from pathlib import Path

import numpy as np
import torch
from src.eval.crystal_generation import CrystalGenerationEvaluator
from src.models.vae_module import VariationalAutoencoderLitModule
from src.utils import pylogger

HERE = Path(__file__).parent


class LatentDiffusionLitModule:
    def __init__(
        self, autoencoder_ckpt, denoiser, interpolant, augmentations, sampling, conditioning, optimizer, scheduler,
        scheduler_frequency, compile,
    ):
        self.autoencoder = VariationalAutoencoderLitModule.load_from_checkpoint(autoencoder_ckpt, map_location="cpu")
        assert isinstance(self.autoencoder, VariationalAutoencoderLitModule)
        self.interpolant = interpolant
        for name in ("mp_20/raw/all.csv", "qm9/smiles.pt", "qmof/num_nodes_bincount.pt", "mp_20/spacegroups_bincount.pt"):
            assert Path(sampling.data_dir, name).is_file(), name
        self.arrays, self.calls = np.load(HERE / "decoded.npz"), []

    def to(self, device):
        return self

    def eval(self):
        return self

    def sample_and_decode(self, num_nodes_bincount, spacegroups_bincount, batch_size, cfg_scale, dataset_idx):
        assert spacegroups_bincount is None and dataset_idx == 0
        (atoms,) = torch.nonzero(num_nodes_bincount).ravel().tolist()
        self.calls.append([atoms, batch_size, cfg_scale, self.interpolant.num_timesteps])
        (HERE / "calls.json").write_text(json.dumps(self.calls))
        call = len(self.calls) - 1
        if f"{call}.raises" in self.arrays:
            raise RuntimeError("a batch of numbers that no network stands")
        names = ("atom_types", "frac_coords", "lengths", "angles", "pos")
        return {n: torch.tensor(self.arrays[f"{call}.{n}"]) for n in names if f"{call}.{n}" in self.arrays}, {}, {}
"""


def make_checkout(directory: Path, decoded: Path = RECORDED / "decoded.npz") -> Path:
    """Write the checkout; ``src/models/calls.json`` in it will hold what was asked of it."""
    files = {"src/__init__.py": "", "src/models/__init__.py": "", "src/utils/pylogger.py": ""}
    files |= {f"src/models/{path}": NETWORK.format(name=name, keys=keys) for path, (name, keys) in NETWORKS.items()}
    files |= {"src/models/vae_module.py": AUTOENCODER, "src/models/ldm_module.py": DIFFUSION}
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    shutil.copyfile(decoded, directory / "src" / "models" / "decoded.npz")
    return directory


def make_environment(directory: Path, checkout: Path, *, agreed: bool = True) -> None:
    """Describe an environment of ADiT: this interpreter, and the checkout as it is."""
    directory.mkdir(exist_ok=True)
    named = ADIT.checkouts[0]
    consents = f"consents: {{{named.name}: {named.licence}}}\n" if agreed else ""
    text = f"python: {sys.executable}\nany_commit: true\ncheckouts: {{{named.name}: {checkout}}}\n{consents}"
    (directory / "adit.yaml").write_text(text)


def recorded_generator() -> AditGenerator:
    """The generator that was recorded, with as many zeros as its networks have parameters."""
    import torch

    model = ModelFiles()
    shutil.copyfile(RECORDED / "adit.json", model.path / "adit.json")
    for name, count in (("vae.pt", NUMBERS["vae"]), ("dit.pt", NUMBERS["dit"])):
        torch.save({"weights": torch.zeros(count)}, model.path / name)
    options = REQUEST["options"]
    keys = {name: value for name, value in options.items() if name != "fit_max_e_hull"}
    settings = GeneratorConfig(family="adit", max_atoms=16, fit_max_e_hull=options["fit_max_e_hull"], adit=keys)
    return AditGenerator(model, REQUEST["document"], settings)
