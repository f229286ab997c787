"""Trains a small MatterSim from scratch, by MatterSim's own hand; run by the Python of MatterSim's environment."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ase import Atoms
from ase.units import GPa
from mattersim.datasets.utils.build import build_dataloader
from mattersim.forcefield.m3gnet.m3gnet import M3Gnet
from mattersim.forcefield.m3gnet.scaling import AtomScaling
from mattersim.forcefield.potential import Potential

if TYPE_CHECKING:
    from torch_geometric.loader import DataLoader

EPOCHS = 12
RATE = 1e-2


def labelled(path: Path) -> dict[str, list[Any]]:
    """Crystals and their labels as MatterSim takes them, from the lines that coevo writes."""
    records = [json.loads(line) for line in path.read_text().splitlines()]
    return {
        "atoms": [Atoms(numbers=r["numbers"], positions=r["positions"], cell=r["cell"], pbc=True) for r in records],
        "energies": [r["energy"] for r in records],
        "forces": [np.array(r["forces"]) for r in records],
        "stresses": [np.array(r["stress"]) / GPa for r in records],
    }


def scaled_network(training: dict[str, list[Any]]) -> M3Gnet:
    """A network with random weights, scaled to the labels."""
    network = M3Gnet(num_blocks=2, units=32, max_l=3, max_n=3, device="cpu")
    scaling = AtomScaling(
        atoms=training["atoms"],
        total_energy=training["energies"],
        forces=training["forces"],
        shift_key="per_species_energy_mean_linear_reg",
        scale_key="forces_rms",
        device="cpu",
    )
    network.set_normalizer(scaling)
    return network


def train(training: dict[str, list[Any]], validation: dict[str, list[Any]], directory: Path) -> None:
    """Write ``best_model.pth``, a checkpoint of MatterSim's own form with all that it keeps of a training."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = scaled_network(training)
    optimizer = torch.optim.Adam(network.parameters(), lr=RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=EPOCHS, eta_min=0.02 * RATE)
    loaders: list[DataLoader] = [build_dataloader(**frames, batch_size=8, shuffle=True) for frames in (training, validation)]
    Potential(network, optimizer=optimizer, scheduler=schedule, device="cpu").train_model(
        *loaders,
        torch.nn.HuberLoss(delta=0.1),
        include_forces=True,
        include_stresses=True,
        epochs=EPOCHS,
        save_checkpoint=True,
        save_path=str(directory),
    )


if __name__ == "__main__":
    train(labelled(Path(sys.argv[1])), labelled(Path(sys.argv[2])), Path(sys.argv[3]).absolute())
