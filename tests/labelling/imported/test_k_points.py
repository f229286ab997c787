"""Meshes of k-points in a form that does not depend on the cell."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from coevo.labelling.espresso.inputs import k_grid
from coevo.labelling.imported.k_points import mesh_of, mesh_of_points, step_of

BCC = Structure(Lattice([[-1.73, 1.73, 1.73], [1.73, -1.73, 1.73], [1.73, 1.73, -1.73]]), ["Li"], [[0, 0, 0]])
HEXAGONAL = Structure(Lattice.hexagonal(3.1, 5.0), ["Li", "Li"], [[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]])
LARGE = Structure(Lattice.orthorhombic(8.7, 8.1, 6.1), ["S"], [[0, 0, 0]])


@pytest.mark.parametrize("spacing", [0.15, 0.22, 0.3, 0.5, 0.7])
def test_one_spacing_is_one_step_in_every_cell(spacing: float) -> None:
    for structure in (BCC, HEXAGONAL, LARGE, BCC * (3, 2, 1)):
        mesh = mesh_of(k_grid(structure.lattice, spacing), structure)
        low, high = mesh.limits
        assert low <= spacing * (1 + 1e-9)
        assert spacing <= high
        assert mesh.parameters() == {"k_spacing": "up to 0.8 1/Å"}


def test_a_supercell_with_a_mesh_as_dense_is_the_same() -> None:
    one, two = mesh_of((8, 8, 8), BCC), mesh_of((4, 4, 8), BCC * (2, 2, 1))
    assert one.spacing == pytest.approx(two.spacing)
    assert one.parameters() == two.parameters()


def test_one_point_of_a_small_cell_is_another_step() -> None:
    assert mesh_of((1, 1, 1), BCC).parameters() != mesh_of((8, 8, 8), BCC).parameters()
    assert step_of(99.0) == "above 3.2 1/Å"
    assert mesh_of((1, 1, 1), BCC).recorded()["k_spacing_range"][1] is None
    assert math.isinf(mesh_of((1, 1, 1), BCC).limits[1])


@pytest.mark.parametrize(
    ("structure", "divisions"), [(BCC, (4, 4, 4)), (HEXAGONAL, (4, 4, 3)), (LARGE, (2, 3, 1)), (LARGE, (1, 1, 1))]
)
@pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")
def test_a_mesh_is_found_from_its_irreducible_points(structure: Structure, divisions: tuple[int, int, int]) -> None:
    import spglib

    cell = (structure.lattice.matrix, structure.frac_coords, [site.specie.number for site in structure])
    mapping, addresses = spglib.get_ir_reciprocal_mesh(list(divisions), cell, is_shift=[0, 0, 0])
    kept, counts = np.unique(mapping, return_counts=True)
    found = mesh_of_points(addresses[kept] / np.array(divisions), counts, structure)
    assert found is not None
    assert found.divisions == divisions


def test_points_of_no_mesh_are_none() -> None:
    assert mesh_of_points([[0, 0, 0], [0.137, 0.29, 0.411]], [1, 1], BCC) is None
