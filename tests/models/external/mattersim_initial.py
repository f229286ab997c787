"""A small MatterSim with random weights, scaled to labelled crystals; run by the Python of MatterSim's environment."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from mattersim.forcefield.m3gnet.m3gnet import M3Gnet
from mattersim.forcefield.m3gnet.scaling import AtomScaling
from mattersim.forcefield.potential import Potential


def make(frames: Path, target: Path) -> None:
    """Write a checkpoint of MatterSim's own form, by MatterSim's own hand, with all that it keeps of a training."""
    torch.manual_seed(0)
    records = [json.loads(line) for line in frames.read_text().splitlines()]
    network = M3Gnet(num_blocks=2, units=32, max_l=3, max_n=3, device="cpu")
    scaling = AtomScaling(
        atoms=[Atoms(numbers=r["numbers"], positions=r["positions"], cell=r["cell"], pbc=True) for r in records],
        total_energy=[r["energy"] for r in records],
        forces=[np.array(r["forces"]) for r in records],
        shift_key="per_species_energy_mean_linear_reg",
        scale_key="forces_rms",
        device="cpu",
    )
    network.set_normalizer(scaling)
    Potential(network, device="cpu").save(str(target.absolute()))


make(Path(sys.argv[1]), Path(sys.argv[2]))
