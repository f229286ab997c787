"""CHGNet weights: the published ones from the ``chgnet`` wheel, and checkpoints of ours as safetensors."""

from __future__ import annotations

import hashlib
import math
import os
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from coevo.errors import CheckpointError, ConfigError
from coevo.models.checkpoint_json import parse_bounded
from coevo.models.chgnet.architecture import Architecture, check_shapes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

FORMAT = "coevo-chgnet-1"
METADATA_KEY = "coevo"
"""One metadata key only: safetensors writes metadata from a hash map, whose order is not fixed."""
MAX_HEADER = 1_000_000
"""Bytes of a safetensors header; that of a published network has 20,000."""

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


@cache
def published_weights(name: str) -> Weights:
    """Read published weights from the installed ``chgnet`` package, once in a process; no network is used.

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
        If the bytes are truncated, of another family, or not finite. Names, shapes and sizes are compared with the architecture
        before anything is built of them.
    """
    architecture = _checked_header(data, len(data), source)
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(data)
    except (SafetensorError, ValueError) as err:
        raise _unreadable(source, len(data), err) from None
    return checked_weights(architecture, tensors, source)


def read_weights(path: Path) -> Weights:
    """Read a checkpoint file of ours; no more than its header, unless the header is that of a CHGNet of the file's size.

    Raises
    ------
    CheckpointError
        If it is missing, truncated, of another family, or not finite.
    """
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            beginning = file.read(8)
            beginning += file.read(min(int.from_bytes(beginning, "little"), MAX_HEADER + 1))
            _checked_header(beginning, size, str(path))
            data = beginning + file.read()
    except OSError as err:
        raise CheckpointError(f"checkpoint {path} cannot be read: {err.strerror or err}") from err
    return weights_from_bytes(data, str(path))


def _checked_header(beginning: bytes, size: int, source: str) -> Architecture:
    """Read the header of a safetensors file, and compare the tensors that it lists and the file's size with its architecture."""
    length = int.from_bytes(beginning[:8], "little")
    if len(beginning) < 8 or length > MAX_HEADER or len(beginning) < 8 + length:
        what = f"a header of {length} bytes, allowed: {MAX_HEADER}" if len(beginning) >= 8 else "no header"
        raise _unreadable(source, size, what)
    try:
        header = parse_bounded(beginning[8 : 8 + length])
        metadata = header.pop("__metadata__", {})
    except (ValueError, AttributeError, TypeError) as err:
        raise _unreadable(source, size, err) from None
    try:
        described = parse_bounded(metadata[METADATA_KEY].encode())
        kind, architecture = described["format"], dict(described["architecture"])
    except (KeyError, TypeError, ValueError, AttributeError):
        raise CheckpointError(
            f"{source} is a safetensors file, but not a CHGNet checkpoint of coevo (no {FORMAT} header)"
        ) from None
    if kind != FORMAT:
        raise CheckpointError(f"{source} has checkpoint format {str(kind)[:40]!r}; this version of coevo reads {FORMAT!r}")
    found = Architecture.from_dict(architecture)
    _check_sizes(found, header, size - 8 - length, source)
    return found


def _check_sizes(architecture: Architecture, listed: dict[str, Any], size: int, source: str) -> None:
    """Compare names, types and shapes that a header lists, and the bytes that follow it, with an architecture."""
    try:
        shapes = {name: tuple(told["shape"]) for name, told in listed.items()}
        types = {told["dtype"] for told in listed.values()}
        check_shapes(architecture, shapes, source)
    except (KeyError, TypeError):
        raise CheckpointError(f"{source}: its header does not say shape and type of every tensor") from None
    if types != {"F32"}:
        raise CheckpointError(f"{source}: has tensors of type {', '.join(sorted(map(str, types)))[:80]}, expected F32")
    expected = 4 * sum(math.prod(shape) for shape in shapes.values())
    if size != expected:
        raise _unreadable(source, size, f"{size} bytes of tensors, expected {expected}")


def _unreadable(source: str, size: int, what: object) -> CheckpointError:
    return CheckpointError(
        f"{source} is not a readable safetensors file ({size} bytes; {str(what)[:200]}): "
        "it is truncated or of another kind; restore it from its artifact or start from published weights"
    )


def checked_weights(architecture: Architecture, tensors: Mapping[str, Tensor], source: str) -> Weights:
    """Check names, shapes, types and finiteness of the parameters.

    Raises
    ------
    CheckpointError
        Naming the first parameter that is wrong.
    """
    import torch

    check_shapes(architecture, {name: tuple(tensor.shape) for name, tensor in tensors.items()}, source)
    for name in sorted(tensors):
        tensor = tensors[name]
        if tensor.dtype != torch.float32:
            raise CheckpointError(f"{source}: {name} has type {tensor.dtype}, expected torch.float32")
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{source}: {name} holds a value that is not finite")
    return Weights(architecture, {name: tensors[name].detach().clone() for name in sorted(tensors)})
