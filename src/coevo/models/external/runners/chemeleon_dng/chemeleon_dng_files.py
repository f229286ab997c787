"""Files of models: what a node keeps is tensors and plain settings, and of a published file nothing but these is restored.

A published file is a checkpoint of Lightning: a pickle that names classes of chemeleon-dng. It is read here by an unpickler that
knows tensors and plain containers and puts an empty object in the place of everything else, so that reading it runs nothing.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
import torch._utils as rebuilding
from coevo_runner import TaskError

SETTINGS, WEIGHTS = "model.json", "weights.pt"
"""Files of a model directory: plain settings; and tensors by name."""
PUBLISHED_FILE = "published.ckpt"
"""A published file, in the directory of a model that has not been fitted yet."""
PUBLISHED = ("chemeleon_csp_alex_mp_20_v0.0.2", "chemeleon_csp_mp_20_v0.0.2")
"""Published weights that take a composition."""
PLACE = "CHEMELEON_CKPTS"
"""Variable that names the directory of published weights."""

_KNOWN = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch", "Size"): torch.Size,
    ("torch._utils", "_rebuild_tensor_v2"): rebuilding._rebuild_tensor_v2,  # noqa: SLF001 - as torch.save names it
    ("torch._utils", "_rebuild_parameter"): rebuilding._rebuild_parameter,  # noqa: SLF001
}
_LIMITS = {"hidden_dim": 4096, "time_dim": 4096, "num_layers": 32, "num_freqs": 1024, "max_atoms": 200, "num_timesteps": 10_000}
"""Of the settings of a network, which may come from anywhere; together they are bounded by the file of its weights."""
_MOST_BYTES = 10_000_000
"""Of the file of settings, whose table of compositions has at most 20,000 formulas."""


class Unknown:
    """In the place of an object of a class that is not restored; keeps its plain attributes in ``state``."""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> Unknown:  # noqa: PYI034 - Python 3.8
        """Take whatever the pickle has."""
        found = super().__new__(cls)
        found.__dict__["state"] = {}
        return found

    def __init__(self, *_args: Any, **_kwargs: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        self.__dict__["state"] = dict(state) if isinstance(state, dict) else {}

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        """Ignore an item."""

    def extend(self, values: Any) -> None:
        """Ignore items."""


class _Reader:
    """What torch takes for the module ``pickle``."""

    class Unpickler(pickle.Unpickler):
        """Restores tensors and plain containers only."""

        def find_class(self, module: str, name: str) -> Any:
            """A class or function by its name; :class:`Unknown` for all that are not needed."""
            return _KNOWN.get((module, name), Unknown)


def restored(path: Path) -> dict[str, Any]:
    """The contents of a checkpoint of Lightning, of which nothing is run.

    Raises
    ------
    TaskError
        If it is none.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if any(name.endswith("constants.pkl") for name in names):
            raise TaskError("no_weights", f"{path.name} is a program of TorchScript, no checkpoint")
        found = torch.load(path, map_location="cpu", weights_only=False, pickle_module=_Reader)  # the reader runs nothing
    except TaskError:
        raise
    except Exception as err:
        raise TaskError("no_weights", f"{path.name} cannot be read as a checkpoint of Lightning: {type(err).__name__}") from err
    if not isinstance(found, dict) or not isinstance(found.get("state_dict"), dict):
        raise TaskError("no_weights", f"{path.name} is no checkpoint of Lightning: it has no state_dict")
    return found


def published_parts(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Settings and tensors of a published file, in the form of a model directory.

    Raises
    ------
    TaskError
        If it is no model that takes a composition.
    """
    content = restored(path)
    told = content.get("hyper_parameters")
    told = told if isinstance(told, dict) else {}
    network, steps = told.get("model_configs"), told.get("num_timesteps")
    cells, places = (getattr(told.get(name), "state", {}) for name in ("diffusion_lattice", "diffusion_frac_coord"))
    state = {name[len("model.") :]: value for name, value in content["state_dict"].items() if name.startswith("model.")}
    if not isinstance(network, dict) or not state or "alphas" not in cells or "sigmas_norm" not in places:
        raise TaskError("no_weights", f"{path.name} has no settings of a model of chemeleon-dng")
    if network.get("pred_atom_types") is not False or "type_out.weight" in state:
        raise TaskError(
            "no_weights", f"{path.name} draws compositions of its own; allowed: a model that takes one, such as {PUBLISHED[0]}"
        )
    settings = {
        "network": {name: value for name, value in network.items() if isinstance(value, (bool, int, float, str))},
        "num_timesteps": steps,
        "sigma_begin": places.get("sigma_begin"),
        "sigma_end": places.get("sigma_end"),
    }
    tensors = {f"network.{name}": value for name, value in state.items()}
    return settings, tensors | {"alphas": cells["alphas"], "sigmas_norm": places["sigmas_norm"]}


def published_place(name: str) -> str | None:
    """Where a published file is; None if it is not here. Downloads nothing."""
    for directory in (os.environ.get(PLACE), Path(sys.prefix) / "ckpts"):
        if directory and (Path(directory) / f"{name}.ckpt").is_file():
            return str(Path(directory) / f"{name}.ckpt")
    return None


def published_file(name: str) -> Path:
    """The published file of a name; a TaskError that says how to get it if it is not here."""
    if name not in PUBLISHED:
        raise TaskError(
            "no_weights", f"got weights {str(name)[:80]!r}, allowed: fresh, {', '.join(PUBLISHED)}, or the path of a file"
        )
    place = published_place(name)
    if place is None:
        raise TaskError(
            "no_weights",
            f"the published weights {name} are not here: {name}.ckpt is looked for in the directory that the variable {PLACE} "
            f"names, and in {Path(sys.prefix) / 'ckpts'}; docs/generators.md says how to download them",
        )
    return Path(place)


def read_directory(directory: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Settings and tensors of a model directory; read as tensors, numbers and texts only.

    Raises
    ------
    TaskError
        If it is none.
    """
    if (directory / PUBLISHED_FILE).is_file():
        return read_published(directory / PUBLISHED_FILE)
    try:
        with (directory / SETTINGS).open("rb") as file:
            settings = json.loads(file.read(_MOST_BYTES))
        size = (directory / WEIGHTS).stat().st_size
        tensors = torch.load(directory / WEIGHTS, map_location="cpu", weights_only=True)
    except Exception as err:
        raise TaskError("no_weights", f"the model cannot be read: {type(err).__name__}: {str(err)[:200]}") from err
    return checked(settings, tensors, size)


def read_published(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Settings and tensors of a published file; raises a TaskError if it is none."""
    return checked(*published_parts(path), path.stat().st_size)


def parameters(network: dict[str, Any]) -> int:
    """Parameters of the matrices of a network, before it is built; biases and norms are not counted.

    Those of an edge and a node network in each layer, and of the embeddings.
    """
    width = network["hidden_dim"]
    distances = 6 * network["num_freqs"] if network.get("dis_emb", "sin") == "sin" else 3
    of_a_layer = (2 * width + 9 + distances + 4 * width) * width
    return network["num_layers"] * of_a_layer + (network["max_atoms"] + network["time_dim"] + width) * width


def checked(settings: Any, tensors: Any, size: int) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The same, if they are settings and tensors of a network for which ``size`` bytes suffice; raises a TaskError if not."""
    settings = settings if isinstance(settings, dict) else {}
    network = settings.get("network")
    network = network if isinstance(network, dict) else {}
    # the network is built of its own settings: what stands beside them under the same name says nothing of it
    numbers = {**network, "num_timesteps": settings.get("num_timesteps")}
    for name, most in _LIMITS.items():
        if type(numbers.get(name)) is not int or not 0 < numbers[name] <= most:
            raise TaskError("no_weights", f"the model's {name} is {str(numbers.get(name))[:40]!r}, allowed: 1 to {most}")
    needed = 4 * parameters(network)
    if size < needed:
        raise TaskError("no_weights", f"the model's weights have {size} bytes, the network of its settings {needed}")
    if not isinstance(tensors, dict) or not all(isinstance(value, torch.Tensor) for value in tensors.values()):
        raise TaskError("no_weights", "the model's weights are something else than tensors")
    steps = settings["num_timesteps"] + 1
    if any(tensors.get(name, torch.zeros(0)).shape != (steps,) for name in ("alphas", "sigmas_norm")):
        raise TaskError("no_weights", f"the model has no noise levels of {steps - 1} steps")
    return settings, tensors


def write_directory(directory: Path, settings: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    """Write a model directory; the same model writes the same bytes."""
    directory.mkdir()
    (directory / SETTINGS).write_text(json.dumps(settings, sort_keys=True, indent=1) + "\n", encoding="utf-8")
    torch.save({name: tensors[name].detach().cpu().contiguous().clone() for name in sorted(tensors)}, directory / WEIGHTS)
