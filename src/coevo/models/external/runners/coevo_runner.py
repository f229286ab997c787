"""The family's side of the protocol: reads ``request.json``, does one task, writes ``result.json`` (docs/generators.md).

This file and the family's runner are copied into the directory of each run and started there by the Python of the family's own
environment, ``python FAMILY_runner.py request.json``. It needs Python 3.8 or newer and nothing but the standard library.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

PROTOCOL = 1
"""Version of the protocol; a request of another version is refused."""

OUTPUT = Path("output")
"""Directory of what a task writes; results name files in it."""

_ALIVE = Path("alive")
_CHECK = 5.0
_UNCHANGED = 24
"""The parent touches ``alive`` while it lives; after so many checks without a change the run ends itself."""


class TaskError(Exception):
    """A task that failed for a reason that has a name, such as ``out_of_memory`` or ``no_weights``."""

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason


def run(family: str, tasks: dict[str, Callable[[dict[str, Any]], dict[str, Any]]]) -> NoReturn:
    """Do the task of ``request.json`` and write ``result.json``; never returns.

    Parameters
    ----------
    family : str
        Name of the family; a request for another one is refused.
    tasks : dict of str to callable
        Called with the request (a dictionary); return the ``output`` of the result.
    """
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    protocol, wanted, task = (request.get(key) for key in ("protocol", "family", "task"))
    result: dict[str, Any] = {"protocol": PROTOCOL, "family": family, "task": task}
    end_with_parent()
    try:
        if protocol != PROTOCOL:
            raise TaskError("protocol", f"the request speaks protocol {protocol!r} and this runner {PROTOCOL!r}")
        if wanted != family:
            raise TaskError("family", f"the request is for {wanted!r} and this is the runner of {family!r}")
        if task not in tasks:
            raise TaskError("task", f"no task {task!r}; there are {', '.join(sorted(tasks))}")
        OUTPUT.mkdir(exist_ok=True)
        result.update(status="done", output=tasks[task](request))
    except TaskError as err:
        traceback.print_exc()
        result.update(status="failed", reason=err.reason, message=str(err))
    except Exception as err:  # noqa: BLE001 - the boundary of the process: whatever it is, the other side is told
        traceback.print_exc()
        result.update(status="failed", reason="error", message=f"{type(err).__name__}: {err}")
    partial = Path("result.json.partial")
    partial.write_text(json.dumps(result, allow_nan=False), encoding="utf-8")
    partial.replace("result.json")
    sys.stdout.flush()
    sys.stderr.flush()
    # Some packages leave threads that would keep the process from ending.
    os._exit(0 if result["status"] == "done" else 1)


def require_trust(request: dict[str, Any]) -> str:
    """Return the directory of the request's model, for a loader that can run code (pickles, configurations that name classes).

    coevo says ``trusted: true`` for a model that was made on its side or is trusted by its sha256; anything else is refused.
    """
    if request.get("trusted") is not True:
        raise TaskError(
            "not_trusted",
            "reading this model can run code of whoever made it, and coevo did not say that it is trusted; if you know where it "
            "comes from: coevo trust SHA256",
        )
    model: str = request["model"]
    return model


def advance(count: int) -> None:
    """Tell that ``count`` more structures (or epochs) are finished."""
    with Path("progress").open("a", encoding="utf-8") as file:
        file.write(f"{count:d}\n")


def read_records(path: str) -> list[dict[str, Any]]:
    """Return the records of a file of JSON lines: examples, or conditions of further tasks."""
    with Path(path).open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def write_candidates(candidates: Iterable[dict[str, Any]], name: str = "candidates.jsonl") -> str:
    """Write candidates below ``output`` and return the file's name.

    Parameters
    ----------
    candidates : iterable of dict
        ``lattice`` (3 rows, Å), ``species`` (symbols), ``positions`` (fractional), ``origin`` (with an ``operator``).
    """
    with (OUTPUT / name).open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(candidate) + "\n" for candidate in candidates)
    return name


def versions(*modules: str) -> dict[str, str]:
    """Import modules and return their versions; the error's text stands for one that cannot be imported, after a ``!``."""
    found = {"python": platform.python_version()}
    for name in modules:
        try:
            module = importlib.import_module(name)
        except Exception as err:  # noqa: BLE001 - an import can raise anything
            traceback.print_exc()
            found[name] = f"! {type(err).__name__}: {str(err)[:200]}"
        else:
            found[name] = _distribution_version(name) or str(getattr(module, "__version__", "unknown"))
    return found


def _distribution_version(name: str) -> str:
    from importlib import metadata

    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def end_with_parent() -> None:
    """End this process when coevo is gone: its file in the directory of the run no longer changes.

    A process that a runner starts in that directory calls this too: a runner that ends so takes none with it.
    """
    # Absolute: a program may change its working directory.
    threading.Thread(target=_end_with_parent, args=(_ALIVE.absolute(),), daemon=True).start()


def _end_with_parent(alive: Path) -> None:
    last, unchanged = None, 0
    while unchanged < _UNCHANGED:
        time.sleep(_CHECK)
        try:
            now = alive.stat().st_mtime_ns
        except OSError:
            now = None
        unchanged = unchanged + 1 if now == last else 0
        last = now
    sys.stderr.write("the process that started this run is gone; ending\n")
    sys.stderr.flush()
    os._exit(75)
