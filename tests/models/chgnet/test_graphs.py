"""What CHGNet is evaluated and relaxed on: neighbour lists, angles, variables of a relaxation, gathered sums."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase.filters import FrechetCellFilter
from force_field_contract import (
    FEW,
    lithium_phosphide,
    lithium_sulfide,
    rattled,
)
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.io.ase import AseAtomsAdaptor

from coevo.errors import ConfigError
from coevo.models.chgnet.force_field import ChgnetForceField
from coevo.models.chgnet.graph import CandidatePairs
from coevo.models.chgnet.graph_tensors import gather, plain_plan, plan, scatter
from coevo.models.contracts import RelaxationSettings
from coevo.models.relaxing.crystal import Crystal
from coevo.models.relaxing.neighbours import covers, pair_list
from coevo.models.relaxing.variables import Variables


@pytest.fixture(scope="module")
def chgnet_030() -> ChgnetForceField:
    return ChgnetForceField.published("0.3.0")


class TestNeighbourLists:
    @FEW
    @given(seed=st.integers(0, 2**32 - 1))
    def test_a_list_that_covers_misses_no_pair(self, seed):
        """Strain, move and translate a crystal: while the list is said to cover it, it holds every pair within the cutoff."""
        rng = np.random.default_rng(seed)
        cell = np.diag(rng.uniform(2.5, 6.0, 3)) + rng.uniform(-1.0, 1.0, (3, 3))
        positions = rng.uniform(0, 1, (rng.integers(1, 6), 3)) @ cell
        cutoff, skin = 5.0, 0.6
        pairs = pair_list(positions, cell, cutoff + skin)
        covered = 0
        for scale in (0.02, 0.05, 0.1, 0.3):
            strain = np.eye(3) + rng.uniform(-scale, scale, (3, 3)) * 0.2
            new_cell = cell @ strain
            new = positions @ strain + rng.uniform(-scale, scale, positions.shape) + rng.uniform(-5, 5, 3)
            if not covers(pairs, new, new_cell, cutoff, skin):
                continue
            covered += 1
            vectors = new[pairs.second] - new[pairs.first] + pairs.shift @ new_cell
            kept = np.sort(np.linalg.norm(vectors, axis=1))
            expected = pair_list(new, new_cell, cutoff)
            exact = new[expected.second] - new[expected.first] + expected.shift @ new_cell
            assert kept[kept < cutoff] == pytest.approx(np.sort(np.linalg.norm(exact, axis=1)))
        assert covered

    def test_pairs_are_those_of_pymatgen(self):
        crystal = rattled(lithium_phosphide(), 3)
        pairs = pair_list(crystal.cart_coords, crystal.lattice.matrix, 6.0)
        centres, _, _, distances = crystal.get_neighbor_list(6.0)
        assert 2 * len(pairs.first) == len(centres)
        vectors = crystal.cart_coords[pairs.second] - crystal.cart_coords[pairs.first] + pairs.shift @ crystal.lattice.matrix
        assert np.sort(np.tile(np.linalg.norm(vectors, axis=1), 2)) == pytest.approx(np.sort(distances))

    def test_angles_are_all_ordered_pairs_of_short_bonds(self):
        crystals = [rattled(lithium_phosphide(), 1), rattled(lithium_sulfide(), 2)]
        lists = [pair_list(c.cart_coords, c.lattice.matrix, 6.0) for c in crystals]
        graph = CandidatePairs([np.array(c.atomic_numbers) for c in crystals], lists).graph(
            np.concatenate([c.cart_coords for c in crystals]), np.stack([c.lattice.matrix for c in crystals]), 6.0, 3.0
        )
        from chgnet.graph import CrystalGraphConverter

        converter = CrystalGraphConverter(atom_graph_cutoff=6, bond_graph_cutoff=3)
        assert len(graph.angle_atom) == sum(len(converter(c).bond_graph) for c in crystals)
        assert len(graph.first) == sum(len(converter(c).undirected2directed) for c in crystals)
        # Both orders of a pair are there, once each, and share its number.
        ordered = {(a, b): pair for a, b, pair in zip(graph.angle_first, graph.angle_second, graph.angle_pair, strict=True)}
        assert all(
            {int(graph.pair_first[pair]), int(graph.pair_second[pair])} == {int(a), int(b)} for (a, b), pair in ordered.items()
        )
        assert np.bincount(graph.angle_pair).tolist() == [2] * len(graph.pair_first)


class TestVariables:
    def test_generalised_forces_are_those_of_ase(self, chgnet_030):
        """At a large deformation, where the derivative of the exponential matters."""
        crystal = lithium_phosphide()
        start = Crystal(np.array(crystal.atomic_numbers), crystal.cart_coords, crystal.lattice.matrix)
        variables = Variables([start], relax_cell=True)
        rng = np.random.default_rng(3)
        variables.move(rng.normal(0, 0.1, (8, 3)), rng.uniform(-1.0, 1.0, (1, 3, 3)))
        atoms = AseAtomsAdaptor.get_atoms(crystal)
        filtered = FrechetCellFilter(atoms)
        positions, cells = variables.geometry()
        atoms.calc = chgnet_030.calculator()
        # ASE holds n ln(n F), which differs from n ln F by a constant.
        logarithm = variables.log_deformation[0] + np.log(8) * np.eye(3)
        filtered.set_positions(np.concatenate([variables.reference, 8 * logarithm]))
        assert atoms.positions == pytest.approx(positions)
        assert atoms.cell.array == pytest.approx(cells[0])
        virial = atoms.get_stress(voigt=False) * atoms.get_volume()
        on_atoms, on_cells = variables.generalised_forces(atoms.get_forces(), virial[None])
        assert np.concatenate([on_atoms, on_cells[0]]) == pytest.approx(filtered.get_forces(), abs=1e-8)

    def test_unknown_optimiser(self, chgnet_030):
        with pytest.raises(ConfigError, match="allowed: fire, lbfgs"):
            chgnet_030.relax([lithium_sulfide()], RelaxationSettings(optimiser="bfgs"))


class TestGather:
    def test_derivatives(self):
        """Gather and scatter against finite differences, first and second derivatives."""
        rng = np.random.default_rng(0)
        outputs = [np.arange(6), np.arange(6), np.array([1, 4])]
        rows = [rng.integers(0, 4, 6), rng.integers(0, 4, 6), rng.integers(0, 4, 2)]
        for relation in (
            plan(outputs, rows, 6, 4, torch.device("cpu")),
            plain_plan(rng.integers(0, 4, 6), 4, torch.device("cpu")),
        ):
            table = torch.from_numpy(rng.normal(size=(4, 3))).requires_grad_(True)
            values = torch.from_numpy(rng.normal(size=(6, 3))).requires_grad_(True)
            for function, argument in ((gather, table), (scatter, values)):
                assert torch.autograd.gradcheck(lambda x, f=function, r=relation: f(x, r) ** 2, (argument,))
                assert torch.autograd.gradgradcheck(lambda x, f=function, r=relation: f(x, r) ** 2, (argument,))
        dense = torch.zeros(6, 4, dtype=torch.float64)
        relation = plan(outputs, rows, 6, 4, torch.device("cpu"))
        for output, row in zip(np.concatenate(outputs), np.concatenate(rows), strict=True):
            dense[output, row] += 1.0
        assert torch.allclose(gather(table, relation), dense @ table)
        assert torch.allclose(scatter(values, relation), dense.T @ values)
