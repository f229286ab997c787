"""Energy, forces and stress of a batch of crystals by one forward and one gradient call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from coevo.models.chgnet.graph import CandidateGroups
from coevo.models.chgnet.graph_tensors import graph_tensors
from coevo.models.chgnet.neighbours import MIN_DISTANCE, pair_list
from coevo.models.chgnet.network import Network
from coevo.models.chgnet.parameter_shapes import COMPOSITION_KEY
from coevo.models.contracts import Failure, Prediction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.models.chgnet.graph import Graph
    from coevo.models.chgnet.neighbours import PairList
    from coevo.models.chgnet.weights import Weights
    from coevo.models.contracts import FloatArray
    from coevo.models.relaxing.crystal import Crystal


@dataclass(frozen=True)
class BatchPrediction:
    """What the network says of a batch.

    Attributes
    ----------
    energies : ndarray, shape (n_crystals,)
        eV per cell.
    interaction : ndarray, shape (n_crystals,)
        Part of the energies beyond that of the composition, eV/atom.
    forces : ndarray, shape (n_atoms, 3)
        eV/Å.
    virials : ndarray, shape (n_crystals, 3, 3)
        Derivative of the energy with respect to a symmetric strain, eV; the stress is this over the volume.
    """

    energies: FloatArray
    interaction: FloatArray
    forces: FloatArray
    virials: FloatArray


class Predictor:
    """A frozen network on a device.

    Parameters
    ----------
    weights : Weights
    device : str
        ``cpu``, ``cuda`` or ``cuda:N``.
    """

    def __init__(self, weights: Weights, device: str = "cpu") -> None:
        self.device = torch.device(device)
        self.architecture = weights.architecture
        parameters = {name: tensor.to(self.device) for name, tensor in weights.parameters.items()}
        self.network = Network(weights.architecture, parameters)
        self.element_energies = weights.parameters[COMPOSITION_KEY][0].numpy().astype(np.float64)

    def predict(self, graph: Graph) -> BatchPrediction:
        """Predict a batch that has at least one bond."""
        vectors = torch.tensor(graph.vectors, dtype=torch.float32, device=self.device, requires_grad=True)
        energies = self.network.energies(graph_tensors(graph, self.device), vectors)
        (gradient,) = torch.autograd.grad(energies.sum(), vectors)
        slope = gradient.cpu().numpy().astype(np.float64)
        network_energies = energies.detach().cpu().numpy()
        forces = forces_from_bonds(graph, slope)
        virials = virials_from_bonds(graph, slope)
        reference = np.bincount(graph.owner, self.element_energies[graph.numbers - 1], minlength=graph.n_crystals)
        return BatchPrediction(
            energies=network_energies + reference,
            interaction=network_energies / graph.counts,
            forces=forces,
            virials=virials,
        )


def forces_from_bonds(graph: Graph, slope: FloatArray) -> FloatArray:
    """Forces on the atoms from the derivative of the energy by each bond vector, shape (n_atoms, 3)."""
    n_atoms = len(graph.numbers)
    forces = np.empty((n_atoms, 3))
    for axis in range(3):
        forces[:, axis] = np.bincount(graph.first, slope[:, axis], minlength=n_atoms)
        forces[:, axis] -= np.bincount(graph.second, slope[:, axis], minlength=n_atoms)
    return forces


def virials_from_bonds(graph: Graph, slope: FloatArray) -> FloatArray:
    """Strain derivative of the energy from its derivative by each bond vector, symmetrised, shape (n_crystals, 3, 3)."""
    products = graph.vectors[:, :, None] * slope[:, None, :]
    place = graph.owner[graph.first][:, None] * 9 + np.arange(9)
    virials = np.bincount(place.ravel(), products.ravel(), minlength=9 * graph.n_crystals).reshape(-1, 3, 3)
    return np.asarray(0.5 * (virials + virials.transpose(0, 2, 1)), dtype=np.float64)


def predict_groups(predictor: Predictor, graphs: Sequence[Graph]) -> BatchPrediction:
    """Predict one graph after the other and join the results."""
    parts = [predictor.predict(graph) for graph in graphs]
    return BatchPrediction(
        energies=np.concatenate([part.energies for part in parts]),
        interaction=np.concatenate([part.interaction for part in parts]),
        forces=np.concatenate([part.forces for part in parts]),
        virials=np.concatenate([part.virials for part in parts]),
    )


def evaluate_batch(predictor: Predictor, crystals: Sequence[Crystal]) -> list[Prediction | Failure]:
    """Single points of one batch, in order; a crystal that has no prediction is a failure at its place."""
    results: list[Prediction | Failure | None] = [None] * len(crystals)
    architecture = predictor.architecture
    places, lists = [], []
    for place, crystal in enumerate(crystals):
        pairs = usable_pairs(crystal.positions, crystal.cell, architecture.atom_graph_cutoff)
        if isinstance(pairs, Failure):
            results[place] = pairs
        else:
            places.append(place)
            lists.append(pairs)
    if places:
        batch = [crystals[place] for place in places]
        groups = CandidateGroups([c.numbers for c in batch], lists)
        positions, cells = np.concatenate([c.positions for c in batch]), np.stack([c.cell for c in batch])
        graphs = groups.graphs(positions, cells, architecture.atom_graph_cutoff, architecture.bond_graph_cutoff)
        predicted = predict_groups(predictor, graphs)
        forces = np.split(predicted.forces, np.cumsum(groups.counts)[:-1])
        for i, place in enumerate(places):
            energy, stress = predicted.energies[i] / len(batch[i]), predicted.virials[i] / batch[i].volume
            results[place] = prediction_of(energy, forces[i], stress)
    return [result for result in results if result is not None]


def prediction_of(energy: float, forces: FloatArray, stress: FloatArray) -> Prediction | Failure:
    """Bundle one crystal's numbers, or say that they are not numbers."""
    if not (np.isfinite(energy) and np.isfinite(forces).all() and np.isfinite(stress).all()):
        return Failure("nan", "the network gave a number that is not finite")
    return Prediction(energy=float(energy), forces=forces.copy(), stress=stress.copy())


def usable_pairs(positions: FloatArray, cell: FloatArray, cutoff: float) -> PairList | Failure:
    """Pairs within the cutoff, or why the network cannot take this geometry.

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
