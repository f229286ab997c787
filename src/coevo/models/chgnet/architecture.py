"""What a CHGNet of ours is made of: hyperparameters, names and shapes of its parameters, and whether a checkpoint has them."""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from coevo.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Mapping


BOUNDS: dict[str, tuple[float, float]] = {
    "n_conv": (3, 16),
    "num_radial": (1, 256),
    "num_angular": (3, 255),
    "atom_graph_cutoff": (1.0, 10.0),
    "bond_graph_cutoff": (0.5, 5.0),
    "cutoff_coeff": (1, 64),
}
"""Smallest and largest values; published networks have 4 blocks, 9 or 31 functions, 6 and 3 Å, and exponents of 5 or 8."""

ATOMIC_NUMBERS = range(1, 95)
"""Elements that CHGNet embeds, up to Pu."""

MAX_TEXT = 64
"""Characters of a name."""


@dataclass(frozen=True)
class Architecture:
    """Hyperparameters of a CHGNet (Deng et al., Nat. Mach. Intell. 5, 1031 (2023)) and what its numbers mean.

    Attributes
    ----------
    weights : str
        Published weights that these come from: ``0.3.0``, ``0.2.0`` or ``r2scan``.
    energy_scale : str
        ``mp2020`` (PBE(+U) with the MP2020 corrections) or ``r2scan``.
    functional : str
        ``PBE`` or ``r2SCAN``.
    num_radial, num_angular : int
        Radial basis functions; angular ones (odd).
    n_conv : int
        Interaction blocks; the last one updates atoms only.
    atom_graph_cutoff, bond_graph_cutoff : float
        Longest bond, and longest bond that takes part in angles, Å.
    cutoff_coeff : int
        Exponent of the smooth cutoff.
    gated_norm, readout_norm : bool
        Whether the gated units, and the readout, are layer-normalised.
    output_bias : bool
        Whether the messages' output layers have a bias (0.2.0 only).
    """

    weights: str
    energy_scale: str
    functional: str
    num_radial: int
    num_angular: int
    n_conv: int
    atom_graph_cutoff: float
    bond_graph_cutoff: float
    cutoff_coeff: int
    gated_norm: bool
    readout_norm: bool
    output_bias: bool

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no blanks."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), ensure_ascii=True)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Architecture:
        """Read the hyperparameters of a checkpoint.

        Raises
        ------
        CheckpointError
            If a key is missing or unknown, or a value has the wrong type or is out of :data:`BOUNDS`.
        """
        kinds: dict[str, Any] = {"str": str, "int": int, "float": (int, float), "bool": bool}
        expected = {field.name: kinds[str(field.type)] for field in fields(cls)}
        if set(data) != set(expected):
            odd = sorted(set(data) ^ set(expected))
            names = ", ".join(ascii(name[:40])[1:-1] for name in odd[:5])
            raise CheckpointError(f"the checkpoint's architecture has missing or unknown keys: {names}")
        for name, kind in expected.items():
            value = data[name]
            if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
                raise CheckpointError(
                    f"the checkpoint's architecture has {name}={str(value)[:40]!r}, which is not of type {kind}"
                )
            if isinstance(value, str) and (len(value) > MAX_TEXT or not value.isprintable()):
                raise CheckpointError(
                    f"the checkpoint's architecture has a {name} of {len(value)} characters; allowed: {MAX_TEXT}"
                )
        for name, (least, most) in BOUNDS.items():
            if not (math.isfinite(data[name]) and least <= data[name] <= most):
                raise CheckpointError(
                    f"the checkpoint's architecture has {name}={str(data[name])[:40]}; allowed: {least} to {most}"
                )
        if data["num_angular"] % 2 == 0 or data["bond_graph_cutoff"] > data["atom_graph_cutoff"]:
            raise CheckpointError(
                "the checkpoint's architecture has an even num_angular, or a bond_graph_cutoff beyond the atom_graph_cutoff"
            )
        return cls(**data)


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
