"""A MatterSim model: published weights by name, or a checkpoint, and predictions of batches by its own batch path."""

from __future__ import annotations

import os

# Otherwise some functions are compiled while they are used, and later calls on a GPU may be rounded otherwise than the first.
os.environ["PYTORCH_JIT"] = "0"

# ruff: isort: split
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ase import Atoms
from ase.units import GPa
from coevo_network import crystals
from coevo_runner import TaskError
from mattersim.datasets.utils.build import build_dataloader
from mattersim.forcefield.m3gnet.m3gnet import M3Gnet
from mattersim.forcefield.potential import Potential
from mattersim_weights import PUBLISHED, published
from torch_geometric.loader import DataLoader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch_geometric.data import Data

CHECKPOINT = "checkpoint.pth"
"""File of a model directory: a checkpoint of MatterSim's own form."""

ARGUMENTS: dict[str, tuple[type, float, float]] = {
    "num_blocks": (int, 1, 32),
    "units": (int, 1, 2048),
    "max_l": (int, 1, 4),
    "max_n": (int, 1, 4),
    "cutoff": (float, 1.0, 12.0),
    "max_z": (int, 1, 118),
    "threebody_cutoff": (float, 1.0, 12.0),
}
"""What a network is built from, with the smallest and the largest value."""

PLUTONIUM = 94
"""The last element that is asked for."""


@dataclass
class Model:
    """A network on its device.

    Attributes
    ----------
    potential : Potential
        MatterSim's, which has the network (``model``).
    energy_scale : str
    device : torch.device
    """

    potential: Potential
    energy_scale: str
    device: torch.device

    @property
    def arguments(self) -> dict[str, Any]:
        """What the network was built from."""
        return dict(self.potential.model.model_args)

    @property
    def cutoff(self) -> float:
        """Å."""
        return float(self.arguments["cutoff"])

    @property
    def elements(self) -> list[int]:
        """Atomic numbers."""
        return list(range(1, 1 + min(PLUTONIUM, self.arguments["max_z"])))

    def element_energies(self) -> dict[str, float]:
        """Energy that the network adds for each atom of an element, eV."""
        shift = self.potential.model.normalizer.shift
        return {str(z): float(shift[z]) for z in self.elements}

    def graphs(self, atoms: Sequence[Atoms], **labels: Any) -> list[Data]:
        """Graphs of crystals as MatterSim makes them; labels as for its ``build_dataloader``."""
        cutoffs = {name: float(self.arguments[name]) for name in ("cutoff", "threebody_cutoff")}
        return list(build_dataloader(list(atoms), only_inference=not labels, **cutoffs, **labels).dataset)

    def predict(self, numbers: Any, counts: Any, positions: Any, cells: Any) -> dict[str, Any]:
        """Energies (eV), forces (eV/Å) and stresses (eV/Å³, ASE sign) of crystals, as coevo sends them."""
        each = crystals(numbers, counts, positions, cells)
        return self.predict_graphs(self.graphs([right_handed(*one) for one in each]))

    def predict_graphs(self, graphs: list[Data]) -> dict[str, Any]:
        """As :meth:`predict`, of graphs that are made already.

        MatterSim takes the derivative by all nine components of a strain; rounding alone makes its stress not symmetric.
        """
        batch = DataLoader(graphs, batch_size=len(graphs))
        energies, forces, stresses = self.potential.predict_properties(batch, include_forces=True, include_stresses=True)
        by_strain = GPa * np.array(stresses, float)
        return {
            "energies": np.array(energies, float),
            "forces": np.concatenate(forces).astype(float),
            "stresses": 0.5 * (by_strain + by_strain.transpose(0, 2, 1)),
        }


def right_handed(numbers: Any, positions: Any, cell: Any) -> Atoms:
    """A crystal as ASE has it, in a cell of positive volume: MatterSim's stress takes on the sign of the volume."""
    cell = np.array(cell, float)
    return Atoms(numbers=numbers, positions=positions, cell=cell if np.linalg.det(cell) > 0 else -cell, pbc=True)


def open_model(request: dict[str, Any], device: torch.device) -> Model:
    """The model of a request: the file of a model directory, or published weights by name.

    Raises
    ------
    TaskError
        If there is none of that name, they are not here and cannot be fetched, or the file is no checkpoint of MatterSim.
    """
    document = request["document"]
    name = document.get("weights")
    if request["model"] is not None:
        path, scale = Path(request["model"]) / CHECKPOINT, str(document.get("energy_scale"))
    elif name in PUBLISHED:
        path, scale = Path(published(name)), PUBLISHED[name][0]
    else:
        raise TaskError("no_weights", f"no weights {str(name)[:80]!r}; there are {', '.join(PUBLISHED)}")
    return model_in(path, scale, device)


def model_in(path: Path, energy_scale: str, device: torch.device) -> Model:
    """The model of a file, for predictions.

    Raises
    ------
    TaskError
        If the file is no checkpoint of MatterSim.
    """
    try:
        network = read_network(path, device)
    except Exception as err:  # whatever is in the file: there is no model
        raise TaskError(
            "no_weights", f"{path.name} is no checkpoint of MatterSim: {type(err).__name__}: {str(err)[:500]}"
        ) from err
    network.eval()
    network.requires_grad_(False)
    nothing = object()  # an optimiser and averages are of no use here, and take seconds to be imported
    potential = Potential(network, optimizer=nothing, scheduler=nothing, ema=nothing, device=str(device))
    return Model(potential, energy_scale, device)


def read_network(path: Path, device: torch.device) -> M3Gnet:
    """Read a checkpoint as tensors, numbers and texts only, so that no code of whoever wrote it runs.

    MatterSim itself leaves what a file lacks as it is in a new network, at random.

    Raises
    ------
    ValueError
        If it is no checkpoint of MatterSim, or lacks a part of the network.
    """
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    if checkpoint["model_name"] != "m3gnet":
        raise ValueError(f"it is of a {str(checkpoint['model_name'])[:40]!r}, allowed: m3gnet")
    arguments = {name: value for name, value in checkpoint["model_args"].items() if name in ARGUMENTS}
    for name, value in arguments.items():
        kind, least, most = ARGUMENTS[name]
        if type(value) not in {int, kind} or not least <= value <= most:
            raise ValueError(f"its network has {name} {str(value)[:40]}, allowed: {least} to {most}")
    network = M3Gnet(device=str(device), **arguments)
    loaded = network.load_state_dict(checkpoint["model"], strict=False)
    learned = {name for name, _ in network.named_parameters()} | {"normalizer.scale", "normalizer.shift"}
    missing = sorted(learned.intersection(loaded.missing_keys))
    if missing:
        raise ValueError(f"it lacks {', '.join(missing[:3])}")
    if loaded.unexpected_keys:
        print(f"{path}: not used: {', '.join(loaded.unexpected_keys)}", flush=True)
    return network.to(device)
