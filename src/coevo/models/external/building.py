"""Make the environment of a family: a virtual environment with exactly the pinned packages."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from coevo.errors import ConfigError, ModelError
from coevo.models.external.environment import MARK, directory_of, mark_of, python_in

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from coevo.models.external.families import ExternalFamily

_TIMEOUT = 4 * 3600.0
"""Seconds that one step may take; torch alone is several GB on some machines."""


def build_environment(
    family: ExternalFamily, *, python: str | None = None, say: Callable[[str], None] = lambda _line: None
) -> Path | None:
    """Make or complete the environment of a family below ``COEVO_ENVIRONMENTS``.

    torch is installed first and with what it depends on (its CUDA packages, on a machine with GPUs); everything else without:
    the requirements pin all of it, and families declare pins of their own that no other package could live with.

    Parameters
    ----------
    family : ExternalFamily
    python : str, optional
        Interpreter that the environment is made from; that of this process by default.
    say : callable
        Told each command before it runs.

    Returns
    -------
    Path or None
        Its directory; None if it was complete already.

    Raises
    ------
    ConfigError
        If the interpreter cannot be used, or the requirements are no pins.
    ModelError
        If a command fails; the message has its last lines.
    """
    directory, pins = directory_of(family.name), family.pins()
    base = _interpreter(python or sys.executable)
    mark = mark_of(directory)
    if mark is not None and mark.get("requirements") == family.digest():
        return None
    begun, before = time.monotonic(), os.times()
    (directory / MARK).unlink(missing_ok=True)
    # An environment whose Python is gone (a removed base interpreter) is made anew.
    if not _works(python_in(directory)):
        if directory.exists() and not (directory / "pyvenv.cfg").exists() and any(directory.iterdir()):
            raise ConfigError(f"{directory} holds something else than an environment; move it away")
        _run([base, "-m", "venv", "--clear", str(directory)], say)
    inner = str(python_in(directory))
    pip = [inner, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off", "--quiet"]
    torch = [pin for pin in pins if pin.partition("==")[0].strip() == "torch"]
    if torch:
        _run([*pip, *torch], say)
    if pins:
        _run([*pip, "--no-deps", *pins], say)
    version = subprocess.run(
        [inner, "-c", "import platform; print(platform.python_version())"], capture_output=True, text=True, check=True
    )
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    document = {
        "family": family.name,
        "requirements": family.digest(),
        "python": version.stdout.strip(),
        "seconds": round(time.monotonic() - begun, 1),
        "cpu_seconds": round(spent, 1),
    }
    (directory / MARK).write_text(json.dumps(document, sort_keys=True) + "\n", encoding="utf-8")
    return directory


def _interpreter(given: str) -> str:
    """The path of an interpreter that is there and new enough for the runners."""
    path = shutil.which(given)
    if path is None:
        raise ConfigError(f"--python: no executable {given!r}; give the path of a Python, or its name on PATH")
    try:
        code = "import sys; print('%d.%d' % sys.version_info[:2])"
        done = subprocess.run([path, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as err:
        raise ConfigError(f"--python: {path} cannot be run: {err}") from None
    words = done.stdout.strip().split(".")
    if done.returncode != 0 or len(words) != 2 or (int(words[0]), int(words[1])) < (3, 8):
        raise ConfigError(f"--python: {path} is Python {done.stdout.strip() or 'of no version'}, allowed: 3.8 or newer")
    return path


def _works(python: Path) -> bool:
    try:
        return subprocess.run([python, "-c", ""], capture_output=True, timeout=60, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def _run(command: Sequence[str], say: Callable[[str], None]) -> None:
    say(" ".join(command))
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}}
    try:
        done = subprocess.run(
            list(command), capture_output=True, text=True, errors="replace", timeout=_TIMEOUT, check=False, env=environment
        )
    except OSError as err:
        raise ModelError(f"{command[0]} cannot be started: {err.strerror}") from None
    except subprocess.TimeoutExpired:
        raise ModelError(f"gave no end within {_TIMEOUT:g} s: {' '.join(command)}") from None
    if done.returncode != 0:
        lines = [line[:300] for line in (done.stdout + done.stderr).splitlines() if line.strip()][-15:]
        raise ModelError(f"exit code {done.returncode}: {' '.join(command)[:300]}\n" + "\n".join(f"  {line}" for line in lines))
