"""MatterSim (Yang et al., arXiv:2405.04967 (2024)): what its environment has, models of users' own, fits, and a worker."""

from __future__ import annotations

import coevo_worker  # first, so that what packages print is no answer

# ruff: isort: split
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mattersim_model import PUBLISHED, model_in, open_model  # before torch

# ruff: isort: split
import torch
from coevo_network import about, device_of, examination, one_thread, package_versions
from coevo_runner import TaskError, run, versions
from mattersim_training import PACKAGES, fit, write
from mattersim_weights import place_of

if TYPE_CHECKING:
    from collections.abc import Callable


def check(request: dict[str, Any]) -> dict[str, Any]:
    """Versions, device and published weights that are here; downloads nothing."""
    found = versions("mattersim", "torch", "torch_geometric", "pymatgen.core", "ase", "numpy")
    return examination(device_of(request), found, PUBLISHED, place_of)


def read(request: dict[str, Any]) -> dict[str, Any]:
    """Read a checkpoint of the user's own, as MatterSim writes it, and write what a node keeps of it."""
    head = request["document"].get("head")
    if head is not None:
        raise TaskError("no_head", f"a checkpoint of MatterSim has no heads, and {str(head)[:80]!r} was named; leave it out")
    model = model_in(Path(request["model"]) / request["file"], request["document"]["energy_scale"], torch.device("cpu"))
    write(model, model.potential.model.state_dict())
    return {"model": "model", "document": {"elements": model.elements, "versions": package_versions(*PACKAGES)}}


def open_for_worker(request: dict[str, Any]) -> tuple[dict[str, Any], Callable[..., dict[str, Any]]]:
    """The model of a request, as a worker tells of it."""
    device = device_of(request)
    one_thread(device)
    model = open_model(request, device)
    return about(model, device, versions(*PACKAGES)), model.predict


if coevo_worker.SERVING:
    coevo_worker.serve("mattersim", open_for_worker)
run("mattersim", {"check": check, "read": read, "fit": fit})
