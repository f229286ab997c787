"""A Uni-3DAR model as a directory: ``weights.pt`` (tensors by name) and ``architecture.json`` (numbers).

Both are read without running code. Uni-3DAR's own files are pickles, and its programs do not take what a network looks like from
them: they want it repeated on the command line.
"""

from __future__ import annotations

import argparse
import json
import pickle
from typing import TYPE_CHECKING, Any

import torch
from coevo_runner import TaskError

if TYPE_CHECKING:
    from pathlib import Path

WEIGHTS, ARCHITECTURE = "weights.pt", "architecture.json"

PUBLISHED: dict[str, float] = {
    "emb_dim": 768,
    "num_head": 12,
    "layer": 12,
    "ffn_multiple": 4,
    "rope_theta": 10000,
    "recycle": 2,
    "merge_level": 8,
    "grid_len": 0.24,
    "xyz_resolution": 0.01,
    "max_num_atom": 128,
}
"""The network of the published mp20 weights (scripts/train_mp20.sh and the defaults of Uni-3DAR's model)."""

_LARGEST = {
    "emb_dim": 8192,
    "num_head": 256,
    "layer": 256,
    "ffn_multiple": 64,
    "rope_theta": 10**9,
    "recycle": 16,
    "merge_level": 9,
    "grid_len": 10.0,
    "xyz_resolution": 1.0,
    "max_num_atom": 1024,
}
_PLACES = 1000
"""Along an edge of a grid cell; the published network has 24."""

_LONGEST = 10_000
"""Characters of architecture.json."""

_REAL = ("grid_len", "xyz_resolution")


def checked(architecture: Any) -> dict[str, Any]:
    """An architecture of exactly the known numbers, each within its limits.

    Raises
    ------
    TaskError
        If it is something else.
    """
    if not isinstance(architecture, dict) or set(architecture) != set(PUBLISHED):
        raise TaskError("no_weights", f"{ARCHITECTURE} is no network of Uni-3DAR; it has to say {', '.join(PUBLISHED)}")
    for name, value in architecture.items():
        kinds = (int, float) if name in _REAL else (int,)
        if type(value) not in kinds or not 0 < value <= _LARGEST[name]:
            raise TaskError("no_weights", f"{ARCHITECTURE}: {name} is {str(value)[:40]}, allowed: 0 to {_LARGEST[name]}")
    if architecture["emb_dim"] % (2 * architecture["num_head"]):
        raise TaskError("no_weights", f"{ARCHITECTURE}: emb_dim is no even multiple of num_head")
    if not 1 <= architecture["grid_len"] / architecture["xyz_resolution"] <= _PLACES:
        raise TaskError("no_weights", f"{ARCHITECTURE}: grid_len is not 1 to {_PLACES} times xyz_resolution")
    return dict(architecture)


def parameters(architecture: dict[str, Any]) -> int:
    """Parameters of the network, before it is built: embeddings, layers, and the heads of two trees."""
    width, atoms = architecture["emb_dim"], architecture["max_num_atom"]
    kinds, places = 604 + atoms + 1, round(architecture["grid_len"] / architecture["xyz_resolution"])
    # as layers.py rounds it, for three matrices
    hidden = 256 * -(-int(2 * architecture["ffn_multiple"] * width / 3) // 256)
    embedded = kinds + 3 * places + (architecture["merge_level"] + 3) + 2 + 2 * (atoms + 1) + (atoms + 2)
    layer = 2 * width + 4 * width**2 + 3 * hidden * width
    tree = (width + 255) * width
    atom = ((kinds + 2 * places) + 4 * width + (kinds + 3 * places)) * width
    count = (width + atoms + 1 + 255) * width
    return int(embedded * width + architecture["layer"] * layer + width + 2 * (tree + atom + count))


def small(options: dict[str, Any]) -> dict[str, Any]:
    """The architecture of a small network, for tests and for training from nothing."""
    return checked(
        {
            **PUBLISHED,
            "emb_dim": options["hidden"],
            "num_head": options["heads"],
            "layer": options["layers"],
            "recycle": 1,
            "merge_level": options["levels"],
        }
    )


def read_model(directory: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Architecture and weights of a model directory that a task of this runner wrote.

    Raises
    ------
    TaskError
        If a file is missing, damaged, or holds something else.
    """
    size = (directory / WEIGHTS).stat().st_size if (directory / WEIGHTS).is_file() else 0
    try:
        with (directory / ARCHITECTURE).open(encoding="utf-8") as file:
            architecture = checked(json.loads(file.read(_LONGEST)))
        state = torch.load(directory / WEIGHTS, map_location="cpu", weights_only=True)
    except (OSError, ValueError, RuntimeError, RecursionError, EOFError, pickle.UnpicklingError) as err:
        raise TaskError(
            "no_weights", f"the model cannot be read: {WEIGHTS}, {ARCHITECTURE}: {type(err).__name__}: {str(err)[:200]}"
        ) from None
    # A stranger's numbers may describe a network, and its tensors repeat one number, beyond all memory.
    needed = 4 * parameters(architecture)
    if size < needed:
        raise TaskError("no_weights", f"{WEIGHTS} has {size} bytes, the network of {ARCHITECTURE} {needed}")
    if isinstance(state, dict):
        held = sum(t.numel() * t.element_size() for t in state.values() if isinstance(t, torch.Tensor))
        if held > size:
            raise TaskError("no_weights", f"{WEIGHTS} has {size} bytes, and its tensors {held}")
    return architecture, plain_state(state)


def plain_state(state: Any) -> dict[str, torch.Tensor]:
    """Weights in single precision, if they are tensors by name and finite."""
    if not isinstance(state, dict) or not state or not all(isinstance(t, torch.Tensor) for t in state.values()):
        raise TaskError("no_weights", f"{WEIGHTS} holds something else than tensors by name")
    plain = {str(name): tensor.detach().float().contiguous().clone() for name, tensor in state.items()}
    if not all(torch.isfinite(tensor).all() for tensor in plain.values()):
        raise TaskError("no_weights", "the weights are not finite")
    return plain


def write_model(directory: Path, architecture: dict[str, Any], state: dict[str, torch.Tensor]) -> None:
    """Write a model directory; the same weights write the same bytes."""
    directory.mkdir(exist_ok=True)
    torch.save(state, directory / WEIGHTS)
    (directory / ARCHITECTURE).write_text(json.dumps(architecture, sort_keys=True) + "\n", encoding="utf-8")


def write_checkpoint(path: Path, state: dict[str, torch.Tensor]) -> None:
    """Write weights as the programs of the checkouts read them: once as the model's, once as those of its moving average."""
    torch.save({"model": state, "ema": {"params": state}}, path)


def read_trained(path: Path) -> dict[str, torch.Tensor]:
    """Weights of the moving average in a checkpoint that the trainer has just written; no code of it is run."""
    with torch.serialization.safe_globals([argparse.Namespace]):
        found = torch.load(path, map_location="cpu", weights_only=True)
    return plain_state(found["ema"]["params"])


def read_own(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Architecture and weights of a file of Uni-3DAR's own, such as mp20.pt, which the user's own configuration names.

    Raises
    ------
    TaskError
        If it is no model that draws crystals from nothing.
    """
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        print("the file holds more than tensors and is read by pickle: the user's own configuration names it")
        found = torch.load(path, map_location="cpu", weights_only=False)
    except (OSError, RuntimeError, EOFError) as err:
        raise TaskError("no_weights", f"the file is no checkpoint of Uni-3DAR: {type(err).__name__}: {str(err)[:200]}") from None
    if not isinstance(found, dict) or not isinstance(found.get("ema"), dict) or "params" not in found["ema"]:
        raise TaskError("no_weights", "the file is no checkpoint of Uni-3DAR: it holds no ema with params")
    told = vars(found["args"]) if isinstance(found.get("args"), argparse.Namespace) else {}
    if told.get("data_type", "crystal") != "crystal":
        raise TaskError("no_weights", f"a model of {str(told['data_type'])[:40]}s; allowed: one of crystals, such as mp20.pt")
    if told.get("crystal_component") or told.get("crystal_pxrd") or told.get("atom_head_type", "ar") != "ar":
        raise TaskError(
            "no_weights",
            "a model with conditions of its own (mp20_csp, mp20_pxrd), which this runner does not run; use mp20.pt",
        )
    return checked({name: told.get(name, value) for name, value in PUBLISHED.items()}), plain_state(found["ema"]["params"])
