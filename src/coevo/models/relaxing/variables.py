"""The variables that a relaxation moves, those of ASE's ``FrechetCellFilter``, for many crystals at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from coevo.models.contracts import FloatArray
    from coevo.models.relaxing.crystal import Crystal


def matrix_exponential(matrices: FloatArray) -> FloatArray:
    """Exponential of each matrix of a stack, shape (n, k, k), in double precision."""
    import torch

    return torch.linalg.matrix_exp(torch.from_numpy(np.ascontiguousarray(matrices))).numpy()


def _without_trace(matrices: FloatArray) -> FloatArray:
    return matrices - np.trace(matrices, axis1=1, axis2=2)[:, None, None] / 3.0 * np.eye(3)


class Variables:
    """Positions in the undeformed cells and ``n_atoms · ln F`` of each crystal, F being its deformation gradient.

    See ``ase.filters.FrechetCellFilter`` (Larsen et al., J. Phys. Condens. Matter 29, 273002 (2017)). Vectors over the variables
    of the batch are pairs of arrays: one row per atom, shape (n_atoms, 3), and one matrix per cell, shape (n, 3, 3).

    Parameters
    ----------
    crystals : sequence of Crystal
        Starting geometries.
    relax_cell : bool
    fixed_volume : bool
        Only the shape of the cell moves: ln F has no trace, so that det F = 1.
    pressure : float
        External pressure, eV/Å³: the enthalpy E + pV is minimised.
    """

    def __init__(
        self, crystals: Sequence[Crystal], *, relax_cell: bool, fixed_volume: bool = False, pressure: float = 0.0
    ) -> None:
        self.relax_cell = relax_cell
        self.fixed_volume = fixed_volume
        self.pressure = pressure
        self.counts = np.array([len(crystal) for crystal in crystals], dtype=np.int64)
        self.owner = np.repeat(np.arange(len(crystals)), self.counts)
        self.start_cells = np.stack([crystal.cell for crystal in crystals])
        self.reference = np.concatenate([crystal.positions for crystal in crystals])
        self.log_deformation = np.zeros((len(crystals), 3, 3))

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
        """Forces on the variables, eV/Å.

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
        if self.pressure:
            volumes = np.abs(np.linalg.det(self.start_cells)) * np.linalg.det(deformation)
            virials = virials + self.pressure * volumes[:, None, None] * np.eye(3)
        on_deformation = np.matmul(-virials, np.linalg.inv(deformation.transpose(0, 2, 1)))
        # The adjoint of the exponential's derivative at X is its derivative at Xᵀ, found as a block of exp [[Xᵀ, G], [0, Xᵀ]]
        # (Najfeld and Havel, Adv. Appl. Math. 16, 321 (1995)).
        blocks = np.zeros((len(virials), 6, 6))
        blocks[:, :3, :3] = blocks[:, 3:, 3:] = self.log_deformation.transpose(0, 2, 1)
        blocks[:, :3, 3:] = on_deformation
        on_logarithm = matrix_exponential(blocks)[:, :3, 3:]
        if self.fixed_volume:
            on_logarithm = _without_trace(on_logarithm)
        return self._rows_times(forces, deformation), on_logarithm / self.counts[:, None, None]

    def largest_row(self, on_atoms: FloatArray, on_cells: FloatArray) -> FloatArray:
        """Largest norm of a row of each crystal, shape (n,): of generalised forces, the convergence criterion."""
        starts = np.cumsum(self.counts) - self.counts
        atoms = np.maximum.reduceat((on_atoms**2).sum(axis=1), starts)
        return np.sqrt(np.maximum(atoms, (on_cells**2).sum(axis=2).max(axis=1)))

    def dot(self, a: tuple[FloatArray, FloatArray], b: tuple[FloatArray, FloatArray]) -> FloatArray:
        """Scalar product of each crystal's vectors, shape (n,)."""
        on_atoms = np.bincount(self.owner, (a[0] * b[0]).sum(axis=1), minlength=len(self.counts))
        return np.asarray(on_atoms + (a[1] * b[1]).sum(axis=(1, 2)))

    def spread(self, values: FloatArray, vector: tuple[FloatArray, FloatArray]) -> tuple[FloatArray, FloatArray]:
        """Multiply each crystal's vector by its value."""
        return values[self.owner, None] * vector[0], values[:, None, None] * vector[1]

    def move(self, atom_move: FloatArray, cell_move: FloatArray) -> None:
        """Add a vector to the variables."""
        self.reference = self.reference + atom_move
        if self.relax_cell:
            cell_move = _without_trace(cell_move) if self.fixed_volume else cell_move
            self.log_deformation = self.log_deformation + cell_move / self.counts[:, None, None]

    def keep(self, chosen: NDArray[np.bool_]) -> None:
        """Drop the crystals that are not chosen."""
        self.reference = self.reference[chosen[self.owner]]
        self.counts, self.start_cells = self.counts[chosen], self.start_cells[chosen]
        self.log_deformation = self.log_deformation[chosen]
        self.owner = np.repeat(np.arange(len(self.counts)), self.counts)

    def _rows_times(self, rows: FloatArray, matrices: FloatArray) -> FloatArray:
        return np.matmul(rows[:, None, :], matrices[self.owner])[:, 0, :]
