"""What the runners of networks in torch have in common: devices, threads, crystals one by one, and what is told of a model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from coevo_runner import TaskError, versions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def device_of(request: dict[str, Any]) -> torch.device:
    """The device that is asked for; ``auto`` is a GPU if there is one.

    Raises
    ------
    TaskError
        If a GPU is asked for and there is none.
    """
    wanted = request["device"]
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise TaskError("no_gpu", f"device {wanted!r} was asked for, and torch sees no GPU in this environment; use cpu")
    return torch.device(wanted)


def one_thread(device: torch.device) -> None:
    """Let the same work give the same bits: one thread on a CPU, deterministic algorithms on a GPU."""
    torch.set_num_threads(1)
    if device.type == "cuda":
        torch.use_deterministic_algorithms(mode=True, warn_only=True)


def crystals(numbers: Any, counts: Any, positions: Any, cells: Any) -> list[tuple[Any, Any, Any]]:
    """Atomic numbers, positions and cell of each crystal of a batch, as coevo sends it."""
    bounds = np.cumsum(counts)[:-1]
    return list(zip(np.split(numbers, bounds), np.split(positions, bounds), cells))  # noqa: B905 - Python 3.8


def examination(
    device: torch.device, found: dict[str, str], published: Iterable[str], place_of: Callable[[str], str | None]
) -> dict[str, Any]:
    """The answer to ``check``: versions, device and published weights that are here."""
    name = f"cuda: {torch.cuda.get_device_name(device)}" if device.type == "cuda" else "cpu"
    return {"versions": found, "device": name, "weights": {weights: place_of(weights) for weights in published}}


def package_versions(*modules: str) -> dict[str, str]:
    """Versions of modules, for the document of a checkpoint."""
    found = versions(*modules)
    return {name: found[name] for name in modules}


def about(model: Any, device: torch.device, found: dict[str, str]) -> dict[str, Any]:
    """What a worker tells of its model, which has ``elements``, ``cutoff``, ``energy_scale`` and ``element_energies``."""
    return {
        "elements": model.elements,
        "cutoff": model.cutoff,
        "energy_scale": model.energy_scale,
        "element_energies": model.element_energies(),
        "versions": found,
        "device": str(device),
    }
