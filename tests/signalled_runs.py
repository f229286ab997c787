"""Commands that get a signal at a moment that does not depend on the machine's load: a result is stored, or workers begin."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import uuid
from pathlib import Path

from tiny_node import Coevo
from warm_processes import run_coevo

HOOK = Path(__file__).with_name("signals_at_results")


def start(
    coevo: Coevo, *arguments: str, number: int, results: int | None = None, name: str | None = None, chunk: int | None = None
) -> tuple[subprocess.Popen[str], Path]:
    """Start a command that sends itself a signal.

    Parameters
    ----------
    coevo : Coevo
        On a database in a directory.
    *arguments : str
    number : int
        The signal.
    results : int, optional
        It is sent when so many results are stored, those from before among them.
    name : str, optional
        It is sent when the result of the job of this name is stored, such as ``tiny/1/assess``.
    chunk : int, optional
        It is sent when so many chunks of work have been given to the worker processes; with the first, they are being started.

    Returns
    -------
    subprocess.Popen
    Path
        File that gets, before the signal is sent, the process ids of the command's descendants.
    """
    before = coevo.environment
    coevo.environment, told = _with_signal(coevo, number, results, name, chunk)
    try:
        return coevo.start(*arguments), told
    finally:
        coevo.environment = before


def _with_signal(
    coevo: Coevo, number: int, results: int | None, name: str | None, chunk: int | None = None
) -> tuple[dict[str, str], Path]:
    told = coevo.directory / f"descendants-{uuid.uuid4().hex}"
    path = os.pathsep.join([str(HOOK), *filter(None, [coevo.environment.get("PYTHONPATH")])])
    at = json.dumps({"signal": int(number), "results": results, "name": name, "chunk": chunk, "told": str(told)})
    return {**coevo.environment, "PYTHONPATH": path, "SIGNAL_AT_RESULT": at}, told


def killed(coevo: Coevo, *arguments: str, results: int | None = None, name: str | None = None) -> list[int]:
    """Run a command that is ended by SIGKILL when a result is stored; return the process ids of those that it had started."""
    environment, told = _with_signal(coevo, signal.SIGKILL, results, name)
    done = run_coevo(arguments, cwd=coevo.directory, env=environment, timeout=1800)
    assert done.returncode == -signal.SIGKILL, f"it ended before {name or f'{results} results'}:\n{done.stdout}\n{done.stderr}"
    descendants: list[int] = json.loads(told.read_text())
    return descendants
