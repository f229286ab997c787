"""Chemeleon-DNG through its own classes: draws of given compositions, and what its environment has."""

from __future__ import annotations

from typing import Any

from chemeleon_dng.dataset.num_atom_distributions import NUM_ATOM_DISTRIBUTIONS
from chemeleon_dng_files import PUBLISHED, published_place
from chemeleon_dng_model import open_model
from chemeleon_dng_training import fit
from coevo_compositions import Compositions
from coevo_drawing import drawn
from coevo_network import device_of, examination
from coevo_runner import run, versions

FAMILY = "chemeleon-dng"


def check(request: dict[str, Any]) -> dict[str, Any]:
    """Versions, device and published weights that are here; downloads nothing."""
    found = versions("chemeleon_dng", "torch", "torch_geometric", "pytorch_lightning", "numpy", "pymatgen", "ase")
    return examination(device_of(request), found, PUBLISHED, published_place)


def sample(request: dict[str, Any]) -> dict[str, Any]:
    """Draw candidates: their compositions first, then their cells and positions."""
    options = request["options"]
    model = open_model(request, device_of(request))
    compositions = Compositions(
        request["conditions"],
        model.settings.get("compositions"),
        new_share=options["new_compositions"],
        atoms=NUM_ATOM_DISTRIBUTIONS["mp-20"],
    )
    return drawn(request, compositions, lambda draws: model.draw(draws, bounded=options["bounded_cells"]), operator=FAMILY)


if __name__ == "__main__":
    run(FAMILY, {"check": check, "sample": sample, "fit": fit})
