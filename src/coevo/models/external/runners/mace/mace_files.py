"""Files of MACE models: what a node keeps is tensors and a plain configuration, which are read without running code.

MACE's own files are pickled networks. One is unpickled only where it was published by MACE's authors, or where a user names it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from coevo_runner import TaskError
from e3nn import o3
from mace import modules
from mace.tools.scripts_utils import extract_config_mace_model
from mace.tools.torch_tools import default_dtype

if TYPE_CHECKING:
    from pathlib import Path

CHECKPOINT = "checkpoint.pth"
"""File of a model directory: ``config`` (plain values) and ``state`` (tensors by name)."""

_DTYPES = {"float32": torch.float32, "float64": torch.float64}
_CLASSES = {"ScaleShiftMACE": modules.ScaleShiftMACE}
_TABLES: dict[str, dict[str, Any]] = {
    "interaction_cls": modules.interaction_classes,
    "interaction_cls_first": modules.interaction_classes,
    "readout_cls": modules.readout_classes,
    "gate": modules.gate_dict,
}
"""Settings that are classes or functions, by the names that MACE has for them."""
_IRREPS = ("hidden_irreps", "MLP_irreps", "edge_irreps")
_ARRAYS = ("atomic_energies", "atomic_inter_scale", "atomic_inter_shift")


def plain_config(network: Any) -> dict[str, Any]:
    """What a network is built from, in types that are read without running code.

    Raises
    ------
    TaskError
        If it is of a kind that MACE cannot take apart, or has settings that have no plain form.
    """
    kind = type(network).__name__
    if kind not in _CLASSES:
        raise TaskError("no_weights", f"the model is of class {kind}; allowed: {', '.join(_CLASSES)}")
    config = extract_config_mace_model(network)
    found: dict[str, Any] = {}
    for name, value in config.items():
        if name in _TABLES:
            found[name] = _name_in(_TABLES[name], value, name)
        elif name in _IRREPS:
            found[name] = None if value is None else str(value)
        else:
            found[name] = _plain(value, name)
    return {"class": kind, "dtype": str(next(network.parameters()).dtype).partition(".")[2], "settings": found}


def _name_in(table: dict[str, Any], value: Any, what: str) -> str:
    for name, one in table.items():
        if one is value:
            return name
    raise TaskError("no_weights", f"the model's {what} is {str(value)[:80]}; allowed: {', '.join(table)}")


def _plain(value: Any, name: str) -> Any:
    if isinstance(value, (np.ndarray, np.generic, torch.Tensor)):
        return value.tolist()
    if isinstance(value, dict):
        return {str(key): _plain(item, name) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, name) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TaskError("no_weights", f"the model's {name} is a {type(value).__name__}, which has no plain form")


def built(config: dict[str, Any]) -> Any:
    """The network of a plain configuration, without its weights."""
    settings = dict(config["settings"])
    for name, table in _TABLES.items():
        settings[name] = table[settings[name]]
    for name in _IRREPS:
        settings[name] = None if settings[name] is None else o3.Irreps(settings[name])
    for name in _ARRAYS:
        settings[name] = np.array(settings[name], dtype=float)
    with default_dtype(_DTYPES[config["dtype"]]):
        return _CLASSES[config["class"]](**settings)


def read_model(directory: Path) -> Any:
    """The network of a model directory; its file is read as tensors, numbers and texts only."""
    saved = torch.load(directory / CHECKPOINT, map_location="cpu", weights_only=True)
    network = built(saved["config"])
    network.load_state_dict(saved["state"])
    return network


def save(network: Any, directory: Path) -> None:
    """Write the model directory of a network; the same weights write the same bytes.

    Raises
    ------
    TaskError
        If it holds something that its configuration has no place for.
    """
    config = plain_config(network)
    again = built(config)
    unknown = again.load_state_dict(network.state_dict(), strict=False).unexpected_keys
    if unknown:
        raise TaskError("no_weights", f"the model has {unknown[0]}, for which MACE's configuration of it has no place")
    directory.mkdir()
    torch.save({"config": config, "state": again.state_dict()}, directory / CHECKPOINT)
