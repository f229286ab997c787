"""CHGNet behind the protocol of workers, run by coevo's own interpreter: the cost of the protocol without another family's."""

from __future__ import annotations

import coevo_worker  # first, so that what packages print is no answer

# ruff: isort: split
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from coevo_runner import run, versions

from coevo.families.built_in import CHGNET
from coevo.models.chgnet.inference import Predictor
from coevo.models.chgnet.weights import published_weights
from coevo.models.relaxing.pool import reproducible_torch

if TYPE_CHECKING:
    from collections.abc import Callable


def open_model(request: dict[str, Any]) -> tuple[dict[str, Any], Callable[..., dict[str, Any]]]:
    """The published weights of a request, as a worker tells of them."""
    torch.set_num_threads(1)
    weights = published_weights(request["document"]["weights"])
    predictor = Predictor(weights, request["device"])

    def predict(numbers: Any, counts: Any, positions: Any, cells: Any) -> dict[str, Any]:
        with reproducible_torch(predictor.device_type):
            found = predictor.predict(numbers, counts, positions, cells)
        stresses = found.virials / np.abs(np.linalg.det(cells))[:, None, None]
        return {"energies": found.energies, "forces": found.forces, "stresses": stresses}

    about = {
        "elements": sorted(range(1, 95)),
        "cutoff": predictor.cutoff,
        "energy_scale": CHGNET.weights[request["document"]["weights"]].energy_scale,
        "versions": versions("chgnet", "torch", "numpy"),
        "device": request["device"],
    }
    return about, predict


if coevo_worker.SERVING:
    coevo_worker.serve("chgnet", open_model)
run("chgnet", {})
