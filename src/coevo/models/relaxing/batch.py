"""Relaxation of a batch of crystals that advance together, each watched for itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from coevo.models.contracts import Failure, Prediction
from coevo.models.relaxing.fire import Fire
from coevo.models.relaxing.lbfgs import QuasiNewton
from coevo.models.relaxing.neighbours import MIN_DISTANCE, JoinedPairs, PairList, covers, pair_list
from coevo.models.relaxing.predictor import prediction_of
from coevo.models.relaxing.variables import Variables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from coevo.models.contracts import FloatArray, RelaxationSettings
    from coevo.models.relaxing.crystal import Crystal
    from coevo.models.relaxing.predictor import BatchPrediction, Predictor

    BoolArray = NDArray[np.bool_]

SKIN = 0.6
"""Å; a larger skin means fewer neighbour searches and more pairs to sift at each step."""
VOLUME_RATIO = (0.15, 6.0)
"""A crystal whose volume leaves these multiples of its first volume has collapsed or exploded."""
INTERACTION_RANGE = (-20.0, 100.0)
"""eV/atom beyond the energy of the elements; outside, a force field is far from anything that it was made for."""

OPTIMISERS: dict[str, type[Fire | QuasiNewton]] = {"fire": Fire, "lbfgs": QuasiNewton}


@dataclass(frozen=True)
class RelaxedCrystal:
    """A crystal that was relaxed: final arrays, their prediction, and earlier geometries as (positions, cell)."""

    positions: FloatArray
    cell: FloatArray
    prediction: Prediction
    steps: int
    path: list[tuple[FloatArray, FloatArray]]


@dataclass
class _Member:
    """One crystal that is still moving."""

    place: int
    crystal: Crystal
    pairs: PairList | None = None
    history: list[tuple[FloatArray, FloatArray]] = field(default_factory=list)


def relax_batch(
    predictor: Predictor, crystals: Sequence[Crystal], settings: RelaxationSettings
) -> list[RelaxedCrystal | Failure]:
    """Relax the crystals of one batch, in order.

    Returns
    -------
    list of RelaxedCrystal or Failure
        Reasons: ``collapsed``, ``exploded``, ``nan``, ``no_neighbours``, ``not_converged``.
    """
    return BatchRelaxation(predictor, crystals, settings).run()


class BatchRelaxation:
    """A relaxation of one batch under way."""

    def __init__(self, predictor: Predictor, crystals: Sequence[Crystal], settings: RelaxationSettings) -> None:
        self.predictor = predictor
        self.settings = settings
        self.cutoff = predictor.cutoff
        self.members = [_Member(place, crystal) for place, crystal in enumerate(crystals)]
        self.results: dict[int, RelaxedCrystal | Failure] = {}
        self.variables = Variables(
            crystals, relax_cell=settings.relax_cell, fixed_volume=settings.fixed_volume, pressure=settings.pressure
        )
        self.optimiser = OPTIMISERS[settings.optimiser](self.variables)
        self.numbers = np.concatenate([crystal.numbers for crystal in crystals])
        self.joined: JoinedPairs | None = None
        self.steps = 0

    def run(self) -> list[RelaxedCrystal | Failure]:
        """Advance until every crystal has a result."""
        n = len(self.members)
        while self.members:
            positions, cells = self._usable_geometry()
            if not self.members:
                break
            if not self._sound(positions, cells):
                continue
            lists = [member.pairs for member in self.members if member.pairs is not None]
            predicted = self.predictor.predict(self.numbers, self.variables.counts, positions, cells, pairs=lists)
            atom_forces, cell_forces = self.variables.generalised_forces(predicted.forces, predicted.virials)
            fmax = self.variables.largest_row(atom_forces, cell_forces)
            finished = self._judge(predicted, positions, cells, fmax)
            if finished.any():
                rest = ~finished
                atoms = rest[self.variables.owner]
                self._drop(rest)
                atom_forces, cell_forces = atom_forces[atoms], cell_forces[rest]
            if self.members:
                self.variables.move(*self.optimiser.step((atom_forces, cell_forces)))
            self.steps += 1
        return [self.results[place] for place in range(n)]

    def _usable_geometry(self) -> tuple[FloatArray, FloatArray]:
        """Positions and cells now, after dropping what collapsed or exploded, with pair lists that cover them."""
        while self.members:
            positions, cells = self.variables.geometry()
            failures: dict[int, Failure] = {}
            parts = np.split(positions, np.cumsum(self.variables.counts)[:-1])
            for k, member in enumerate(self.members):
                failure = self._renew(member, parts[k], cells[k])
                if failure is not None:
                    failures[k] = failure
            if not failures:
                return positions, cells
            self._fail(failures)
        return np.zeros((0, 3)), np.zeros((0, 3, 3))

    def _renew(self, member: _Member, positions: FloatArray, cell: FloatArray) -> Failure | None:
        ratio = float(np.linalg.det(cell) / np.linalg.det(member.crystal.cell))
        if not VOLUME_RATIO[0] < ratio < VOLUME_RATIO[1]:
            reason = "exploded" if ratio >= VOLUME_RATIO[1] else "collapsed"
            return Failure(reason, f"after {self.steps} steps the volume is {ratio:.3g} times the first one")
        if member.pairs is None or not covers(member.pairs, positions, cell, self.cutoff, SKIN):
            pairs = pair_list(positions, cell, self.cutoff + SKIN)
            if isinstance(pairs, Failure):
                return pairs
            member.pairs = pairs
            self.joined = None
        return None

    def _sound(self, positions: FloatArray, cells: FloatArray) -> bool:
        """Whether every crystal can be predicted; those that cannot are dropped, and the geometry is to be taken again."""
        if self.joined is None:
            lists = [member.pairs for member in self.members]
            self.joined = JoinedPairs(self.variables.counts, [pairs for pairs in lists if pairs is not None])
        lonely, shortest = self.joined.surroundings(positions, cells, self.cutoff)
        failures: dict[int, Failure] = {}
        for k in np.flatnonzero(lonely):
            detail = f"after {self.steps} steps {lonely[k]:.0f} of {self.variables.counts[k]} atoms have no neighbour"
            failures[int(k)] = Failure("no_neighbours", f"{detail} within {self.cutoff} Å")
        for k in np.flatnonzero(shortest < MIN_DISTANCE):
            failures[int(k)] = Failure("collapsed", f"after {self.steps} steps two atoms are {shortest[k]:.3g} Å apart")
        if failures:
            self._fail(failures)
        return not failures

    def _judge(self, predicted: BatchPrediction, positions: FloatArray, cells: FloatArray, fmax: FloatArray) -> BoolArray:
        """Record the crystals that are finished; return which they are, shape (n,) of bool."""
        bounds = np.cumsum(self.variables.counts)[:-1]
        forces, parts = np.split(predicted.forces, bounds), np.split(positions, bounds)
        volumes = np.abs(np.linalg.det(cells))
        finished = np.zeros(len(self.members), dtype=bool)
        for k, member in enumerate(self.members):
            energy = float(predicted.energies[k] / self.variables.counts[k])
            prediction = predicted.failures.get(k) or prediction_of(energy, forces[k], predicted.virials[k] / volumes[k])
            interaction = 0.0 if predicted.interaction is None else float(predicted.interaction[k])
            result = self._verdict(prediction, interaction, float(fmax[k]))
            if result is None:
                member.history.append((parts[k], cells[k]))
                continue
            finished[k] = True
            if isinstance(result, Prediction):
                path = evenly_spaced(member.history, self.settings.path_frames)
                self.results[member.place] = RelaxedCrystal(parts[k], cells[k], result, self.steps, path)
            else:
                self.results[member.place] = result
        return finished

    def _verdict(self, prediction: Prediction | Failure, interaction: float, fmax: float) -> Prediction | Failure | None:
        """The prediction if the crystal is relaxed, a failure if it cannot be, None if it is to move on."""
        if isinstance(prediction, Failure):
            return Failure(prediction.reason, f"after {self.steps} steps {prediction.detail}")
        if not INTERACTION_RANGE[0] < interaction < INTERACTION_RANGE[1]:
            reason = "collapsed" if interaction <= INTERACTION_RANGE[0] else "exploded"
            return Failure(reason, f"after {self.steps} steps the energy is {interaction:.3g} eV/atom beyond the elements'")
        if fmax < self.settings.fmax:
            return prediction
        if self.steps >= self.settings.max_steps:
            if self.settings.keep_unconverged:
                return prediction
            return Failure("not_converged", f"after {self.steps} steps the largest force is {fmax:.3g} eV/Å")
        return None

    def _fail(self, failures: dict[int, Failure]) -> None:
        rest = np.ones(len(self.members), dtype=bool)
        for k, failure in failures.items():
            self.results[self.members[k].place] = failure
            rest[k] = False
        self._drop(rest)

    def _drop(self, rest: BoolArray) -> None:
        self.members = [member for member, stays in zip(self.members, rest, strict=True) if stays]
        self.numbers = self.numbers[rest[self.variables.owner]]
        self.optimiser.keep(rest)
        self.variables.keep(rest)
        self.joined = None


def evenly_spaced(history: list[tuple[FloatArray, FloatArray]], frames: int) -> list[tuple[FloatArray, FloatArray]]:
    """Keep ``frames`` of the earlier geometries, evenly spaced from the first on; all of them if there are fewer."""
    chosen = sorted({k * len(history) // frames for k in range(frames)}) if history else []
    return [history[index] for index in chosen]
