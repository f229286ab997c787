"""What a family of force fields gives to evaluation and relaxation: energies, forces and stresses of a batch of crystals.

Also here, single points of a batch, each crystal checked for itself.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from coevo.models.contracts import Failure, Prediction
from coevo.models.relaxing.neighbours import MIN_DISTANCE, PairList, pair_list

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from coevo.models.contracts import FloatArray
    from coevo.models.relaxing.crystal import Crystal


@dataclass(frozen=True)
class BatchPrediction:
    """What a force field says of a batch.

    Attributes
    ----------
    energies : ndarray, shape (n_crystals,)
        eV per cell.
    forces : ndarray, shape (n_atoms, 3)
        eV/Å.
    virials : ndarray, shape (n_crystals, 3, 3)
        Derivative of the energy with respect to a symmetric strain, eV: the stress (eV/Å³, ASE sign) times the volume.
    interaction : ndarray, shape (n_crystals,), optional
        Part of the energies beyond that of the elements, eV/atom, of families that know it; where it is absurd, a relaxation
        stops.
    failures : mapping of int to Failure
        Crystals of which there is no prediction, by their place in the batch; their rows hold anything.
    """

    energies: FloatArray
    forces: FloatArray
    virials: FloatArray
    interaction: FloatArray | None = None
    failures: Mapping[int, Failure] = field(default_factory=dict)


class Predictor(Protocol):
    """A force field that is ready to predict batches."""

    @property
    def cutoff(self) -> float:
        """Å; an atom with no other one within it has no meaningful energy."""
        ...

    @property
    def device_type(self) -> str:
        """``cpu`` or ``cuda``."""
        ...

    def predict(
        self,
        numbers: NDArray[np.int64],
        counts: NDArray[np.int64],
        positions: FloatArray,
        cells: FloatArray,
        *,
        pairs: Sequence[PairList] = (),
    ) -> BatchPrediction:
        """Predict a batch of periodic crystals; each atom has a neighbour, and none lies on another one.

        Parameters
        ----------
        numbers : ndarray of int64, shape (n_atoms,)
            Atomic numbers, crystal after crystal.
        counts : ndarray of int64, shape (n_crystals,)
            Atoms of each crystal.
        positions : ndarray, shape (n_atoms, 3)
            Cartesian, Å; not wrapped into the cells.
        cells : ndarray, shape (n_crystals, 3, 3)
            Rows are the cell vectors, Å.
        pairs : sequence of PairList
            For each crystal, pairs of atoms that hold all those within the cutoff, for who wants them: they were searched anyway.
            The same objects come again, step after step, until atoms have moved far.
        """
        ...


@dataclass(frozen=True)
class Recipe:
    """How a worker process makes a predictor.

    Attributes
    ----------
    digest : str
        Equal digests make equal predictors.
    make : callable
        Of the top level of a module: it is sent by name.
    arguments : tuple
        Plain data.
    """

    digest: str
    make: Callable[..., Predictor]
    arguments: tuple[Any, ...] = ()


def evaluate_batch(predictor: Predictor, crystals: Sequence[Crystal]) -> list[Prediction | Failure]:
    """Single points of one batch, in order; a crystal that has no prediction is a failure at its place."""
    results: list[Prediction | Failure | None] = [None] * len(crystals)
    places, lists = [], []
    for place, crystal in enumerate(crystals):
        pairs = usable_pairs(crystal.positions, crystal.cell, predictor.cutoff)
        if isinstance(pairs, Failure):
            results[place] = pairs
        else:
            places.append(place)
            lists.append(pairs)
    if places:
        batch = [crystals[place] for place in places]
        counts = np.array([len(crystal) for crystal in batch], dtype=np.int64)
        predicted = predictor.predict(
            np.concatenate([crystal.numbers for crystal in batch]),
            counts,
            np.concatenate([crystal.positions for crystal in batch]),
            np.stack([crystal.cell for crystal in batch]),
            pairs=lists,
        )
        forces = np.split(predicted.forces, np.cumsum(counts)[:-1])
        for i, place in enumerate(places):
            energy, stress = predicted.energies[i] / len(batch[i]), predicted.virials[i] / batch[i].volume
            results[place] = predicted.failures.get(i) or prediction_of(energy, forces[i], stress)
    return [result for result in results if result is not None]


def prediction_of(energy: float, forces: FloatArray, stress: FloatArray) -> Prediction | Failure:
    """Bundle one crystal's numbers, or say that they are not numbers."""
    if not (np.isfinite(energy) and np.isfinite(forces).all() and np.isfinite(stress).all()):
        return Failure("nan", "the network gave a number that is not finite")
    return Prediction(energy=float(energy), forces=forces.copy(), stress=stress.copy())


def usable_pairs(positions: FloatArray, cell: FloatArray, cutoff: float) -> PairList | Failure:
    """Pairs within the cutoff, or why the force field cannot take this geometry.

    An atom without a neighbour gets an energy that is not that of an isolated atom, and atoms on top of each other none at all.
    """
    pairs = pair_list(positions, cell, cutoff)
    if isinstance(pairs, Failure):
        return pairs
    n_atoms = len(positions)
    neighbours = np.bincount(pairs.first, minlength=n_atoms) + np.bincount(pairs.second, minlength=n_atoms)
    if lonely := int((neighbours == 0).sum()):
        return Failure("no_neighbours", f"{lonely} of {n_atoms} atoms have no neighbour within {cutoff} Å")
    vectors = positions[pairs.second] - positions[pairs.first] + pairs.shift @ cell
    shortest = float(np.linalg.norm(vectors, axis=1).min())
    if shortest < MIN_DISTANCE:
        return Failure("collapsed", f"two atoms are {shortest:.3g} Å apart, closer than {MIN_DISTANCE}")
    return pairs
