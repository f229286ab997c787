"""What a DiffCSP network is built from: plain numbers, and the overrides of DiffCSP's own configuration that they are.

A checkpoint of coevo's holds these numbers and tensors, and nothing that names what to construct: the classes are those of the
checkout's ``conf/model/diffusion.yaml``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from coevo_runner import TaskError

NETWORK_FILE = "network.json"
WEIGHTS_FILE = "weights.pt"
COMPOSITIONS_FILE = "compositions.json"
"""The table of the examples' compositions, for another node that starts from the directory."""

_MOST_BYTES = 100_000
"""Of the file of numbers."""

SCHEDULES = ("cosine", "linear", "quadratic", "sigmoid")

# name → (place in DiffCSP's configuration, type, smallest, largest)
_NUMBERS: dict[str, tuple[str, type, float, float]] = {
    "hidden": ("decoder.hidden_dim", int, 8, 4096),
    "layers": ("decoder.num_layers", int, 1, 64),
    "frequencies": ("decoder.num_freqs", int, 1, 1024),
    "elements": ("decoder.max_atoms", int, 1, 118),
    "layer_norm": ("decoder.ln", bool, 0, 1),
    "inner_products": ("decoder.ip", bool, 0, 1),
    "time_width": ("time_dim", int, 4, 4096),
    "steps": ("timesteps", int, 2, 10_000),
    "cost_coordinates": ("cost_coord", float, 1e-4, 1e4),
    "cost_lattice": ("cost_lattice", float, 1e-4, 1e4),
    "beta_start": ("beta_scheduler.beta_start", float, 1e-6, 0.9999),
    "beta_end": ("beta_scheduler.beta_end", float, 1e-6, 0.9999),
    "sigma_begin": ("sigma_scheduler.sigma_begin", float, 1e-5, 1.0),
    "sigma_end": ("sigma_scheduler.sigma_end", float, 1e-4, 10.0),
}
_LARGEST = 2_000_000_000
"""Bytes of a network, at most; the published ones have 50 million."""

_DEFAULTS: dict[str, Any] = {
    "hidden": 512,
    "layers": 6,
    "frequencies": 128,
    "elements": 100,
    "layer_norm": True,
    "inner_products": True,
    "time_width": 256,
    "steps": 1000,
    "cost_coordinates": 1.0,
    "cost_lattice": 1.0,
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "sigma_begin": 0.005,
    "sigma_end": 0.5,
    "schedule": "cosine",
}
"""Those of DiffCSP's own configuration files."""


def new_network(options: dict[str, Any]) -> dict[str, Any]:
    """The network that a node trains from scratch, by its settings.

    A linear schedule ends where nothing of the cell is left: the betas sum to about 10, as those of 1000 steps up to 0.02 do.
    """
    chosen = {name: options[name] for name in ("hidden", "layers", "frequencies", "steps", "schedule")}
    return checked({**_DEFAULTS, **chosen, "beta_end": min(0.5, 20.0 / options["steps"])})


def checked(network: Any) -> dict[str, Any]:
    """The numbers of a network, if that is what they are; they may come from a stranger's checkpoint."""
    if not isinstance(network, dict) or network.keys() != _DEFAULTS.keys() or network["schedule"] not in SCHEDULES:
        raise TaskError("no_network", f"{NETWORK_FILE} does not have the numbers of a DiffCSP network: {', '.join(_DEFAULTS)}")
    for name, (_, kind, least, most) in _NUMBERS.items():
        value = network[name]
        sound = type(value) is kind or (kind is float and type(value) is int)
        if not sound or not least <= value <= most:
            raise TaskError("no_network", f"{NETWORK_FILE}: {name}: got {str(value)[:40]!r}, allowed: {least:g} to {most:g}")
    return dict(network)


def read_network(directory: str) -> dict[str, Any]:
    """The numbers beside a model's weights."""
    try:
        with Path(directory, NETWORK_FILE).open("rb") as file:
            found = json.loads(file.read(_MOST_BYTES))
    except (OSError, ValueError) as err:
        raise TaskError("no_network", f"{NETWORK_FILE} cannot be read: {err}") from None
    return checked(found)


def parameters(network: dict[str, Any]) -> int:
    """Parameters of the network, before it is built: embeddings, layers of an edge and a node network each, and two outputs."""
    width, frequencies = network["hidden"], network["frequencies"]
    edge = (2 * width + 9 + 6 * frequencies + 1) * width + (width + 1) * width
    node = (2 * width + 1) * width + (width + 1) * width
    norm = 2 * width if network["layer_norm"] else 0
    embedded = network["elements"] * width + (width + network["time_width"] + 1) * width
    return embedded + network["layers"] * (edge + node + norm) + norm + (3 + 9) * width


def require_size(network: dict[str, Any], weights: Path | None) -> None:
    """Refuse a network that is larger than its weights, or than any of DiffCSP's: nothing is built of a stranger's word alone."""
    expected = 4 * parameters(network)
    if weights is not None and weights.stat().st_size < expected:
        raise TaskError("no_weights", f"{WEIGHTS_FILE} has {weights.stat().st_size} bytes, the network beside it {expected}")
    if expected > _LARGEST:
        raise TaskError("no_network", f"{NETWORK_FILE}: the network has {expected} bytes, allowed: {_LARGEST}")


def overrides(network: dict[str, Any]) -> list[str]:
    """Words for DiffCSP's own configuration that describe the network."""
    found = ["model=diffusion", f"model.beta_scheduler.scheduler_mode={network['schedule']}"]
    for name, (place, *_) in _NUMBERS.items():
        plus = "+" if name.startswith("beta_") else ""  # not in conf/model/beta_scheduler/cosine.yaml
        found.append(f"{plus}model.{place}={json.dumps(network[name])}")
    return found


def network_of(configuration: Any) -> dict[str, Any]:
    """The numbers in ``hparams.yaml`` of a model directory that DiffCSP wrote.

    Raises
    ------
    TaskError
        If it describes another model than the one that predicts structures of given compositions.
    """
    model = configuration.get("model") if isinstance(configuration, dict) else None
    if not isinstance(model, dict) or model.get("_target_") != "diffcsp.pl_modules.diffusion.CSPDiffusion":
        target = model.get("_target_") if isinstance(model, dict) else None
        raise TaskError(
            "no_weights",
            f"hparams.yaml describes {str(target)[:80]!r}, allowed: diffcsp.pl_modules.diffusion.CSPDiffusion, which draws "
            "structures of given compositions (model=diffusion)",
        )
    decoder = _part(model, "decoder")
    fixed = {"edge_style": ("fc", "fc"), "dis_emb": ("sin", "sin"), "act_fn": ("silu", "silu"), "latent_dim": (0, 0)}
    for name, (wanted, default) in fixed.items():
        if decoder.get(name, default) != wanted:
            raise TaskError("no_weights", f"hparams.yaml: model.decoder.{name}: got {decoder[name]!r}, allowed: {wanted!r}")
    found = dict(_DEFAULTS)
    for name, (place, kind, *_) in _NUMBERS.items():
        section, _, key = place.rpartition(".")
        value = (_part(model, section) if section else model).get(key)
        if isinstance(value, (int, float)):
            found[name] = kind(value)
    found["schedule"] = _part(model, "beta_scheduler").get("scheduler_mode", "cosine")
    return checked(found)


def _part(model: dict[str, Any], name: str) -> dict[str, Any]:
    part = model.get(name)
    return part if isinstance(part, dict) else {}
