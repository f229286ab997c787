"""Uni-3DAR by the programs of the user's own checkouts: what its environment has, models, samples, fits."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import torch
import uni3dar_arguments as arguments
from coevo_runner import OUTPUT, TaskError, require_trust, run, versions
from uni3dar_model import read_model, read_own, small, write_checkpoint, write_model
from uni3dar_program import checkouts_of, run_program
from uni3dar_sampling import sample
from uni3dar_training import fit

CHECKPOINT = "parent.pt"
PUBLISHED = ("mp20.pt",)
_HUB = "huggingface/hub/models--dptech--Uni-3DAR/snapshots"


def check(request: dict[str, Any]) -> dict[str, Any]:
    """Versions, device, stand-ins, and published weights that the hub's cache has; downloads nothing."""
    core, family = checkouts_of(request)
    sys.dont_write_bytecode = True
    from uni3dar_launch import stand_ins, without_gpu

    replaced = {**stand_ins(), **without_gpu()}
    sys.path[:0] = [core, family]
    found = versions("torch", "numpy", "scipy", "lmdb", "numba", "sklearn", "ase", "unicore", "uni3dar")
    device = f"cuda: {torch.cuda.get_device_name()}" if uses_gpu(request) else "cpu"
    return {"versions": found, "device": device, "weights": {name: in_cache(name) for name in PUBLISHED}, "stand_ins": replaced}


def in_cache(name: str) -> str | None:
    """Where a published file lies in the cache of huggingface_hub, if it does: a configuration may name that path."""
    import os

    caches = [Path(os.environ["HF_HOME"], "hub")] if os.environ.get("HF_HOME") else [Path.home() / ".cache" / "huggingface" / "hub"]
    found = [path for cache in caches for path in sorted(cache.glob(f"models--dptech--Uni-3DAR/snapshots/*/{name}"))]
    return str(found[-1]) if found else None


def read(request: dict[str, Any]) -> dict[str, Any]:
    """Read a file of Uni-3DAR's own that the user's configuration names, and write a model directory."""
    file = Path(require_trust(request), request["file"])
    checkouts = checkouts_of(request)
    sys.dont_write_bytecode = True
    sys.path[:0] = checkouts  # a pickle may name their classes
    architecture, state = read_own(file)
    write_model(OUTPUT / "model", architecture, state)
    return {"model": "model", "document": {"sha256": hashlib.sha256(file.read_bytes()).hexdigest()}}


def uses_gpu(request: dict[str, Any]) -> bool:
    """Whether to use a GPU; asking for one that is not there is an error."""
    if request["device"] == "cuda" and not torch.cuda.is_available():
        raise TaskError("no_gpu", "COEVO_DEVICE is cuda, and torch sees no GPU in this environment")
    return bool(request["device"] != "cpu" and torch.cuda.is_available())


def opened(request: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Architecture of the request's model, and a file with its weights for the programs of the checkouts."""
    if request["model"]:
        architecture, state = read_model(Path(request["model"]))
        write_checkpoint(Path(CHECKPOINT), state)
        return architecture, CHECKPOINT
    if request["options"]["weights"] != "small":
        raise TaskError("no_weights", f"the checkpoint holds no model, and {request['options']['weights']!r} is none: small")
    architecture = small(request["options"])
    weights = Path("untrained.pt")
    words = arguments.creation(checkouts_of(request)[1], architecture, 0, gpu=False)
    run_program(request, "create", {"weights": str(weights)}, words)
    write_checkpoint(Path(CHECKPOINT), torch.load(weights, map_location="cpu", weights_only=True))
    return architecture, CHECKPOINT


def state_of(checkpoint: str) -> dict[str, torch.Tensor]:
    """Weights of the file that :func:`opened` wrote."""
    state: dict[str, torch.Tensor] = torch.load(checkpoint, map_location="cpu", weights_only=True)["model"]
    return state


if __name__ == "__main__":
    run("uni3dar", {"check": check, "read": read, "sample": sample, "fit": fit})
