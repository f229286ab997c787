"""ADiT's networks from plain sizes and tensors, by the classes of the user's checkout: made, loaded, saved, sampled.

Numbers that are no settings are those of ADiT's own configurations (configs/ of its repository).
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import adit_stand_ins
import numpy as np
import torch
from adit_crystals import SYMBOLS
from coevo_drawing import seed_everything
from coevo_runner import TaskError

if TYPE_CHECKING:
    from collections.abc import Iterator

CHECKOUT = "all-atom-diffusion-transformer"
SIZES, AUTOENCODER, DENOISER = "adit.json", "vae.pt", "dit.pt"
"""Files of a model directory: sizes as JSON, and two tables of tensors."""

_MOST_BYTES = 1_000_000
"""Of that file."""

LEARNED = ("elements", "atoms")
"""What else stands in the JSON: elements that the autoencoder has seen, and how often crystals have how many atoms."""

_LIMITS = {
    "vae": {"d_model": 4096, "nhead": 64, "dim_feedforward": 16384, "num_layers": 64, "latent_dim": 512, "max_num_elements": 120},
    "dit": {"d_model": 4096, "nhead": 64, "num_layers": 64, "num_datasets": 16, "num_spacegroups": 300, "mlp": 8},
    "interpolant": {"num_timesteps": 10_000},
}
"""Largest sizes of each; together they are bounded by the files of the tensors (:func:`require_bytes`)."""

_LOSS_WEIGHTS = {
    "loss_atom_types": {"mp20": 1.0, "qm9": 1.0},
    "loss_lengths": {"mp20": 1.0, "qm9": 0.0},
    "loss_angles": {"mp20": 10.0, "qm9": 0.0},
    "loss_frac_coords": {"mp20": 10.0, "qm9": 0.0},
    "loss_pos": {"mp20": 0.0, "qm9": 10.0},
    "loss_kl": {"mp20": 1e-5, "qm9": 1e-5},
}


class _Settings(SimpleNamespace):
    """Hyperparameters with names, as ADiT asks for them."""


def device_of(request: dict[str, Any]) -> torch.device:
    """The device of a request; asking for a GPU that is not there is an error."""
    wanted = request["device"]
    if wanted == "cuda" and not torch.cuda.is_available():
        raise TaskError("no_gpu", "COEVO_DEVICE is cuda, and torch sees no GPU in this environment")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def checkout_of(request: dict[str, Any]) -> str:
    """The directory of the checkout that a request names, with stand-ins for what is not installed; ADiT can be imported."""
    root: str = request["checkouts"][CHECKOUT]
    adit_stand_ins.install(root)
    return root


def new_sizes(options: dict[str, Any]) -> dict[str, Any]:
    """Sizes of a model that is trained from scratch."""
    width, hidden = options["vae_width"], options["width"]
    return {
        "vae": {
            "d_model": width,
            "nhead": _heads(width),
            "dim_feedforward": 4 * width,
            "num_layers": options["vae_layers"],
            "latent_dim": 8,
            "max_num_elements": 100,
        },
        "dit": {
            "d_model": hidden,
            "nhead": _heads(hidden),
            "num_layers": options["layers"],
            "num_datasets": 2,
            "num_spacegroups": 230,
            "mlp": 4,
        },
        "interpolant": {"num_timesteps": 100},
    }


def _heads(width: int) -> int:
    """Attention heads of 64 channels, as in all of ADiT's sizes, or the next number that divides the width."""
    return next(heads for heads in range(max(1, width // 64), 0, -1) if width % heads == 0)


def checked_sizes(found: Any) -> dict[str, Any]:
    """Sizes as they were read, if they are whole numbers within limits and nothing else."""
    for part, limits in _LIMITS.items():
        sizes = found.get(part) if isinstance(found, dict) else None
        if not isinstance(sizes, dict) or sizes.keys() != limits.keys():
            raise TaskError("no_weights", f"{SIZES}: {part} is {str(sizes)[:200]}, allowed: {', '.join(limits)}")
        for name, most in limits.items():
            if type(sizes[name]) is not int or not 1 <= sizes[name] <= most:
                raise TaskError("no_weights", f"{SIZES}: {part}: {name} is {str(sizes[name])[:40]}, allowed: 1 to {most}")
        if part != "interpolant" and sizes["d_model"] % sizes["nhead"]:
            raise TaskError("no_weights", f"{SIZES}: {part}: {sizes['nhead']} heads do not divide a width of {sizes['d_model']}")
    return {part: dict(found[part]) for part in _LIMITS}


def parameters(sizes: dict[str, Any]) -> dict[str, int]:
    """Parameters of the matrices of each network, before it is built; biases and norms, some hundredths more, are not counted."""
    vae, dit = sizes["vae"], sizes["dit"]
    width, hidden = vae["d_model"], dit["d_model"]
    of_a_layer = 4 * width**2 + 2 * width * vae["dim_feedforward"]
    ends = 2 * width**2 + 2 * width * vae["max_num_elements"] + 3 * width * vae["latent_dim"]
    embedded = hidden * (dit["num_datasets"] + dit["num_spacegroups"] + 256 + hidden + 3 * vae["latent_dim"]) + 2 * hidden**2
    return {
        AUTOENCODER: 2 * vae["num_layers"] * of_a_layer + ends,
        DENOISER: dit["num_layers"] * (4 + 2 * dit["mlp"] + 6) * hidden**2 + embedded,
    }


def require_bytes(sizes: dict[str, Any], directory: Path) -> None:
    """Refuse sizes that are larger than the tensors beside them: nothing is built of a stranger's word alone."""
    for name, count in parameters(sizes).items():
        size = (directory / name).stat().st_size
        if size < 4 * count:
            raise TaskError("no_weights", f"{name} has {size} bytes, the network that {SIZES} describes {4 * count}")


class Model:
    """The autoencoder, and the latent diffusion model that has it inside.

    Parameters
    ----------
    sizes : dict
        As in ``adit.json``.
    device : torch.device
    vae, dit : dict, optional
        Tensors by name; random ones (of torch's present seed) if None.
    """

    def __init__(self, sizes: dict[str, Any], device: torch.device, vae: Any = None, dit: Any = None):
        from src.models.decoders.transformer import TransformerDecoder
        from src.models.denoisers.dit import DiT
        from src.models.encoders.transformer import TransformerEncoder
        from src.models.interpolants.flow_matching import FlowMatchingInterpolant
        from src.models.ldm_module import LatentDiffusionLitModule
        from src.models.vae_module import VariationalAutoencoderLitModule

        self.sizes, self.device = sizes, device
        shape = {name: size for name, size in sizes["vae"].items() if name != "latent_dim"}
        self.vae = VariationalAutoencoderLitModule(
            encoder=TransformerEncoder(**shape, activation="gelu", dropout=0.0, norm_first=True, bias=True),
            decoder=TransformerDecoder(**shape, activation="gelu", dropout=0.0, norm_first=True, bias=True),
            latent_dim=sizes["vae"]["latent_dim"],
            optimizer=None,
            scheduler=None,
            scheduler_frequency=1,
            loss_weights=_LOSS_WEIGHTS,
            augmentations=_Settings(noise=0.1, frac_coords=True, pos=True),
            visualization=_Settings(visualize=False, save_dir=""),
            compile=False,
        )
        if vae is not None:
            self.vae.load_state_dict(vae)
        shape = {name: size for name, size in sizes["dit"].items() if name != "mlp"}
        denoiser = DiT(d_x=sizes["vae"]["latent_dim"], mlp_ratio=float(sizes["dit"]["mlp"]), **shape)
        if dit is not None:
            denoiser.load_state_dict(dit)
        with _own_autoencoder(VariationalAutoencoderLitModule, self.vae):
            self.diffusion = LatentDiffusionLitModule(
                autoencoder_ckpt="the one that is here",
                denoiser=denoiser,
                interpolant=FlowMatchingInterpolant(
                    min_t=1e-2, corrupt=True, self_condition=True, self_condition_prob=0.5, device=device, **sizes["interpolant"]
                ),
                augmentations=_Settings(frac_coords=True, pos=True),
                sampling=_Settings(data_dir=str(_small_files(Path("data-of-adit"))), removeHs=False, visualize=False),
                conditioning=_Settings(dataset_idx=True, spacegroup=False),
                optimizer=None,
                scheduler=None,
                scheduler_frequency=1,
                compile=False,
            )
        self.diffusion.to(device)

    def decoded(self, atoms: int, crystals: int, guidance: float, steps: int) -> dict[str, Any]:
        """Draw crystals of one number of atoms and decode them; arrays as :func:`adit_crystals.candidates_of` takes them."""
        self.diffusion.eval()
        self.diffusion.interpolant.num_timesteps = steps
        one_number = torch.zeros(atoms + 1)
        one_number[atoms] = 1.0
        with torch.no_grad():
            out, _, _ = self.diffusion.sample_and_decode(
                num_nodes_bincount=one_number,
                spacegroups_bincount=None,
                batch_size=crystals,
                cfg_scale=guidance,
                dataset_idx=0,  # crystals
            )
        return {name: out[name].double().cpu().numpy() for name in ("atom_types", "frac_coords", "lengths", "angles")}

    def save(self, directory: Path, document: dict[str, Any]) -> None:
        """Write the model directory: tensors and plain values, so that no code has to be run to read it.

        What the document says of the crystals that were learned from stands beside the sizes: another node may start there.
        """
        directory.mkdir(parents=True, exist_ok=True)
        described = {**self.sizes, **{name: document[name] for name in LEARNED if name in document}}
        (directory / SIZES).write_text(json.dumps(described, sort_keys=True) + "\n", encoding="utf-8")
        for name, module in ((AUTOENCODER, self.vae), (DENOISER, self.diffusion.denoiser)):
            state = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in module.state_dict().items()}
            torch.save(state, directory / name)


@contextlib.contextmanager
def _own_autoencoder(lightning: Any, autoencoder: Any) -> Iterator[None]:
    """Within this block ADiT, which loads its autoencoder from a pickle, is given this one."""
    lightning.load_from_checkpoint = classmethod(lambda _cls, *_path, **_more: autoencoder)
    try:
        yield
    finally:
        del lightning.load_from_checkpoint


def _small_files(directory: Path) -> Path:
    """What a diffusion model opens when it is made: data to judge samples against and to draw numbers of atoms from.

    Nothing of them is used: coevo judges the samples, and says the number of atoms.
    """
    for name in ("mp_20", "qm9", "qmof"):
        (directory / name / "raw").mkdir(parents=True, exist_ok=True)
        torch.save(torch.ones(2), directory / name / "num_nodes_bincount.pt")
    torch.save(torch.ones(2), directory / "mp_20" / "spacegroups_bincount.pt")
    (directory / "mp_20" / "raw" / "all.csv").write_text('material_id,cif\nnone,""\n', encoding="utf-8")
    torch.save([], directory / "qm9" / "smiles.pt")
    return directory


def load_model(directory: Path, device: torch.device) -> Model:
    """Read a model directory that this runner wrote, wherever it comes from: no code can be run by it."""
    try:
        with (directory / SIZES).open("rb") as file:
            sizes = checked_sizes(json.loads(file.read(_MOST_BYTES)))
        require_bytes(sizes, directory)
        vae, dit = (torch.load(directory / name, map_location="cpu", weights_only=True) for name in (AUTOENCODER, DENOISER))
    except TaskError:
        raise
    except Exception as err:
        raise TaskError(
            "no_weights", f"{directory.name}: not the files of a model ({type(err).__name__}: {str(err)[:200]})"
        ) from err
    try:
        return Model(sizes, device, vae, dit)
    except RuntimeError as err:
        raise TaskError("no_weights", f"the tensors are not those of the sizes in {SIZES}: {str(err)[:300]}") from err


def open_model(request: dict[str, Any], device: torch.device) -> Model:
    """The model of the request: the node's own, or a new one of random numbers, the same each time."""
    if request["model"]:
        return load_model(Path(request["model"]), device)
    seed_everything(0)
    return Model(new_sizes(request["options"]), device)


def number_of_atoms(request: dict[str, Any], checkout: str) -> dict[int, float]:
    """Numbers of atoms and how often, as the last fit left them; those of MP-20 before the first."""
    told = request["document"].get("atoms")
    if told is None:
        return atoms_of_mp20(checkout)
    try:
        found = {int(n): float(p) for n, p in sorted(told.items(), key=lambda item: int(item[0]))}
    except (AttributeError, TypeError, ValueError):
        found = {}
    if not found or not all(0 < n <= 2000 and 0 <= p < np.inf for n, p in found.items()) or not sum(found.values()):
        raise TaskError("document", f"the checkpoint's numbers of atoms are {str(told)[:200]}, allowed: number to share")
    return found


def atoms_of_mp20(checkout: str) -> dict[int, float]:
    """Numbers of atoms and how often crystals of MP-20 have them, which ADiT's repository says."""
    counts = torch.load(Path(checkout, "data", "mp_20", "num_nodes_bincount.pt"), map_location="cpu", weights_only=True)
    found = {n: float(k) for n, k in enumerate(counts.tolist()) if n > 0 and k > 0}
    return {n: k / sum(found.values()) for n, k in found.items()}


def known_elements(document: dict[str, Any]) -> set[str]:
    """Elements that the autoencoder has seen, as its checkpoint says."""
    told = document.get("elements")
    return {symbol for symbol in told if symbol in SYMBOLS[1:]} if isinstance(told, list) else set()
