"""The CHGNet network, evaluated on a batch as plain tensor algebra.

The numbers are those of ``chgnet.model.CHGNet`` (Deng et al., Nat. Mach. Intell. 5, 1031 (2023)) to single precision; the
order of the arithmetic is ours. A linear layer on concatenated features ``[a_i, b_ij, a_j]`` is the sum of linear layers on each
of them, so each part is computed once per atom or bond and gathered, not once per directed edge. Bonds are stored once, short
ones first: only they change during message passing. The last angle update and the magnetic moments, on which no energy depends,
are left out. Energies depend on the geometry through the bond vectors alone, so one gradient by them gives forces and stress.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from coevo.models.chgnet.graph_tensors import gather, scatter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coevo.models.chgnet.architecture import Architecture
    from coevo.models.chgnet.graph_tensors import GraphTensors

LAYER_NORM_EPSILON = 1e-5
COSINE_SCALE = 1.0 - 1e-6
"""Keeps the arc cosine and its derivative finite at 0° and 180°, as in CHGNet."""


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


def _product(left: Tensor, right: Tensor) -> Tensor:
    """Product of two parameter matrices, in double precision until it is rounded once."""
    return (left.double() @ right.double()).to(left.dtype)


class Network:
    """A CHGNet whose parameters are given by name; built anew when they change.

    Two linear layers in a row are one: the embeddings of bonds and angles are multiplied into the first layers that read them.

    Parameters
    ----------
    architecture : Architecture
    parameters : mapping of str to Tensor
        The state dict of a ``chgnet.model.CHGNet`` (``composition_model.fc.weight`` is not used here).
    """

    def __init__(self, architecture: Architecture, parameters: Mapping[str, Tensor]) -> None:
        self.architecture = architecture
        self.parameters = p = parameters
        norm = architecture.gated_norm
        blocks = range(architecture.n_conv)
        self.atom_units = [GatedUnit(p, f"atom_conv_layers.{i}.twoBody_atom", hidden=True, norm=norm, parts=3) for i in blocks]
        self.bond_units = [
            GatedUnit(p, f"bond_conv_layers.{i}.twoBody_bond", hidden=True, norm=norm, parts=4) for i in blocks[:-1]
        ]
        self.angle_units = [GatedUnit(p, f"angle_layers.{i}.twoBody_bond", hidden=False, norm=norm, parts=4) for i in blocks[:-2]]
        self.bond_matrices = [_product(unit.parts[1], p["bond_embedding.weight"]) for unit in self.atom_units]
        readers = [self.bond_units[0], self.angle_units[0]]
        self.angle_matrices = [_product(unit.parts[2], p["angle_embedding.weight"]) for unit in readers]

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
        p, n_conv = self.parameters, self.architecture.n_conv
        lengths = torch.linalg.vector_norm(vectors, dim=1, keepdim=True)
        radial = self._radial_basis(lengths, "ag", self.architecture.atom_graph_cutoff)
        weights = functional.linear(radial, p["bond_weights_ag.weight"])
        atoms = functional.embedding(graph.numbers - 1, p["atom_embedding.embedding.weight"])
        if graph.n_angles == 0:
            for block in range(n_conv):
                atoms = self._atom_convolution(block, graph, atoms, radial, weights, None)
            return self._readout(graph, atoms)
        short = functional.linear(radial[: graph.n_short], p["bond_embedding.weight"])
        start = short
        pair_weights = self._pair_weights(graph, lengths[: graph.n_short])
        angles, for_bonds, for_angles = self._embedded_angles(graph, vectors[: graph.n_short] / lengths[: graph.n_short])
        for block in range(n_conv - 1):
            atoms = self._atom_convolution(block, graph, atoms, radial, weights, short - start if block else None)
            if block:
                for_bonds = functional.linear(angles, self.bond_units[block].parts[2], self.bond_units[block].bias)
            inputs = self._angle_inputs(self.bond_units[block], graph, atoms, short, for_bonds)
            messages = scatter(self.bond_units[block](inputs) * pair_weights, graph.angle_first)
            short = short + self._bond_update(block, graph, messages)
            if block < n_conv - 2:
                if block:
                    for_angles = functional.linear(angles, self.angle_units[block].parts[2], self.angle_units[block].bias)
                angles = angles + self.angle_units[block](
                    self._angle_inputs(self.angle_units[block], graph, atoms, short, for_angles)
                )
        return self._readout(graph, self._atom_convolution(n_conv - 1, graph, atoms, radial, weights, short - start))

    def _pair_weights(self, graph: GraphTensors, lengths: Tensor) -> Tensor:
        """Weights of the messages of angles, which vanish where a bond reaches the bond-graph cutoff, shape (n_angles, d)."""
        radial = self._radial_basis(lengths, "bg", self.architecture.bond_graph_cutoff)
        weights = functional.linear(radial, self.parameters["bond_weights_bg.weight"])
        return gather(gather(weights, graph.pair_first) * gather(weights, graph.pair_second), graph.pairs)

    def _embedded_angles(self, graph: GraphTensors, directions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Angle features, and their parts in the first bond convolution and angle update, each of shape (n_angles, …)."""
        basis = self._angular_basis(graph, directions)
        for_bonds, for_angles = self.angle_matrices
        return (
            gather(functional.linear(basis, self.parameters["angle_embedding.weight"]), graph.pairs),
            gather(functional.linear(basis, for_bonds, self.bond_units[0].bias), graph.pairs),
            gather(functional.linear(basis, for_angles, self.angle_units[0].bias), graph.pairs),
        )

    def _radial_basis(self, lengths: Tensor, which: str, cutoff: float) -> Tensor:
        """Bessel functions times the smooth polynomial cutoff, shape (n, num_radial)."""
        frequencies = self.parameters[f"bond_basis_expansion.rbf_expansion_{which}.frequencies"]
        x = lengths / cutoff
        n = self.architecture.cutoff_coeff
        power = x**n
        envelope = 1.0 - (n + 1) * (n + 2) / 2 * power + n * (n + 2) * power * x - n * (n + 1) / 2 * power * x * x
        return torch.sin(frequencies * x) * (math.sqrt(2.0 / cutoff) * envelope / lengths)

    def _angular_basis(self, graph: GraphTensors, directions: Tensor) -> Tensor:
        """Fourier series of the angles of unordered pairs, shape (n_pairs, num_angular)."""
        frequencies = self.parameters["angle_basis_expansion.fourier_expansion.frequencies"]
        products = gather(directions, graph.pair_first) * gather(directions, graph.pair_second)
        cosine = products.sum(dim=1, keepdim=True) * (graph.pair_sign * COSINE_SCALE)
        waves = torch.acos(cosine) * frequencies
        constant = waves.new_full((len(waves), 1), 1.0 / math.sqrt(2.0))
        return torch.cat([constant, torch.sin(waves), torch.cos(waves)], dim=1) / math.sqrt(math.pi)

    def _atom_convolution(
        self, block: int, graph: GraphTensors, atoms: Tensor, radial: Tensor, weights: Tensor, change: Tensor | None
    ) -> Tensor:
        """Update the atoms; ``change`` is that of the short bonds since their embedding."""
        unit = self.atom_units[block]
        n_bonds = len(radial)
        bond_part = functional.linear(radial, self.bond_matrices[block], unit.bias)
        tables = [functional.linear(atoms, unit.parts[0]), functional.linear(atoms, unit.parts[2])]
        if change is None:
            summed = gather(torch.cat(tables), graph.ends)
        else:
            tables.append(functional.linear(change, unit.parts[1]))
            summed = gather(torch.cat(tables), graph.ends_and_bonds)
        if self.architecture.output_bias and block and graph.n_angles:
            bond_part = bond_part + self._drift_of_long_bonds(block, graph)
        summed = (summed.view(2, n_bonds, -1) + bond_part).view(2 * n_bonds, -1)
        messages = unit(summed).view(2, n_bonds, -1) * weights
        return atoms + self._output(f"atom_conv_layers.{block}", scatter(messages.view(2 * n_bonds, -1), graph.centres))

    def _bond_update(self, block: int, graph: GraphTensors, messages: Tensor) -> Tensor:
        """Change of the short bonds; with an output bias, only in crystals that have angles, so that batches do not matter."""
        update = self._output(f"bond_conv_layers.{block}", messages)
        if not self.architecture.output_bias:
            return update
        return update * graph.has_angles[graph.bond_owner[: graph.n_short]]

    def _drift_of_long_bonds(self, block: int, graph: GraphTensors) -> Tensor:
        """What the output biases of earlier bond convolutions add to the long bonds of crystals that have angles."""
        bias = sum(self.parameters[f"bond_conv_layers.{k}.mlp_out.layers.1.bias"] for k in range(block))
        long = graph.has_angles[graph.bond_owner]
        long = torch.cat([torch.zeros_like(long[: graph.n_short]), long[graph.n_short :]])
        return long * functional.linear(torch.as_tensor(bias), self.atom_units[block].parts[1])

    @staticmethod
    def _angle_inputs(unit: GatedUnit, graph: GraphTensors, atoms: Tensor, short: Tensor, angle_part: Tensor) -> Tensor:
        parts = [
            functional.linear(short, unit.parts[0]),
            functional.linear(short, unit.parts[1]),
            functional.linear(atoms, unit.parts[3]),
        ]
        return gather(torch.cat(parts), graph.angle_parts) + angle_part

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
