"""FIRE on many crystals at once, over positions and cells, with the variables of ASE's ``FrechetCellFilter``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from coevo.models.chgnet.crystal import Crystal
    from coevo.models.contracts import FloatArray

TIME_STEP = 0.1
MAX_TIME_STEP = 1.0
MAX_STEP = 0.2
MIN_STEPS = 5
GROWTH = 1.1
SHRINK = 0.5
MIXING = 0.1
MIXING_DECAY = 0.99


def matrix_exponential(matrices: FloatArray) -> FloatArray:
    """Exponential of each matrix of a stack, shape (n, k, k), in double precision."""
    import torch

    return torch.linalg.matrix_exp(torch.from_numpy(np.ascontiguousarray(matrices))).numpy()


class FireBatch:
    """State of the optimiser: each crystal has its own time step, velocity and mixing.

    The variables of a crystal are its positions in the undeformed cell and ``n_atoms · ln F``, F being the deformation gradient
    (Larsen et al., J. Phys. Condens. Matter 29, 273002 (2017), ``FrechetCellFilter``). The update is FIRE as in ASE
    (Bitzek et al., PRL 97, 170201 (2006)), with ASE's default parameters, so that one crystal follows ASE's path.

    Parameters
    ----------
    crystals : sequence of Crystal
        Starting geometries.
    relax_cell : bool
    """

    def __init__(self, crystals: Sequence[Crystal], *, relax_cell: bool) -> None:
        n = len(crystals)
        self.relax_cell = relax_cell
        self.counts = np.array([len(crystal) for crystal in crystals], dtype=np.int64)
        self.owner = np.repeat(np.arange(n), self.counts)
        self.start_cells = np.stack([crystal.cell for crystal in crystals])
        self.reference = np.concatenate([crystal.positions for crystal in crystals])
        self.log_deformation = np.zeros((n, 3, 3))
        self.atom_velocity = np.zeros_like(self.reference)
        self.cell_velocity = np.zeros((n, 3, 3))
        self.time_step = np.full(n, TIME_STEP)
        self.mixing = np.full(n, MIXING)
        self.downhill_steps = np.zeros(n, dtype=np.int64)
        self.started = False

    @property
    def deformation(self) -> FloatArray:
        """Deformation gradient F of each crystal, shape (n, 3, 3): new = F · old for column vectors."""
        return matrix_exponential(self.log_deformation)

    def geometry(self) -> tuple[FloatArray, FloatArray]:
        """Positions (n_atoms, 3) and cells (n, 3, 3) now, Å."""
        if not self.relax_cell:
            return self.reference.copy(), self.start_cells.copy()
        turned = self.deformation.transpose(0, 2, 1)
        return self._rows_times(self.reference, turned), np.matmul(self.start_cells, turned)

    def generalised_forces(self, forces: FloatArray, virials: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Forces on the variables: (n_atoms, 3) and (n, 3, 3), eV/Å.

        Parameters
        ----------
        forces : ndarray, shape (n_atoms, 3)
            eV/Å.
        virials : ndarray, shape (n, 3, 3)
            Strain derivative of the energy, eV.
        """
        if not self.relax_cell:
            return forces, np.zeros_like(virials)
        deformation = self.deformation
        on_deformation = np.matmul(-virials, np.linalg.inv(deformation.transpose(0, 2, 1)))
        # The adjoint of the exponential's derivative at X is its derivative at Xᵀ, found as a block of exp [[Xᵀ, G], [0, Xᵀ]]
        # (Najfeld and Havel, Adv. Appl. Math. 16, 321 (1995)).
        blocks = np.zeros((len(virials), 6, 6))
        blocks[:, :3, :3] = blocks[:, 3:, 3:] = self.log_deformation.transpose(0, 2, 1)
        blocks[:, :3, 3:] = on_deformation
        on_logarithm = matrix_exponential(blocks)[:, :3, 3:]
        return self._rows_times(forces, deformation), on_logarithm / self.counts[:, None, None]

    def largest(self, atom_forces: FloatArray, cell_forces: FloatArray) -> FloatArray:
        """Largest norm of a row of each crystal's generalised forces, eV/Å, shape (n,)."""
        starts = np.cumsum(self.counts) - self.counts
        on_atoms = np.maximum.reduceat((atom_forces**2).sum(axis=1), starts)
        on_cells = (cell_forces**2).sum(axis=2).max(axis=1)
        return np.sqrt(np.maximum(on_atoms, on_cells))

    def step(self, atom_forces: FloatArray, cell_forces: FloatArray) -> None:
        """Move every crystal by one FIRE step along its generalised forces."""
        if self.started:
            self._steer(atom_forces, cell_forces)
        self.started = True
        dt = self.time_step
        self.atom_velocity += dt[self.owner, None] * atom_forces
        self.cell_velocity += dt[:, None, None] * cell_forces
        atom_move = dt[self.owner, None] * self.atom_velocity
        cell_move = dt[:, None, None] * self.cell_velocity
        length = np.sqrt(self._dot(atom_move, atom_move, cell_move, cell_move))
        scale = np.minimum(1.0, MAX_STEP / np.maximum(length, 1e-300))
        self.reference = self.reference + scale[self.owner, None] * atom_move
        if self.relax_cell:
            self.log_deformation = self.log_deformation + (scale / self.counts)[:, None, None] * cell_move

    def keep(self, chosen: NDArray[np.bool_]) -> None:
        """Drop the crystals that are not chosen."""
        atoms = chosen[self.owner]
        self.reference, self.atom_velocity = self.reference[atoms], self.atom_velocity[atoms]
        for name in ("counts", "start_cells", "log_deformation", "cell_velocity", "time_step", "mixing", "downhill_steps"):
            setattr(self, name, getattr(self, name)[chosen])
        self.owner = np.repeat(np.arange(len(self.counts)), self.counts)

    def _steer(self, atom_forces: FloatArray, cell_forces: FloatArray) -> None:
        power = self._dot(atom_forces, self.atom_velocity, cell_forces, self.cell_velocity)
        force = np.sqrt(self._dot(atom_forces, atom_forces, cell_forces, cell_forces))
        speed = np.sqrt(self._dot(self.atom_velocity, self.atom_velocity, self.cell_velocity, self.cell_velocity))
        downhill = power > 0.0
        keep = np.where(downhill, 1.0 - self.mixing, 0.0)
        turn = np.where(downhill, self.mixing * speed / np.maximum(force, 1e-300), 0.0)
        self.atom_velocity = keep[self.owner, None] * self.atom_velocity + turn[self.owner, None] * atom_forces
        self.cell_velocity = keep[:, None, None] * self.cell_velocity + turn[:, None, None] * cell_forces
        faster = downhill & (self.downhill_steps > MIN_STEPS)
        self.time_step = np.where(faster, np.minimum(self.time_step * GROWTH, MAX_TIME_STEP), self.time_step)
        self.time_step = np.where(downhill, self.time_step, self.time_step * SHRINK)
        self.mixing = np.where(downhill, np.where(faster, self.mixing * MIXING_DECAY, self.mixing), MIXING)
        self.downhill_steps = np.where(downhill, self.downhill_steps + 1, 0)

    def _dot(self, a: FloatArray, b: FloatArray, a_cell: FloatArray, b_cell: FloatArray) -> FloatArray:
        on_atoms = np.bincount(self.owner, (a * b).sum(axis=1), minlength=len(self.counts))
        return on_atoms + (a_cell * b_cell).sum(axis=(1, 2))

    def _rows_times(self, rows: FloatArray, matrices: FloatArray) -> FloatArray:
        return np.matmul(rows[:, None, :], matrices[self.owner])[:, 0, :]
