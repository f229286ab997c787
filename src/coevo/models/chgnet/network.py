"""The CHGNet network, evaluated on a batch as plain tensor algebra.

The numbers are those of ``chgnet.model.CHGNet`` (Deng et al., Nat. Mach. Intell. 5, 1031 (2023)) to single precision; the
order of the arithmetic is ours. A linear layer on concatenated features ``[a_i, b_ij, a_j]`` is the sum of linear layers on each
of them, so each part is computed once per atom or bond and gathered, not once per directed edge. Bonds are stored once, short
ones first: only they change during message passing. The last angle update and the magnetic moments, on which no energy depends,
are left out. Energies depend on the geometry through the bond vectors alone, so one gradient by them gives forces and stress.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from coevo.models.chgnet.gather import Plan, gather, plan, scatter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coevo.models.chgnet.architecture import Architecture
    from coevo.models.chgnet.graph import Graph

LAYER_NORM_EPSILON = 1e-5
COSINE_SCALE = 1.0 - 1e-6
"""Keeps the arc cosine and its derivative finite at 0° and 180°, as in CHGNet."""


@dataclass(frozen=True)
class GraphTensors:
    """A :class:`~coevo.models.chgnet.graph.Graph` on a device (all but its vectors), as plans of gathers.

    Attributes
    ----------
    numbers : Tensor of int64, shape (n_atoms,)
    owner : Tensor of int64, shape (n_atoms,)
    bond_owner : Tensor of int64, shape (n_bonds,)
    n_short, n_crystals, n_angles : int
    centres : Plan
        Directed bonds (2 n_bonds; leaving the first atom, then the second) to the atom they leave.
    ends : Plan
        Directed bonds to the rows of a table of centres followed by neighbours.
    angle_first, angle_second : Plan
        Angles to their short bonds.
    angle_parts : Plan
        Angles to the rows of a table of first bonds, second bonds and atoms.
    angle_sign : Tensor, shape (n_angles,)
    has_angles : Tensor, shape (n_crystals,)
    """

    numbers: Tensor
    owner: Tensor
    bond_owner: Tensor
    n_short: int
    n_crystals: int
    n_angles: int
    centres: Plan
    ends: Plan
    angle_first: Plan
    angle_second: Plan
    angle_parts: Plan
    angle_sign: Tensor
    has_angles: Tensor


def graph_tensors(graph: Graph, device: torch.device) -> GraphTensors:
    """Plan the gathers of a graph on a device."""
    n_atoms, n_short = len(graph.numbers), graph.n_short
    centre = np.concatenate([graph.first, graph.second])
    neighbour = np.concatenate([graph.second, graph.first])
    has_angles = np.bincount(graph.owner[graph.angle_atom], minlength=graph.n_crystals) > 0
    bonds = [graph.angle_first, graph.angle_second + n_short, graph.angle_atom + 2 * n_short]
    return GraphTensors(
        numbers=torch.from_numpy(graph.numbers).to(device),
        owner=torch.from_numpy(graph.owner).to(device),
        bond_owner=torch.from_numpy(graph.owner[graph.first]).to(device),
        n_short=n_short,
        n_crystals=graph.n_crystals,
        n_angles=len(graph.angle_atom),
        centres=plan([centre], n_atoms, device),
        ends=plan([centre, neighbour + n_atoms], 2 * n_atoms, device),
        angle_first=plan([graph.angle_first], n_short, device),
        angle_second=plan([graph.angle_second], n_short, device),
        angle_parts=plan(bonds, 2 * n_short + n_atoms, device),
        angle_sign=torch.from_numpy(graph.angle_sign).to(device, torch.float32)[:, None],
        has_angles=torch.from_numpy(has_angles).to(device, torch.float32)[:, None],
    )


class GatedUnit:
    """``silu(norm(core(x))) * sigmoid(norm(gate(x)))`` on concatenated inputs, of which each part is multiplied separately."""

    def __init__(self, parameters: Mapping[str, Tensor], prefix: str, *, hidden: bool, norm: bool, parts: int) -> None:
        first = 0 if hidden else 1
        core, gate = f"{prefix}.mlp_core.layers", f"{prefix}.mlp_gate.layers"
        weight = torch.cat([parameters[f"{core}.{first}.weight"], parameters[f"{gate}.{first}.weight"]])
        self.parts = weight.chunk(parts, dim=1)
        self.bias = torch.cat([parameters[f"{core}.{first}.bias"], parameters[f"{gate}.{first}.bias"]])
        self.width = len(self.bias) // 2
        self.second = None
        if hidden:
            self.second = [parameters[f"{mlp}.3.{kind}"] for mlp in (core, gate) for kind in ("weight", "bias")]
        self.norms = None
        if norm:
            self.norms = [parameters[f"{prefix}.{layer}.{kind}"] for layer in ("bn1", "bn2") for kind in ("weight", "bias")]

    def __call__(self, summed: Tensor) -> Tensor:
        """Apply everything after the first linear layer, whose summed parts (bias included) are given."""
        if self.second is not None:
            hidden_core, hidden_gate = functional.silu(summed).split(self.width, dim=1)
            core = functional.linear(hidden_core, self.second[0], self.second[1])
            gate = functional.linear(hidden_gate, self.second[2], self.second[3])
        else:
            core, gate = summed.split(self.width, dim=1)
        if self.norms is not None:
            core = functional.layer_norm(core, (core.shape[1],), self.norms[0], self.norms[1], LAYER_NORM_EPSILON)
            gate = functional.layer_norm(gate, (gate.shape[1],), self.norms[2], self.norms[3], LAYER_NORM_EPSILON)
        return functional.silu(core) * torch.sigmoid(gate)


class Network:
    """A CHGNet whose parameters are given by name; built anew when they change.

    Parameters
    ----------
    architecture : Architecture
    parameters : mapping of str to Tensor
        The state dict of a ``chgnet.model.CHGNet`` (``composition_model.fc.weight`` is not used here).
    """

    def __init__(self, architecture: Architecture, parameters: Mapping[str, Tensor]) -> None:
        self.architecture = architecture
        self.parameters = parameters
        norm = architecture.gated_norm
        blocks = range(architecture.n_conv)
        self.atom_units = [
            GatedUnit(parameters, f"atom_conv_layers.{i}.twoBody_atom", hidden=True, norm=norm, parts=3) for i in blocks
        ]
        self.bond_units = [
            GatedUnit(parameters, f"bond_conv_layers.{i}.twoBody_bond", hidden=True, norm=norm, parts=4) for i in blocks[:-1]
        ]
        self.angle_units = [
            GatedUnit(parameters, f"angle_layers.{i}.twoBody_bond", hidden=False, norm=norm, parts=4) for i in blocks[:-2]
        ]

    def energies(self, graph: GraphTensors, vectors: Tensor) -> Tensor:
        """Energy of each crystal beyond that of its composition.

        Parameters
        ----------
        graph : GraphTensors
        vectors : Tensor of float32, shape (n_bonds, 3)
            Bond vectors, Å.

        Returns
        -------
        Tensor of float64, shape (n_crystals,)
            eV per cell.
        """
        p = self.parameters
        lengths = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
        radial = self._radial_basis(lengths, "ag", self.architecture.atom_graph_cutoff)
        bonds = functional.linear(radial, p["bond_embedding.weight"])
        atom_weights = functional.linear(radial, p["bond_weights_ag.weight"])
        atoms = functional.embedding(graph.numbers - 1, p["atom_embedding.embedding.weight"])
        bonded = graph.n_angles > 0
        angles = pair_weights = None
        if bonded:
            short = lengths[: graph.n_short]
            radial_short = self._radial_basis(short, "bg", self.architecture.bond_graph_cutoff)
            short_weights = functional.linear(radial_short, p["bond_weights_bg.weight"])
            pair_weights = gather(short_weights, graph.angle_first) * gather(short_weights, graph.angle_second)
            angles = functional.linear(self._angular_basis(graph, vectors[: graph.n_short] / short), p["angle_embedding.weight"])
        for block in range(self.architecture.n_conv):
            atoms = self._atom_convolution(block, graph, atoms, bonds, atom_weights)
            if bonded and block < len(self.bond_units):
                assert angles is not None
                assert pair_weights is not None
                bonds = self._bond_convolution(block, graph, atoms, bonds, angles, pair_weights)
                if block < len(self.angle_units):
                    angles = self._angle_update(block, graph, atoms, bonds, angles)
        return self._readout(graph, atoms)

    def _radial_basis(self, lengths: Tensor, which: str, cutoff: float) -> Tensor:
        """Bessel functions times the smooth polynomial cutoff, shape (n, num_radial)."""
        frequencies = self.parameters[f"bond_basis_expansion.rbf_expansion_{which}.frequencies"]
        x = lengths / cutoff
        n = self.architecture.cutoff_coeff
        power = x**n
        envelope = 1.0 - (n + 1) * (n + 2) / 2 * power + n * (n + 2) * power * x - n * (n + 1) / 2 * power * x * x
        return torch.sin(frequencies * x) * (math.sqrt(2.0 / cutoff) * envelope / lengths)

    def _angular_basis(self, graph: GraphTensors, directions: Tensor) -> Tensor:
        """Fourier series of the angles, shape (n_angles, num_angular)."""
        frequencies = self.parameters["angle_basis_expansion.fourier_expansion.frequencies"]
        products = gather(directions, graph.angle_first) * gather(directions, graph.angle_second)
        cosine = products.sum(dim=1, keepdim=True) * (graph.angle_sign * COSINE_SCALE)
        waves = torch.acos(cosine) * frequencies
        constant = waves.new_full((len(waves), 1), 1.0 / math.sqrt(2.0))
        return torch.cat([constant, torch.sin(waves), torch.cos(waves)], dim=1) / math.sqrt(math.pi)

    def _atom_convolution(self, block: int, graph: GraphTensors, atoms: Tensor, bonds: Tensor, weights: Tensor) -> Tensor:
        unit = self.atom_units[block]
        table = torch.cat([functional.linear(atoms, unit.parts[0]), functional.linear(atoms, unit.parts[2])])
        bond = functional.linear(bonds, unit.parts[1], unit.bias)
        summed = gather(table, graph.ends).view(2, len(bonds), -1) + bond
        messages = unit(summed.view(2 * len(bonds), -1)).view(2, len(bonds), -1) * weights
        return atoms + self._output(f"atom_conv_layers.{block}", scatter(messages.view(2 * len(bonds), -1), graph.centres))

    def _bond_convolution(
        self, block: int, graph: GraphTensors, atoms: Tensor, bonds: Tensor, angles: Tensor, pair_weights: Tensor
    ) -> Tensor:
        unit = self.bond_units[block]
        short = bonds[: graph.n_short]
        messages = unit(self._angle_inputs(unit, graph, atoms, short, angles)) * pair_weights
        update = self._output(f"bond_conv_layers.{block}", scatter(messages, graph.angle_first))
        if not self.architecture.output_bias:
            return torch.cat([short + update, bonds[graph.n_short :]])
        # With a bias, every bond of a crystal that has angles changes, the long ones by the bias alone.
        bias = self.parameters[f"bond_conv_layers.{block}.mlp_out.layers.1.bias"]
        angular = graph.has_angles[graph.bond_owner]
        long = bonds[graph.n_short :] + bias * angular[graph.n_short :]
        return torch.cat([short + update * angular[: graph.n_short], long])

    def _angle_update(self, block: int, graph: GraphTensors, atoms: Tensor, bonds: Tensor, angles: Tensor) -> Tensor:
        unit = self.angle_units[block]
        return angles + unit(self._angle_inputs(unit, graph, atoms, bonds[: graph.n_short], angles))

    @staticmethod
    def _angle_inputs(unit: GatedUnit, graph: GraphTensors, atoms: Tensor, short: Tensor, angles: Tensor) -> Tensor:
        table = torch.cat(
            [
                functional.linear(short, unit.parts[0]),
                functional.linear(short, unit.parts[1]),
                functional.linear(atoms, unit.parts[3]),
            ]
        )
        return functional.linear(angles, unit.parts[2], unit.bias) + gather(table, graph.angle_parts)

    def _output(self, prefix: str, sums: Tensor) -> Tensor:
        bias = self.parameters[f"{prefix}.mlp_out.layers.1.bias"] if self.architecture.output_bias else None
        return functional.linear(sums, self.parameters[f"{prefix}.mlp_out.layers.1.weight"], bias)

    def _readout(self, graph: GraphTensors, atoms: Tensor) -> Tensor:
        p = self.parameters
        x = atoms
        if self.architecture.readout_norm:
            x = functional.layer_norm(x, (x.shape[1],), p["readout_norm.weight"], p["readout_norm.bias"], LAYER_NORM_EPSILON)
        layers = sorted({int(name.split(".")[2]) for name in p if name.startswith("mlp.layers.")})
        for layer in layers:
            x = functional.linear(x, p[f"mlp.layers.{layer}.weight"], p[f"mlp.layers.{layer}.bias"])
            if layer != layers[-1]:
                x = functional.silu(x)
        energies = x.new_zeros(graph.n_crystals, dtype=torch.float64)
        return energies.index_add(0, graph.owner, x[:, 0].to(torch.float64))
