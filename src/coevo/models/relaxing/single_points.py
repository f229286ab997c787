"""Single points of a batch of crystals, each checked for itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from coevo.models.contracts import Failure, Prediction
from coevo.models.relaxing.neighbours import MIN_DISTANCE, PairList, pair_list

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.models.contracts import FloatArray
    from coevo.models.relaxing.crystal import Crystal
    from coevo.models.relaxing.predictor import Predictor


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
