"""The files of a model on this side: a private directory, filled from a checkpoint or from what a runner wrote."""

from __future__ import annotations

import os
import shutil
import tempfile
import weakref
from collections import OrderedDict
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from coevo.errors import ModelError
from coevo.models.external.archive import files_below

if TYPE_CHECKING:
    from coevo.models.external.exchange import Finished

MODEL_LIMIT = 20_000_000_000
"""Bytes of a model, at most."""


class ModelFiles:
    """A private directory with a model's files, removed with the last model that uses it."""

    def __init__(self) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="coevo-model-"))
        self._remove = weakref.finalize(self, _remove_in, os.getpid(), self.path)


def _remove_in(process: int, path: Path) -> None:
    # A child made by fork has the same object and must not remove what its parent uses.
    if os.getpid() == process:
        shutil.rmtree(path, ignore_errors=True)


_FILES_KEPT = 8
_files: OrderedDict[str, ModelFiles] = OrderedDict()
_lock = Lock()


def kept_files(digest: str, model: ModelFiles) -> str:
    """The directory of a model's files, which stays when the force field is gone: a worker may have to be started again."""
    with _lock:
        kept = _files.setdefault(digest, model)
        _files.move_to_end(digest)
        while len(_files) > _FILES_KEPT:
            _files.popitem(last=False)
        return str(kept.path)


def move_model(run: Finished, target: Path) -> None:
    """Take the model directory that a runner's result names; its files are moved below ``target``.

    Raises
    ------
    ModelError
        If there is none, or it holds no file, or something else than files.
    """
    folder = run.folder(run.output.get("model"))
    files = files_below(folder, MODEL_LIMIT)
    if not files:
        raise ModelError("the runner's model has no files")
    for name, path in files.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, target / name)


def mapping_in(run: Finished, key: str) -> dict[str, Any]:
    """A mapping of a runner's result; raises ModelError if it is something else."""
    value = run.output.get(key, {})
    if not isinstance(value, dict):
        raise ModelError(f"result.json: output: {key}: no mapping")
    return value
