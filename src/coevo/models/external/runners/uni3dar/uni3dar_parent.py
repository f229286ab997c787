"""The model that a task begins with, where the programs of the checkouts can read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import uni3dar_arguments as arguments
from coevo_runner import TaskError
from uni3dar_model import read_model, small, write_checkpoint
from uni3dar_program import checkouts_of, run_program

CHECKPOINT = "parent.pt"


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
