"""Uni-3DAR by the programs of the user's own checkouts: what its environment has, models, samples, fits."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import Any

import torch
from coevo_runner import OUTPUT, require_trust, run, versions
from uni3dar_model import read_own, write_model
from uni3dar_parent import uses_gpu
from uni3dar_program import checkouts_of
from uni3dar_sampling import sample
from uni3dar_training import fit

PUBLISHED = ("mp20.pt",)


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
    home = Path(os.environ.get("HF_HOME") or Path.home() / ".cache" / "huggingface")
    found = sorted(home.glob(f"hub/models--dptech--Uni-3DAR/snapshots/*/{name}"))
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


if __name__ == "__main__":
    run("uni3dar", {"check": check, "read": read, "sample": sample, "fit": fit})
