"""What a node keeps of a MACE model, written and proved: what is read again predicts the same."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from coevo_runner import TaskError
from mace_files import read_model, save
from mace_model import heads_of, prepared

if TYPE_CHECKING:
    from pathlib import Path

TOLERANCE = 1e-9
"""Of energies, forces and stresses in double precision, relative to the largest, or to 1 where all are smaller."""


def keep(network: Any, directory: Path) -> None:
    """Write the model directory of a network.

    Raises
    ------
    TaskError
        If what is read from it would not be this network: it predicts other energies, forces or stresses with one of its heads.
    """
    save(network, directory)
    networks = [deepcopy(network), read_model(directory)]
    for head in heads_of(network):
        first, second = (_predictions(one, head) for one in networks)
        for what, values in first.items():
            worst = float(np.abs(second[what] - values).max())
            if not worst <= TOLERANCE * max(1.0, float(np.abs(values).max())):
                raise TaskError(
                    "checkpoint", f"head {head}: {what} of the model change by {worst:.3g} when it is written and read"
                )


def _predictions(network: Any, head: str) -> dict[str, Any]:
    """Of crystals with each element that the network knows."""
    before = torch.get_default_dtype()
    try:
        model = prepared(network.double(), head, "", torch.device("cpu"))
        return model.predict(*_crystals(model.elements, model.cutoff))
    finally:
        torch.set_default_dtype(before)


def _crystals(elements: list[int], cutoff: float) -> tuple[Any, Any, Any, Any]:
    """Distorted cells of two atoms, each element with the next one of the list, as coevo sends crystals."""
    pairs = np.array([[z, elements[(k + 1) % len(elements)]] for k, z in enumerate(elements)])
    draw = np.random.default_rng(0)
    cells = min(3.2, cutoff) * (np.eye(3) + draw.uniform(-0.05, 0.05, (len(pairs), 3, 3)))
    places = np.array([[0.0, 0.0, 0.0], [0.5, 0.47, 0.52]])
    return pairs.ravel(), np.full(len(pairs), 2), (places @ cells).reshape(-1, 3), cells
