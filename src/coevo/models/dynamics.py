"""Langevin dynamics of several crystals side by side, by any force field: each step is one batch of single points.

The integrator is BAOAB (Leimkuhler and Matthews, Appl. Math. Res. Express 2013, 34): half a kick, half a drift, friction and
noise, half a drift, half a kick. Its configurations are those of the temperature to second order in the step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from coevo.models.contracts import Failure, Prediction
from coevo.models.relaxing.crystal import structure_with_geometry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pymatgen.core import Structure

    from coevo.models.contracts import FloatArray, ForceField

FRICTION = 0.01
"""1/fs; velocities are forgotten in 0.1 ps."""
HOTTEST = 20.0
"""Times the temperature: a crystal whose atoms are hotter has exploded."""


def snapshots(
    force_field: ForceField,
    structures: Sequence[Structure],
    *,
    temperature: float,
    timestep: float,
    keep: Sequence[int],
    seeds: Sequence[int],
    progress: Callable[[int], None] | None = None,
) -> list[list[Structure] | Failure]:
    """Let crystals move at a temperature, in fixed cells, and keep some of their geometries.

    They begin where they are, with velocities of twice the temperature: in a crystal at rest half of that becomes potential
    energy within a vibration.

    Parameters
    ----------
    force_field : ForceField
    structures : sequence of Structure
    temperature : float
        K.
    timestep : float
        fs.
    keep : sequence of int
        Numbers of the steps after which a geometry is kept, ascending.
    seeds : sequence of int
        Of velocities and noise, one for each crystal.
    progress : callable, optional
        Called with the number of steps since the last call.

    Returns
    -------
    list of (list of Structure) or Failure
        For each crystal its geometries in order; or why it has none: what the force field said of a geometry, or ``exploded``.
    """
    from ase import units

    step, heat = timestep * units.fs, units.kB * temperature
    memory = float(np.exp(-FRICTION * timestep))
    noise = float(np.sqrt(1.0 - memory * memory))
    moving = [_Crystal(structure, seed, heat) for structure, seed in zip(structures, seeds, strict=True)]
    _ask(force_field, moving)
    for number in range(1, max(keep, default=0) + 1):
        alive = [crystal for crystal in moving if crystal.failure is None]
        for crystal in alive:
            crystal.velocities += 0.5 * step * crystal.forces / crystal.masses
            crystal.positions += 0.5 * step * crystal.velocities
            crystal.velocities = memory * crystal.velocities + noise * crystal.thermal(heat)
            crystal.positions += 0.5 * step * crystal.velocities
        _ask(force_field, alive)
        for crystal in alive:
            crystal.velocities += 0.5 * step * crystal.forces / crystal.masses
            crystal.check(heat)
            if number in keep and crystal.failure is None:
                crystal.kept.append(crystal.structure())
        if progress is not None:
            progress(1)
    return [crystal.failure or crystal.kept for crystal in moving]


class _Crystal:
    """One crystal on its way; velocities in Å per ASE's unit of time, masses in u, shape (n, 1)."""

    def __init__(self, structure: Structure, seed: int, heat: float):
        self.template = structure
        self.cell = np.array(structure.lattice.matrix)
        self.positions = np.array(structure.cart_coords)
        self.masses = np.array([[float(site.specie.atomic_mass)] for site in structure])
        self._random = np.random.default_rng(seed)
        self.velocities = self.thermal(2.0 * heat)
        self.forces: FloatArray = np.zeros_like(self.positions)
        self.failure: Failure | None = None
        self.kept: list[Structure] = []

    def thermal(self, heat: float) -> FloatArray:
        """Draw velocities of Maxwell and Boltzmann's distribution; ``heat`` is k_B T, eV."""
        return np.sqrt(heat / self.masses) * self._random.standard_normal(self.positions.shape)

    def structure(self) -> Structure:
        return structure_with_geometry(self.template, self.positions, self.cell)

    def check(self, heat: float) -> None:
        """Note a crystal whose atoms are far too hot."""
        kinetic = float((self.masses * self.velocities**2).mean())
        if not kinetic <= HOTTEST * heat:  # also where it is no number
            self.failure = self.failure or Failure("exploded", f"{kinetic / heat:.3g} times as hot as asked for")


def _ask(force_field: ForceField, crystals: Sequence[_Crystal]) -> None:
    """Forces on each crystal, or why there are none."""
    if not crystals:
        return
    found = force_field.evaluate([crystal.structure() for crystal in crystals])
    for crystal, prediction in zip(crystals, found, strict=True):
        if isinstance(prediction, Prediction):
            crystal.forces = prediction.forces
        else:
            crystal.failure = prediction
