"""MACE (Batatia et al., NeurIPS 35, 11423 (2022)): what its environment has, models of users' own, fits, and a worker."""

from __future__ import annotations

import coevo_worker  # first, so that what packages print is no answer

# ruff: isort: split
import mace  # noqa: F401 - lets torch read the constants of its e3nn, which is older than torch's distrust of pickles

# ruff: isort: split
from typing import TYPE_CHECKING, Any

import torch
from coevo_network import about, device_of, examination, one_thread, package_versions
from coevo_runner import OUTPUT, TaskError, require_trust, run, versions
from mace_keeping import keep
from mace_model import PUBLISHED, open_model, place_of, prepared
from mace_training import fit

if TYPE_CHECKING:
    from collections.abc import Callable


def check(request: dict[str, Any]) -> dict[str, Any]:
    """Versions, device and published weights that are here; downloads nothing."""
    found = versions("mace", "torch", "e3nn", "matscipy", "ase", "numpy")
    return examination(device_of(request), found, PUBLISHED, place_of)


def read(request: dict[str, Any]) -> dict[str, Any]:
    """Read a model file of the user's own, a pickled network as MACE writes it, and write what a node keeps of it."""
    path = f"{require_trust(request)}/{request['file']}"
    one_thread(torch.device("cpu"))
    try:
        network = torch.load(path, map_location="cpu", weights_only=False)
    except Exception as err:  # a pickle can raise anything
        raise TaskError("no_weights", f"it is no model file of MACE: {type(err).__name__}: {str(err)[:500]}") from err
    keep(network, OUTPUT / "model")
    model = prepared(network, request["document"].get("head"), "", torch.device("cpu"))
    return {
        "model": "model",
        "document": {"elements": sorted(model.elements), "versions": package_versions("mace", "torch", "e3nn")},
    }


def open_for_worker(request: dict[str, Any]) -> tuple[dict[str, Any], Callable[..., dict[str, Any]]]:
    """The model of a request, as a worker tells of it."""
    device = device_of(request)
    one_thread(device)
    model = open_model(request, device)
    return about(model, device, versions("mace", "torch", "e3nn")), model.predict


if coevo_worker.SERVING:
    coevo_worker.serve("mace", open_for_worker)
run("mace", {"check": check, "read": read, "fit": fit})
