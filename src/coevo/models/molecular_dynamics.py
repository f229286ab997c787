"""Molecular dynamics of crystals in batches, by any force field: NVT (Langevin) or NVE, in fixed cells, with unwrapped atoms.

The integrator is BAOAB (Leimkuhler and Matthews, Appl. Math. Res. Express 2013, 34); without friction it is velocity Verlet. Each
crystal has its own random numbers, so that its trajectory does not depend on what moves beside it but for rounding.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.models.contracts import Failure
from coevo.models.relaxing.neighbours import MIN_DISTANCE, JoinedPairs, PairList, covers, pair_list

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.models.contracts import FloatArray, Progress
    from coevo.models.relaxing.crystal import Crystal
    from coevo.models.relaxing.force_field import BatchForceField
    from coevo.models.relaxing.predictor import Predictor

SKIN = 1.0
"""Å; atoms that move warrant a larger one than a relaxation does."""
HOTTEST = 20.0
"""Times the temperature: a crystal whose atoms are hotter has exploded."""


@dataclass(frozen=True)
class Motion:
    """A crystal that moves, at one instant; all that is needed to go on.

    Attributes
    ----------
    crystal : Crystal
        Positions are unwrapped: an atom that leaves the cell is not put back.
    velocities : ndarray, shape (n_atoms, 3)
        Å per ASE's unit of time.
    temperature : float
        K; of the thermostat, or, without one, that of the first velocities.
    random : dict
        State of the random numbers (of ``numpy.random.PCG64``), plain data.
    """

    crystal: Crystal
    velocities: FloatArray
    temperature: float
    random: dict[str, Any]


@dataclass(frozen=True)
class Dynamics:
    """How crystals move.

    Attributes
    ----------
    timestep : float
        fs.
    friction : float
        1/ps; 0: no thermostat.
    steps : int
    every : int
        Steps from one frame to the next; frames are stored after each ``every`` steps.
    """

    timestep: float
    friction: float
    steps: int
    every: int


@dataclass(frozen=True)
class Trajectory:
    """What a crystal did.

    Attributes
    ----------
    frames : ndarray, shape (n_frames, n_atoms, 3)
        Unwrapped positions, Å.
    temperatures : ndarray, shape (n_frames,)
        Of the kinetic energy, K.
    energies : ndarray, shape (n_frames,)
        Potential energies, eV per cell.
    totals : ndarray, shape (n_frames,)
        With the kinetic energy, eV per cell.
    end : Motion
        From which it goes on.
    failure : Failure or None
        Why it ended early; then the frames are those before.
    """

    frames: FloatArray
    temperatures: FloatArray
    energies: FloatArray
    totals: FloatArray
    end: Motion
    failure: Failure | None = None


def begin(crystal: Crystal, temperature: float, seed: int, *, heat: float = 2.0) -> Motion:
    """Start a crystal at rest with velocities of ``heat`` times a temperature (K).

    Of the kinetic energy, half becomes potential energy within a vibration in a crystal at rest. The whole does not drift.
    """
    from ase import units

    generator = np.random.default_rng(seed)
    masses = _masses(crystal)
    velocities = np.sqrt(heat * units.kB * temperature / masses) * generator.standard_normal((len(crystal), 3))
    velocities -= (masses * velocities).sum(axis=0) / masses.sum()
    return Motion(crystal, velocities, temperature, dict(generator.bit_generator.state))


def move(
    force_field: BatchForceField,
    motions: Sequence[Motion],
    dynamics: Dynamics,
    *,
    batch_atoms: int = 256,
    workers: int = 1,
    progress: Progress | None = None,
) -> list[Trajectory]:
    """Let crystals move, in batches of up to so many atoms.

    Parameters
    ----------
    force_field : BatchForceField
        Of any family.
    motions : sequence of Motion
    dynamics : Dynamics
    batch_atoms : int
        Crystals that move together have at most so many atoms (one alone may have more). Consecutive crystals form a batch,
        so that the result does not depend on the workers.
    workers : int
        Processes.
    progress : callable, optional
        Called with the number of crystals finished since the last call.

    Returns
    -------
    list of Trajectory
        In order.
    """
    from coevo.models.relaxing.pool import run_batches

    batches: list[list[Motion]] = []
    room = 0
    for motion in motions:
        if len(motion.crystal) > room:
            batches.append([])
            room = batch_atoms
        batches[-1].append(motion)
        room -= len(motion.crystal)
    found = run_batches(
        force_field.recipe, force_field.predictor, move_batch, batches, (dynamics,), workers=workers, progress=progress
    )
    return [trajectory for batch in found for trajectory in batch]


def move_batch(predictor: Predictor, motions: Sequence[Motion], dynamics: Dynamics) -> list[Trajectory]:
    """Let the crystals of one batch move side by side."""
    return _Batch(predictor, motions, dynamics).run()


def wrapped_pairs(positions: FloatArray, cell: FloatArray, reach: float) -> PairList | Failure:
    """Pairs of unwrapped positions: the search wants wrapped ones, so images are shifted back."""
    cells = np.floor(np.linalg.solve(cell.T, positions.T).T)
    found = pair_list(positions - cells @ cell, cell, reach)
    if isinstance(found, Failure):
        return found
    return replace(found, shift=found.shift + cells[found.first] - cells[found.second], positions=positions.copy())


def _masses(crystal: Crystal) -> FloatArray:
    from ase.data import atomic_masses

    masses: FloatArray = atomic_masses[crystal.numbers][:, None]
    return masses


@dataclass
class _Member:
    """A crystal on its way."""

    motion: Motion
    place: int
    positions: FloatArray
    velocities: FloatArray
    masses: FloatArray
    generator: np.random.Generator
    pairs: PairList | None = None
    energy: float = 0.0
    forces: FloatArray = field(default_factory=lambda: np.zeros((0, 3)))
    rows: list[tuple[FloatArray, float, float, float]] = field(default_factory=list)
    failure: Failure | None = None


class _Batch:
    def __init__(self, predictor: Predictor, motions: Sequence[Motion], dynamics: Dynamics):
        self.predictor, self.dynamics = predictor, dynamics
        self.members = [self._member(motion, place) for place, motion in enumerate(motions)]
        self.joined: JoinedPairs | None = None
        self.done = 0

    @staticmethod
    def _member(motion: Motion, place: int) -> _Member:
        generator = np.random.default_rng()
        generator.bit_generator.state = motion.random
        crystal = motion.crystal
        return _Member(motion, place, crystal.positions.copy(), motion.velocities.copy(), _masses(crystal), generator)

    def run(self) -> list[Trajectory]:
        from ase import units

        given, step = self.dynamics, self.dynamics.timestep * units.fs
        memory = float(np.exp(-given.friction * given.timestep / 1000.0))
        noise = float(np.sqrt(1.0 - memory * memory))
        everyone = self.members
        self._ask()
        for number in range(1, given.steps + 1):
            self.done = number
            for one in self.members:
                one.velocities += 0.5 * step * one.forces / one.masses
                one.positions += 0.5 * step * one.velocities
                if noise:
                    thermal = np.sqrt(units.kB * one.motion.temperature / one.masses)
                    one.velocities = memory * one.velocities + noise * thermal * one.generator.standard_normal(
                        one.positions.shape
                    )
                    one.velocities -= (one.masses * one.velocities).sum(axis=0) / one.masses.sum()
                one.positions += 0.5 * step * one.velocities
            self._ask()
            for one in self.members:
                one.velocities += 0.5 * step * one.forces / one.masses
            if number % given.every == 0:
                for one in self.members:
                    self._note(one)
            self._drop()
            if not self.members:
                break
        return [self._trajectory(one) for one in everyone]

    def _note(self, one: _Member) -> None:
        from ase import units

        kinetic = 0.5 * float((one.masses * one.velocities**2).sum())
        temperature = 2.0 * kinetic / (max(3 * len(one.positions) - 3, 1) * units.kB)
        if not temperature <= HOTTEST * one.motion.temperature:  # also where it is no number
            one.failure = Failure("exploded", f"after {self.done} steps the atoms have {temperature:.3g} K")
            return
        one.rows.append((one.positions.copy(), temperature, one.energy, one.energy + kinetic))

    def _ask(self) -> None:
        """Forces on all crystals; those that cannot be predicted leave the batch."""
        cutoff = self.predictor.cutoff
        for one in self.members:
            cell = one.motion.crystal.cell
            if not np.isfinite(one.positions).all():
                one.failure = Failure("nan", f"after {self.done} steps a coordinate is not a finite number")
            elif one.pairs is None or not covers(one.pairs, one.positions, cell, cutoff, SKIN):
                found = wrapped_pairs(one.positions, cell, cutoff + SKIN)
                if isinstance(found, Failure):
                    one.failure = found
                else:
                    one.pairs, self.joined = found, None
        self._drop()
        if self.members:
            self._check(cutoff)
        self._drop()
        if not self.members:
            return
        counts, positions, cells = self._arrays()
        predicted = self.predictor.predict(
            np.concatenate([one.motion.crystal.numbers for one in self.members]),
            counts,
            positions,
            cells,
            pairs=[one.pairs for one in self.members if one.pairs is not None],
        )
        for place, (one, forces) in enumerate(zip(self.members, np.split(predicted.forces, np.cumsum(counts)[:-1]), strict=True)):
            one.energy, one.forces = float(predicted.energies[place]), forces.astype(np.float64)
            one.failure = predicted.failures.get(place)
        self._drop()

    def _check(self, cutoff: float) -> None:
        counts, positions, cells = self._arrays()
        if self.joined is None:
            self.joined = JoinedPairs(counts, [one.pairs for one in self.members if one.pairs is not None])
        lonely, shortest = self.joined.surroundings(positions, cells, cutoff)
        for one, alone, distance in zip(self.members, lonely, shortest, strict=True):
            if alone:
                one.failure = Failure(
                    "no_neighbours", f"after {self.done} steps {alone} atoms have no neighbour within {cutoff} Å"
                )
            elif distance < MIN_DISTANCE:
                one.failure = Failure("collapsed", f"after {self.done} steps two atoms are {distance:.3g} Å apart")

    def _arrays(self) -> tuple[Any, FloatArray, FloatArray]:
        counts = np.array([len(one.positions) for one in self.members], dtype=np.int64)
        cells = np.stack([one.motion.crystal.cell for one in self.members])
        return counts, np.concatenate([one.positions for one in self.members]), cells

    def _drop(self) -> None:
        if any(one.failure is not None for one in self.members):
            self.members = [one for one in self.members if one.failure is None]
            self.joined = None

    @staticmethod
    def _trajectory(one: _Member) -> Trajectory:
        n = len(one.positions)
        frames = np.array([row[0] for row in one.rows]).reshape(-1, n, 3)
        numbers = np.array([row[1:] for row in one.rows], dtype=np.float64).reshape(-1, 3)
        crystal = replace(one.motion.crystal, positions=one.positions)
        end = Motion(crystal, one.velocities, one.motion.temperature, dict(one.generator.bit_generator.state))
        return Trajectory(frames, numbers[:, 0], numbers[:, 1], numbers[:, 2], end, one.failure)
