"""A model file of a user's own: handed to the family's runner, which reads it and writes what a node keeps of it."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coevo.errors import ConfigError, ModelError
from coevo.families.weights_files import OWN_FILE
from coevo.models.external.exchange import run_task
from coevo.models.external.model_files import ModelFiles, mapping_in, move_model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coevo.families import ExternalFamily
    from coevo.families.weights_files import WeightsFile

_NAME = "own"
"""What the file is called where the runner finds it: the user's name for it says nothing."""
_LARGEST_ATOMIC_NUMBER = 118
_last: dict[str, tuple[ModelFiles, dict[str, Any]]] = {}
"""What was read last: who makes a node asks before and after, and it takes a quarter of a minute."""


def model_of_file(family: ExternalFamily, file: WeightsFile, scale: Mapping[str, str]) -> tuple[ModelFiles, dict[str, Any]]:
    """Read a model file in the family's environment (task ``read``).

    The user's own word names the file, so that the runner is told that it is trusted: reading it may run code.

    Parameters
    ----------
    family : ExternalFamily
    file : WeightsFile
    scale : mapping
        ``energy_scale`` and ``functional``, for the document.

    Returns
    -------
    ModelFiles, dict
        What the runner wrote, and the document of the checkpoint.

    Raises
    ------
    ConfigError
        If there is no such file, or the family has no environment.
    ModelError
        If the runner cannot read it, or does not say which elements it knows.
    """
    path = Path(file.path).expanduser()
    if not path.is_file():
        raise ConfigError(f"weights {file.scale}:{file.path}: there is no file {path}; give the path of a model of {family.name}")
    document: dict[str, Any] = {"weights": OWN_FILE, **scale, **({"head": file.part} if file.part else {})}
    with tempfile.TemporaryDirectory(prefix="coevo-") as directory:
        copy = Path(directory) / _NAME
        try:
            shutil.copyfile(path, copy)
        except OSError as err:
            raise ConfigError(f"weights {file.scale}:{file.path}: it cannot be read: {err.strerror or err}") from None
        with copy.open("rb") as opened:
            document["sha256"] = hashlib.file_digest(opened, "sha256").hexdigest()
        key = json.dumps([family.name, document], sort_keys=True)
        found = _last.get(key)
        if found is None:
            found = _read(family, copy, document)
            _last.clear()
            _last[key] = found
    model, told = found
    if elements_of(told) is None:
        raise ModelError(f"{family.name}: the runner said nothing of the elements that the model of {path} knows")
    return model, {**told, **document}


def _read(family: ExternalFamily, copy: Path, document: Mapping[str, Any]) -> tuple[ModelFiles, dict[str, Any]]:
    def prepare(directory: Path) -> None:
        (directory / "model").mkdir()
        shutil.copyfile(copy, directory / "model" / _NAME)

    model = ModelFiles()
    request = {"model": "input/model", "file": _NAME, "document": document, "trusted": True, "sources": []}
    with run_task(family, "read", request, prepare=prepare) as run:
        move_model(run, model.path)
        return model, mapping_in(run, "document")


def elements_of(document: Mapping[str, Any]) -> frozenset[int] | None:
    """Atomic numbers that a document says its model knows; None if it says none, or no atomic numbers."""
    told = document.get("elements")
    sound = isinstance(told, list) and told and all(type(z) is int and 0 < z <= _LARGEST_ATOMIC_NUMBER for z in told)
    return frozenset(told) if sound and told is not None else None
