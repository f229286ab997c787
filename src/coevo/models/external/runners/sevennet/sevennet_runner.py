"""SevenNet (Park et al., J. Chem. Theory Comput. 20, 4857 (2024)): what its environment has, fits, and a worker."""

from __future__ import annotations

import coevo_worker  # first, so that what packages print is no answer

# ruff: isort: split
from typing import TYPE_CHECKING, Any

from coevo_network import about, device_of, examination, one_thread
from coevo_runner import run, versions
from sevennet_model import PUBLISHED, open_model, place_of
from sevennet_training import fit

if TYPE_CHECKING:
    from collections.abc import Callable


def check(request: dict[str, Any]) -> dict[str, Any]:
    """Versions, device and published weights that are here; downloads nothing."""
    found = versions("sevenn", "torch", "torch_geometric", "e3nn", "ase", "numpy")
    return examination(device_of(request), found, PUBLISHED, place_of)


def open_for_worker(request: dict[str, Any]) -> tuple[dict[str, Any], Callable[..., dict[str, Any]]]:
    """The model of a request, as a worker tells of it."""
    device = device_of(request)
    one_thread(device)
    model = open_model(request, device)
    return about(model, device, versions("sevenn", "torch", "e3nn")), model.predict


if coevo_worker.SERVING:
    coevo_worker.serve("sevennet", open_for_worker)
run("sevennet", {"check": check, "fit": fit})
