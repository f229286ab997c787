"""Energies, forces and stresses of a batch of crystals by one forward and one gradient call for each group of them."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING

import numpy as np
import torch

from coevo.errors import ModelError
from coevo.models.chgnet.architecture import COMPOSITION_KEY
from coevo.models.chgnet.graph import CandidateGroups
from coevo.models.chgnet.graph_tensors import graph_tensors
from coevo.models.chgnet.network import Network
from coevo.models.chgnet.weights import weights_from_bytes
from coevo.models.contracts import Failure
from coevo.models.relaxing.neighbours import pair_list
from coevo.models.relaxing.predictor import BatchPrediction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from coevo.models.chgnet.graph import Graph
    from coevo.models.chgnet.weights import Weights
    from coevo.models.contracts import FloatArray
    from coevo.models.relaxing.neighbours import PairList

    IntArray = NDArray[np.int64]


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
        self._last: tuple[list[PairList], CandidateGroups] | None = None

    @property
    def cutoff(self) -> float:
        """Longest bond of the graph, Å."""
        return self.architecture.atom_graph_cutoff

    @property
    def device_type(self) -> str:
        """``cpu`` or ``cuda``."""
        return self.device.type

    def predict(
        self,
        numbers: IntArray,
        counts: IntArray,
        positions: FloatArray,
        cells: FloatArray,
        *,
        pairs: Sequence[PairList] = (),
    ) -> BatchPrediction:
        """Predict a batch; see :class:`coevo.models.relaxing.predictor.Predictor`."""
        lists = list(pairs) or self._searched(counts, positions, cells)
        groups = self._groups(numbers, counts, lists)
        graphs = groups.graphs(positions, cells, self.cutoff, self.architecture.bond_graph_cutoff)
        parts = [self.predict_graph(graph) for graph in graphs]
        interaction = [part.interaction for part in parts if part.interaction is not None]
        return BatchPrediction(
            energies=np.concatenate([part.energies for part in parts]),
            interaction=np.concatenate(interaction),
            forces=np.concatenate([part.forces for part in parts]),
            virials=np.concatenate([part.virials for part in parts]),
        )

    def _searched(self, counts: IntArray, positions: FloatArray, cells: FloatArray) -> list[PairList]:
        lists = [
            pair_list(part, cell, self.cutoff)
            for part, cell in zip(np.split(positions, np.cumsum(counts)[:-1]), cells, strict=True)
        ]
        found = [one for one in lists if not isinstance(one, Failure)]
        if len(found) < len(lists):
            raise ModelError(f"{len(lists) - len(found)} of {len(lists)} crystals have a collapsed cell; check them before")
        return found

    def _groups(self, numbers: IntArray, counts: IntArray, lists: list[PairList]) -> CandidateGroups:
        """The groups of these pair lists, kept for as long as the same lists come again."""
        last = self._last
        if last is not None and len(last[0]) == len(lists) and all(map(operator.is_, last[0], lists)):
            return last[1]
        groups = CandidateGroups(np.split(numbers, np.cumsum(counts)[:-1]), lists)
        self._last = lists, groups
        return groups

    def predict_graph(self, graph: Graph) -> BatchPrediction:
        """Predict the crystals of a graph that has at least one bond."""
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


def predictor_from_bytes(data: bytes, device: str = "cpu") -> Predictor:
    """Make a predictor from a checkpoint's bytes, in a worker process."""
    return Predictor(weights_from_bytes(data, "weights sent to a worker"), device)
