"""Force constants, frequencies and unstable modes of a crystal from the forces on its displaced supercells."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.analysis.phonons.thermodynamics import NOISE, Vibrations, vibrations

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from coevo.analysis.phonons.supercells import DisplacedCells

    FloatArray = NDArray[np.float64]

MESH = 60.0
"""Å; the mesh of q points for sums is that of a supercell of this length."""
ROUNDS = 3
"""How often translations and exchanges of atoms are imposed on the force constants, one after the other."""
SMALLEST = 1e-3
"""Part of a pattern of displacements that is taken for nothing."""


@dataclass(frozen=True)
class Dynamics:
    """Lattice dynamics of one crystal.

    Attributes
    ----------
    phonopy : Phonopy
        With force constants.
    q_points : ndarray, shape (n, 3)
        Commensurate with the supercell, in units of the primitive cell's reciprocal lattice: there the frequencies are what the
        displaced supercells say, and nothing is interpolated.
    frequencies : ndarray, shape (n, 3 n_atoms)
        THz, ascending; those of imaginary modes are negative. The acoustic sum rule is imposed.
    """

    phonopy: Any
    q_points: FloatArray
    frequencies: FloatArray

    @property
    def lowest(self) -> float:
        """Lowest frequency at a commensurate q, THz."""
        return float(self.frequencies.min())

    @property
    def is_stable(self) -> bool:
        """Whether no mode at a commensurate q is below −0.3 THz."""
        return self.lowest >= -NOISE

    @property
    def unstable_share(self) -> float:
        """Share of the modes at commensurate q that are below −0.3 THz."""
        return float((self.frequencies < -NOISE).mean())

    @property
    def atoms(self) -> int:
        """Atoms of the primitive cell."""
        return len(self.phonopy.primitive)

    def thermodynamics(self, temperatures: Sequence[float], *, mesh: float = MESH, zero_point: bool = True) -> Vibrations:
        """Harmonic free energy, entropy and heat capacity per atom on a mesh of q points.

        Parameters
        ----------
        temperatures : sequence of float
            K.
        mesh : float
            Å.
        zero_point : bool
        """
        found = self.phonopy.run_mesh(mesh)
        return vibrations(found.frequencies, found.weights, temperatures, q_points=found.qpoints, zero_point=zero_point)


def dynamics(cells: DisplacedCells, forces: Sequence[FloatArray]) -> Dynamics:
    """Return the lattice dynamics of a crystal.

    Parameters
    ----------
    cells : DisplacedCells
    forces : sequence of ndarray, shape (n_atoms, 3)
        eV/Å, of each of ``cells.structures``. Those of the first, which is not displaced, are subtracted from the others.
    """
    from phonopy.harmonic.dynmat_to_fc import get_commensurate_points

    phonopy = cells.phonopy
    phonopy.forces = [np.asarray(force) - forces[0] for force in forces[1:]]
    phonopy.produce_force_constants(fc_calculator="traditional", show_drift=False)
    phonopy.symmetrize_force_constants(level=ROUNDS, show_drift=False)
    repeated = np.rint(phonopy.supercell.cell @ np.linalg.inv(phonopy.primitive.cell)).astype(int)
    q_points = get_commensurate_points(repeated.T)
    return Dynamics(phonopy, q_points, np.array(phonopy.run_qpoints(q_points).frequencies))


def along_softest(found: Dynamics, amplitudes: Sequence[float]) -> list[Structure]:
    """Return the crystal displaced along its softest mode, in the smallest cell that the mode fits.

    Parameters
    ----------
    found : Dynamics
    amplitudes : sequence of float
        Å, of the atom that moves most.
    """
    from pymatgen.core import Structure

    row, band = np.unravel_index(int(found.frequencies.argmin()), found.frequencies.shape)
    q = found.q_points[row]
    modulation = found.phonopy.run_modulations(smallest_cell(q).T, [[list(q), int(band), 1.0, 0.0]])
    pattern, cell = np.array(modulation.modulations[0]), modulation.supercell
    size = np.linalg.norm(pattern, axis=1).max()
    # at a q that is no half of a reciprocal vector any phase gives a wave; at others the pattern is real but for a factor
    wave = pattern.real if np.linalg.norm(pattern.real, axis=1).max() > SMALLEST * size else pattern.imag
    wave = wave / np.linalg.norm(wave, axis=1).max()
    return [
        Structure(cell.cell, cell.symbols, cell.positions + amplitude * wave, coords_are_cartesian=True)
        for amplitude in amplitudes
    ]


def smallest_cell(q: Sequence[float] | FloatArray) -> NDArray[np.int64]:
    """Return the smallest supercell with which a q point is commensurate, shape (3, 3): in rows, of primitive vectors.

    Parameters
    ----------
    q : sequence of float, length 3
        Rational, in units of the reciprocal lattice.
    """
    parts = [Fraction(float(value)).limit_denominator(24) for value in q]
    size = math.lcm(*(part.denominator for part in parts))
    whole = np.array([int(part * size) for part in parts])
    for a in (value for value in range(1, size + 1) if size % value == 0):
        for b in (value for value in range(1, size // a + 1) if (size // a) % value == 0):
            c = size // a // b
            for ab in range(b):
                for ac in range(c):
                    for bc in range(c):
                        rows = np.array([[a, ab, ac], [0, b, bc], [0, 0, c]])
                        if not ((rows @ whole) % size).any():
                            return rows
    return size * np.eye(3, dtype=np.int64)
