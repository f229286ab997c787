"""CHGNet weights: the published ones from the ``chgnet`` wheel, and checkpoints of ours as safetensors."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from coevo.errors import CheckpointError, ConfigError
from coevo.models.chgnet.architecture import Architecture

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

FORMAT = "coevo-chgnet-1"
METADATA_KEY = "coevo"
"""One metadata key only: safetensors writes metadata from a hash map, whose order is not fixed."""
COMPOSITION_KEY = "composition_model.fc.weight"

PUBLISHED: dict[str, tuple[str, str, str]] = {
    "0.3.0": ("0.3.0/chgnet_0.3.0_e29f68s314m37.pth.tar", "mp2020", "PBE"),
    "0.2.0": ("0.2.0/chgnet_0.2.0_e30f77s348m32.pth.tar", "mp2020", "PBE"),
    "r2scan": ("r2scan/chgnet_r2scan_transfer_learning_e15f36s161m23.pth.tar", "r2scan", "r2SCAN"),
}
"""Name to file in the wheel, energy scale and functional."""

FIXED_HYPERPARAMETERS: dict[str, Any] = {
    "atom_fea_dim": 64,
    "bond_fea_dim": 64,
    "angle_fea_dim": 64,
    "atom_conv_hidden_dim": 64,
    "bond_conv_hidden_dim": 64,
    "angle_layer_hidden_dim": 0,
    "update_bond": True,
    "update_angle": True,
    "read_out": "ave",
    "mlp_first": True,
    "is_intensive": True,
    "non_linearity": "silu",
    "conv_dropout": 0,
    "mlp_dropout": 0,
}
"""What all published CHGNets have in common and this network takes for granted."""


@dataclass(frozen=True)
class Weights:
    """Architecture and parameters of one CHGNet.

    Attributes
    ----------
    architecture : Architecture
    parameters : dict of str to Tensor
        float32, on the CPU, without gradients; names as in ``chgnet.model.CHGNet``.
    """

    architecture: Architecture
    parameters: Mapping[str, Tensor]

    def to_bytes(self) -> bytes:
        """The checkpoint as safetensors; the same weights give the same bytes."""
        from safetensors.torch import save

        header = f'{{"architecture":{self.architecture.to_json()},"format":"{FORMAT}"}}'
        tensors = {name: self.parameters[name].contiguous() for name in sorted(self.parameters)}
        return save(tensors, metadata={METADATA_KEY: header})

    @cached_property
    def digest(self) -> str:
        """sha256 of the checkpoint's bytes, hexadecimal."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


def published_weights(name: str) -> Weights:
    """Read published weights from the installed ``chgnet`` package; no network is used.

    Raises
    ------
    ConfigError
        If there are no weights of this name.
    CheckpointError
        If the file in the package cannot be read.
    """
    if name not in PUBLISHED:
        raise ConfigError(f"CHGNet has no published weights {name!r}; allowed: {', '.join(PUBLISHED)}")
    import importlib.util
    from pathlib import Path

    import torch

    spec = importlib.util.find_spec("chgnet")
    if spec is None or spec.origin is None:
        raise CheckpointError("the package chgnet is not installed: its wheel holds the published weights; pip install chgnet")
    file, energy_scale, functional = PUBLISHED[name]
    path = Path(spec.origin).parent / "pretrained" / file
    try:
        model = torch.load(path, map_location="cpu", weights_only=True)["model"]
    except (OSError, RuntimeError, KeyError, EOFError) as err:
        raise CheckpointError(f"{path} does not hold CHGNet weights ({err}); reinstall the package chgnet") from err
    arguments, state = model["model_args"], model["state_dict"]
    for key, value in FIXED_HYPERPARAMETERS.items():
        if arguments.get(key, value) != value:
            raise CheckpointError(f"{path}: {key}={arguments[key]!r}, but this network is written for {value!r}")
    architecture = Architecture(
        weights=name,
        energy_scale=energy_scale,
        functional=functional,
        num_radial=arguments["num_radial"],
        num_angular=arguments["num_angular"],
        n_conv=arguments["n_conv"],
        atom_graph_cutoff=float(arguments["atom_graph_cutoff"]),
        bond_graph_cutoff=float(arguments["bond_graph_cutoff"]),
        cutoff_coeff=arguments["cutoff_coeff"],
        gated_norm=arguments.get("gMLP_norm", "layer") == "layer",
        readout_norm=arguments.get("readout_norm", "layer") == "layer",
        output_bias="atom_conv_layers.0.mlp_out.layers.1.bias" in state,
    )
    return checked_weights(architecture, state, str(path))


def weights_from_bytes(data: bytes, source: str) -> Weights:
    """Read a checkpoint of ours.

    Parameters
    ----------
    data : bytes
    source : str
        Name of the file, for messages.

    Raises
    ------
    CheckpointError
        If the bytes are truncated, of another family, or not finite.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        header_length = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + header_length].decode("utf-8")).get("__metadata__", {})
        tensors = load(data)
    except (SafetensorError, ValueError, AttributeError) as err:
        raise CheckpointError(
            f"{source} is not a readable safetensors file ({len(data)} bytes; {err}): "
            "it is truncated or of another kind; restore it from its artifact or start from published weights"
        ) from err
    try:
        header = json.loads(metadata[METADATA_KEY])
        kind = header["format"]
        architecture = header["architecture"]
    except (KeyError, TypeError, ValueError) as err:
        raise CheckpointError(
            f"{source} is a safetensors file, but not a CHGNet checkpoint of coevo (no {FORMAT} header)"
        ) from err
    if kind != FORMAT:
        raise CheckpointError(f"{source} has checkpoint format {kind!r}; this version of coevo reads {FORMAT!r}")
    return checked_weights(Architecture.from_dict(architecture), tensors, source)


def read_weights(path: Path) -> Weights:
    """Read a checkpoint file of ours.

    Raises
    ------
    CheckpointError
        If it is missing, truncated, of another family, or not finite.
    """
    try:
        data = path.read_bytes()
    except OSError as err:
        raise CheckpointError(f"checkpoint {path} cannot be read: {err.strerror or err}") from err
    return weights_from_bytes(data, str(path))


def parameter_shapes(architecture: Architecture) -> dict[str, tuple[int, ...]]:
    """Name and shape of every parameter that a CHGNet of this architecture has (besides its readout layers' number)."""
    dim, hidden = 64, 64
    shapes: dict[str, tuple[int, ...]] = {
        COMPOSITION_KEY: (1, 94),
        "atom_embedding.embedding.weight": (94, dim),
        "bond_basis_expansion.rbf_expansion_ag.frequencies": (architecture.num_radial,),
        "bond_basis_expansion.rbf_expansion_bg.frequencies": (architecture.num_radial,),
        "angle_basis_expansion.fourier_expansion.frequencies": ((architecture.num_angular - 1) // 2,),
        "angle_embedding.weight": (dim, architecture.num_angular),
        "site_wise.weight": (1, dim),
        "site_wise.bias": (1,),
    }
    for name in ("bond_embedding", "bond_weights_ag", "bond_weights_bg"):
        shapes[f"{name}.weight"] = (dim, architecture.num_radial)
    if architecture.readout_norm:
        shapes |= {"readout_norm.weight": (dim,), "readout_norm.bias": (dim,)}
    for block in range(architecture.n_conv):
        shapes |= _unit_shapes(f"atom_conv_layers.{block}", "twoBody_atom", 3 * dim, hidden, architecture)
        if block < architecture.n_conv - 1:
            shapes |= _unit_shapes(f"bond_conv_layers.{block}", "twoBody_bond", 4 * dim, hidden, architecture)
            shapes |= _unit_shapes(f"angle_layers.{block}", "twoBody_bond", 4 * dim, 0, architecture)
    return shapes


def _unit_shapes(prefix: str, unit: str, inputs: int, hidden: int, architecture: Architecture) -> dict[str, tuple[int, ...]]:
    dim = 64
    shapes: dict[str, tuple[int, ...]] = {}
    for mlp in ("mlp_core", "mlp_gate"):
        layers = f"{prefix}.{unit}.{mlp}.layers"
        if hidden:
            shapes |= {f"{layers}.0.weight": (hidden, inputs), f"{layers}.0.bias": (hidden,)}
            shapes |= {f"{layers}.3.weight": (dim, hidden), f"{layers}.3.bias": (dim,)}
        else:
            shapes |= {f"{layers}.1.weight": (dim, inputs), f"{layers}.1.bias": (dim,)}
    if architecture.gated_norm:
        shapes |= {f"{prefix}.{unit}.{norm}.{kind}": (dim,) for norm in ("bn1", "bn2") for kind in ("weight", "bias")}
    if hidden:
        shapes[f"{prefix}.mlp_out.layers.1.weight"] = (dim, dim)
        if architecture.output_bias:
            shapes[f"{prefix}.mlp_out.layers.1.bias"] = (dim,)
    return shapes


def checked_weights(architecture: Architecture, tensors: Mapping[str, Tensor], source: str) -> Weights:
    """Check names, shapes, types and finiteness of the parameters.

    Raises
    ------
    CheckpointError
        Naming the first parameter that is wrong.
    """
    import torch

    shapes = parameter_shapes(architecture)
    readout = {name for name in tensors if name.startswith("mlp.layers.")}
    missing = sorted(set(shapes) - set(tensors)) or ([] if readout else ["mlp.layers"])
    unknown = sorted(set(tensors) - set(shapes) - readout)
    if missing or unknown:
        raise CheckpointError(f"{source} does not hold a CHGNet: missing {missing[:3]}, unknown {unknown[:3]}")
    for name in sorted(tensors):
        tensor = tensors[name]
        if name in shapes and tuple(tensor.shape) != shapes[name]:
            raise CheckpointError(f"{source}: {name} has shape {tuple(tensor.shape)}, expected {shapes[name]}")
        if tensor.dtype != torch.float32:
            raise CheckpointError(f"{source}: {name} has type {tensor.dtype}, expected torch.float32")
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{source}: {name} holds a value that is not finite")
    return Weights(architecture, {name: tensors[name].detach().clone() for name in sorted(tensors)})
