"""What a CHGNet of ours is made of: the hyperparameters and the names of its parameters."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from coevo.errors import CheckpointError

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
