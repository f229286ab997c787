"""Names and shapes of the parameters of a CHGNet: what an architecture asks for, and whether a checkpoint has it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from coevo.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coevo.models.chgnet.architecture import Architecture

COMPOSITION_KEY = "composition_model.fc.weight"

MAX_READOUT = 12
"""Layers of the readout; published networks have 3 or 4."""
MAX_WIDTH = 1024
"""Numbers that a layer of it gives, at most; published ones give 64."""
_READOUT = re.compile(r"mlp\.layers\.(0|[1-9][0-9]{0,2})\.(?:weight|bias)")


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


def check_shapes(architecture: Architecture, found: Mapping[str, tuple[int, ...]], source: str) -> None:
    """Compare names and shapes of parameters with an architecture; the readout is a row of layers that ends in one number.

    Raises
    ------
    CheckpointError
        Naming the first parameter that is wrong.
    """
    shapes = parameter_shapes(architecture)
    readout = {name for name in found if name.startswith("mlp.layers.")}
    missing = sorted(set(shapes) - set(found)) or ([] if readout else ["mlp.layers"])
    unknown = sorted(set(found) - set(shapes) - readout)
    if missing or unknown:
        names = [ascii(name[:80])[1:-1] for name in unknown[:3]]
        raise CheckpointError(f"{source} does not hold a CHGNet: missing {missing[:3]}, unknown {names}")
    shapes |= _readout_shapes(readout, found, source)
    for name, expected in sorted(shapes.items()):
        if found[name] != expected:
            raise CheckpointError(f"{source}: {name} has shape {str(found[name])[:80]}, expected {expected}")


def _readout_shapes(names: set[str], found: Mapping[str, tuple[int, ...]], source: str) -> dict[str, tuple[int, ...]]:
    """Shapes of the readout's layers, each of which takes what the one before it gives."""
    layers = [match for match in map(_READOUT.fullmatch, sorted(names)) if match]
    numbers = sorted({int(match[1]) for match in layers})
    if len(layers) != len(names) or 2 * len(numbers) != len(names) or len(numbers) > MAX_READOUT:
        raise CheckpointError(f"{source}: its readout is not a row of at most {MAX_READOUT} layers with weight and bias")
    shapes: dict[str, tuple[int, ...]] = {}
    width = 64
    for number in numbers:
        bias = found[f"mlp.layers.{number}.bias"]
        last = number == numbers[-1]
        given = 1 if last else next((n for n in bias if 1 <= n <= MAX_WIDTH), 0)
        shapes |= {f"mlp.layers.{number}.weight": (given, width), f"mlp.layers.{number}.bias": (given,)}
        width = given
    return shapes
