"""Runs a program of the checkouts as a process of its own, with a wall of time."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from coevo_runner import TaskError

PYTHON = "UNI3DAR_PYTHON"
"""Variable that names another interpreter for the programs of the checkouts, with words before it if need be."""

HUNG = -1
"""In place of an exit code: the program was ended by its wall."""


def checkouts_of(request: dict[str, Any]) -> tuple[str, str]:
    """Directories of Uni-Core and Uni-3DAR.

    Raises
    ------
    TaskError
        If the request does not name both.
    """
    found = request.get("checkouts") or {}
    missing = [name for name in ("Uni-3DAR", "Uni-Core") if not found.get(name)]
    if missing:
        raise TaskError(
            "no_checkout",
            f"no checkout of {' and '.join(missing)} is named; "
            "`coevo env create uni3dar --checkout Uni-3DAR=PATH --checkout Uni-Core=PATH`",
        )
    return found["Uni-Core"], found["Uni-3DAR"]


def start(
    request: dict[str, Any], task: str, settings: dict[str, Any], arguments: list[str], *, seconds: float | None = None
) -> tuple[int, list[str]]:
    """Run the launcher with a program's own arguments.

    Parameters
    ----------
    request : dict
    task : str
        Of ``uni3dar_launch.py``.
    settings : dict
        Written into ``TASK.json``, for the launcher.
    arguments : list of str
    seconds : float, optional
        After which the program is ended.

    Returns
    -------
    int, list of str
        Exit code, or :data:`HUNG`; and the last lines of what it printed, all of which goes into this run's log.
    """
    settings_file, log = Path(f"{task}.json"), Path(f"{task}.log")
    settings_file.write_text(json.dumps({**settings, "checkouts": checkouts_of(request)}), encoding="utf-8")
    command = [
        *(shlex.split(os.environ.get(PYTHON, "")) or [sys.executable]),
        "uni3dar_launch.py",
        task,
        settings_file.name,
        *arguments,
    ]
    print(" ".join(command), flush=True)
    # The trainer may ask for them; nothing is sent anywhere.
    environment = {**os.environ, "WANDB_DISABLED": "true", "WANDB_MODE": "offline", "PYTHONDONTWRITEBYTECODE": "1"}
    with log.open("wb") as file:
        # In the process group of this run, which is ended as a whole by whoever started it.
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, env=environment)
        try:
            code = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            print(f"no end within {seconds:g} s: ended")
            code = HUNG
        finally:
            # Workers that load data end themselves when it is gone; only a training has some.
            process.kill()
            process.wait()
    text = log.read_text(encoding="utf-8", errors="replace")
    print(text[-200_000:], flush=True)
    return code, [line[:300] for line in text.splitlines() if line.strip()][-5:]


def run_program(request: dict[str, Any], task: str, settings: dict[str, Any], arguments: list[str]) -> str:
    """Run it to an end that has to be good, and return what it printed.

    Raises
    ------
    TaskError
        If it fails, with its last lines.
    """
    code, lines = start(request, task, settings, arguments)
    if code != 0:
        raise TaskError("program", f"{task} of Uni-3DAR ended with code {code}: {' | '.join(lines)}"[:900])
    return Path(f"{task}.log").read_text(encoding="utf-8", errors="replace")
