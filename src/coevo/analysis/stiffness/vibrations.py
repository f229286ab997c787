"""Frequencies at the Γ point from the forces of displaced frames, by finite differences.

A frame displaces an atom together with its images in all cells, so its forces are a column of the force constants summed over
cells, which is all that the dynamical matrix at Γ is made of: nothing is left out in a primitive cell. What is not there is the
field of long longitudinal waves in a polar crystal (LO-TO splitting): modes are the transverse ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from coevo.analysis.stiffness.frames import orbit
from coevo.analysis.stiffness.symmetry import operations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from coevo.analysis.stiffness.frames import Displacement

    FloatArray = NDArray[np.float64]


def force_constants(cell: Structure, displacements: Sequence[Displacement], forces: Sequence[FloatArray]) -> FloatArray:
    """Return the force constants at Γ, with the acoustic sum rule imposed.

    Parameters
    ----------
    cell : Structure
        Primitive.
    displacements : sequence of Displacement
        As :func:`coevo.analysis.stiffness.frames.displacements` gives them.
    forces : sequence of ndarray, shape (n, 3)
        Of each displaced frame, eV/Å.

    Returns
    -------
    ndarray, shape (n, 3, n, 3)
        eV/Å². Symmetric under exchange of both pairs of indices, and zero for rigid translations.
    """
    found, n = operations(cell), len(cell)
    constants = np.full((n, 3, n, 3), np.nan)
    for atom in sorted({move.atom for move in displacements}):
        of_site = [operation for operation in found if operation.image[atom] == atom]
        moves, answers = [], []
        for move, force in zip(displacements, forces, strict=True):
            if move.atom == atom:
                moves.append(orbit(np.array(move.vector), of_site))
                for operation in of_site:
                    turned = np.empty((n, 3))
                    turned[list(operation.image)] = force @ operation.rotation.T
                    answers.append(turned.ravel())
        # the orbit holds each vector and its opposite, so what forces there are without a displacement cancels
        row = -np.linalg.lstsq(np.concatenate(moves), np.array(answers), rcond=None)[0].reshape(3, n, 3)
        for operation in found:
            turned = np.einsum("ia,ajb,kb->ijk", operation.rotation, row, operation.rotation)
            constants[operation.image[atom]][:, list(operation.image)] = turned
    matrix = constants.reshape(3 * n, 3 * n)
    matrix = (matrix + matrix.T) / 2.0
    still = np.eye(3 * n) - np.tile(np.eye(3), (n, n)) / n
    return (still @ matrix @ still).reshape(n, 3, n, 3)


def gamma_frequencies(cell: Structure, constants: FloatArray) -> list[float]:
    """Return the 3n − 3 optical frequencies, ascending, cm⁻¹; that of an unstable mode is negative (imaginary).

    Parameters
    ----------
    cell : Structure
    constants : ndarray, shape (n, 3, n, 3)
        eV/Å².
    """
    from ase import units

    masses = np.repeat([float(site.specie.atomic_mass) for site in cell], 3)
    scaled = constants.reshape(len(masses), len(masses)) / np.sqrt(np.outer(masses, masses))
    translations = np.sqrt(masses)[:, None] * np.tile(np.eye(3), (len(cell), 1))
    others = np.linalg.qr(translations, mode="complete")[0][:, 3:]
    squares = np.linalg.eigvalsh(others.T @ scaled @ others)  # eV/Å²/u
    per_centimetre = units._hbar * units.m / np.sqrt(units._e * units._amu) / units.invcm  # noqa: SLF001 - CODATA
    return [float(np.sign(square) * np.sqrt(abs(square)) * per_centimetre) for square in squares]
