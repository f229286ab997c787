"""Displaced and strained frames: relaxed structures alone have no forces to learn from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core import Structure


def rattled(structure: Structure, stdev: float, seed: int) -> Structure:
    """Copy with every atom displaced by independent normal deviates.

    Parameters
    ----------
    structure : Structure
    stdev : float
        Standard deviation of each Cartesian component, Å.
    seed : int
    """
    displacements = np.random.default_rng(seed).normal(0.0, stdev, size=(len(structure), 3))
    return _rebuilt(structure, structure.lattice.matrix, structure.cart_coords + displacements)


def strained(structure: Structure, max_strain: float, seed: int) -> Structure:
    """Copy under a random homogeneous strain: fractional coordinates stay, cell and atoms follow x -> (1 + e) x.

    Parameters
    ----------
    structure : Structure
    max_strain : float
        The six components of the symmetric strain e are uniform in [-max_strain, max_strain].
    seed : int
    """
    components = np.random.default_rng(seed).uniform(-max_strain, max_strain, size=6)
    strain = np.zeros((3, 3))
    strain[np.triu_indices(3)] = components
    strain = strain + np.triu(strain, 1).T
    deformation = np.eye(3) + strain
    return _rebuilt(structure, structure.lattice.matrix @ deformation, structure.cart_coords @ deformation)


def _rebuilt(structure: Structure, cell: NDArray[np.float64], cartesian: NDArray[np.float64]) -> Structure:
    """Same species at new places, without properties: energies or forces of the old geometry must not travel along."""
    from pymatgen.core import Lattice, Structure

    return Structure(Lattice(cell), [site.specie for site in structure], cartesian, coords_are_cartesian=True)
