"""Model files of a user's own: checkpoints of ADiT's trainers, or a model directory of a node; both become a model directory.

Checkpoints of ADiT are pickles of whole networks. They are unpickled only where the user's own configuration names the folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from adit_crystals import SYMBOLS
from adit_model import LEARNED, SIZES, Model, checked_sizes, checkout_of, load_model
from coevo_runner import OUTPUT, TaskError, require_trust

_NOT_IN_MP20 = {"Po", "At", "Rn", "Fr", "Ra"}
"""Up to plutonium, MP-20 has crystals of all elements but these."""


def read(request: dict[str, Any]) -> dict[str, Any]:
    """Make a model directory of the user's files; nothing is opened unless the request says that they are trusted."""
    directory = Path(require_trust(request))
    checkout_of(request)
    cpu = torch.device("cpu")
    document: dict[str, Any] = {}
    if (directory / SIZES).is_file():
        model = load_model(directory, cpu)
        told = json.loads((directory / SIZES).read_text(encoding="utf-8"))
        document = {name: told[name] for name in LEARNED if name in told}
    else:
        parts = _parts(directory)
        sizes = checked_sizes({"vae": _autoencoder_sizes(parts["vae"]), **_diffusion_sizes(parts["dit"])})
        prefix = "denoiser."
        dit = {k[len(prefix) :]: v for k, v in parts["dit"]["state_dict"].items() if k.startswith(prefix)}
        try:
            model = Model(sizes, cpu, parts["vae"]["state_dict"], dit)
        except RuntimeError as err:
            raise TaskError("no_weights", f"the checkpoints are not of the networks that they name: {str(err)[:300]}") from err
        document["elements"] = sorted(set(SYMBOLS[1 : SYMBOLS.index("Pu") + 1]) - _NOT_IN_MP20)
    model.save(OUTPUT / "model", document)
    return {"model": "model", "document": document}


def _parts(directory: Path) -> dict[str, Any]:
    """The two checkpoints, told apart by what they hold."""
    files = sorted(directory.glob("*.ckpt"))
    found: dict[str, Any] = {}
    for path in files:
        try:
            checkpoint = torch.load(path, map_location="cpu", weights_only=False)
            names = checkpoint["state_dict"].keys()
        except Exception as err:
            raise TaskError(
                "no_weights", f"{path.name} is no checkpoint of ADiT ({type(err).__name__}: {str(err)[:200]})"
            ) from err
        found["dit" if any(name.startswith("denoiser.") for name in names) else "vae"] = checkpoint
    if len(files) != 2 or len(found) != 2:
        raise TaskError(
            "no_weights",
            f"got {len(files)} files .ckpt ({', '.join(found) or 'nothing of ADiT'}), allowed: two, of an autoencoder and of the "
            "diffusion model that was trained on it",
        )
    return found


def _autoencoder_sizes(checkpoint: Any) -> dict[str, int]:
    given = checkpoint["hyper_parameters"]
    encoder, decoder = given["encoder"], given["decoder"]
    for network, allowed in ((encoder, "TransformerEncoder"), (decoder, "TransformerDecoder")):
        if type(network).__name__ != allowed:
            raise TaskError("no_weights", f"the autoencoder has a {type(network).__name__}, allowed: {allowed}")
    layers = encoder.transformer.layers
    return {
        "d_model": encoder.d_model,
        "nhead": layers[0].self_attn.num_heads,
        "dim_feedforward": layers[0].linear1.out_features,
        "num_layers": len(layers),
        "latent_dim": int(given["latent_dim"]),
        "max_num_elements": encoder.max_num_elements,
    }


def _diffusion_sizes(checkpoint: Any) -> dict[str, Any]:
    given = checkpoint["hyper_parameters"]
    denoiser = given["denoiser"]
    return {
        "dit": {
            "d_model": denoiser.d_model,
            "nhead": denoiser.nhead,
            "num_layers": len(denoiser.blocks),
            "num_datasets": denoiser.dataset_embedder.num_classes,
            "num_spacegroups": denoiser.spacegroup_embedder.num_classes,
            "mlp": denoiser.blocks[0].mlp.fc1.out_features // denoiser.d_model,
        },
        "interpolant": {"num_timesteps": int(given["interpolant"].num_timesteps)},
    }
