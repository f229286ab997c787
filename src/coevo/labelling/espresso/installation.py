"""Whether and in which version ``pw.x`` is here, found by running it as a label would."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from coevo.errors import CoevoError, LabellingError
from coevo.labelling.contract import Found
from coevo.labelling.espresso.messages import last_words
from coevo.labelling.espresso.parsing import parse_output
from coevo.settings import read_settings

TIMEOUT = 120.0
"""Seconds that pw.x may take to refuse an empty input."""


def pw_environment() -> dict[str, str]:
    """The environment of ``pw.x``: one OpenMP thread per process, and no other directory of pseudopotentials to fall back to."""
    environment = {name: value for name, value in os.environ.items() if name != "ESPRESSO_PSEUDO"}
    return {**environment, "OMP_NUM_THREADS": "1"}


def split_command(text: str) -> tuple[str, ...]:
    """Split ``COEVO_ESPRESSO_COMMAND`` into words.

    Raises
    ------
    LabellingError
        If it is empty or a quote is not closed.
    """
    try:
        words = tuple(shlex.split(text))
    except ValueError as err:
        raise LabellingError(f"COEVO_ESPRESSO_COMMAND: {err}") from None
    if not words:
        raise LabellingError("COEVO_ESPRESSO_COMMAND is empty; set it to pw.x or, for example, mpirun -np 4 pw.x")
    return words


def processes_of(command: tuple[str, ...]) -> int | None:
    """Return how many processes a command starts: 1 without a launcher, None if that is not known."""
    if len(command) == 1:
        return 1
    for flag, value in pairwise(command):
        if flag in {"-n", "-np", "--np", "--ntasks"} and value.isdigit():
            return int(value)
    return None


@lru_cache(maxsize=8)
def pw_version(command: tuple[str, ...]) -> str:
    """Return the version that ``pw.x`` prints, such as ``6.7MaX``.

    pw.x has no option that prints its version: it is given an empty input, prints its banner and refuses.

    Raises
    ------
    LabellingError
        If it cannot be started or prints no version.
    """
    hint = "set COEVO_ESPRESSO_COMMAND, or install Quantum ESPRESSO (apt install quantum-espresso)"
    with tempfile.TemporaryDirectory(prefix="coevo-pw-") as folder:
        Path(folder, "empty.in").touch()
        try:
            done = subprocess.run(
                [*command, "-in", "empty.in"],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIMEOUT,
                check=False,
                env=pw_environment(),
            )
        except OSError as err:
            raise LabellingError(f"{command[0]} cannot be started: {err.strerror}; {hint}") from None
        except subprocess.TimeoutExpired:
            raise LabellingError(f"{shlex.join(command)} gave no answer within {TIMEOUT:g} s; {hint}") from None
    version = parse_output(done.stdout).version
    if version is None:
        words = last_words(done.stdout, done.stderr, lines=12)
        root = "; as root, mpirun needs --allow-run-as-root" if "--allow-run-as-root" in done.stderr else ""
        raise LabellingError(
            f"{shlex.join(command)} is not a pw.x that runs (exit code {done.returncode}): {words}{root}; {hint}"
        )
    return version


def installation() -> list[Found]:
    """Look for ``pw.x``, which is run as a label would, and verify its potentials, by family."""
    return [_program(), _pseudopotentials()]


def _program() -> Found:
    try:
        command = split_command(read_settings().espresso_command)
        return Found("Quantum ESPRESSO", "ok", f"{' '.join(command)}, version {pw_version(command)}")
    except CoevoError as err:
        return Found("Quantum ESPRESSO", "missing", str(err), "other codes label without it")


def _pseudopotentials() -> Found:
    from coevo.labelling.espresso.pseudopotentials import complete_elements, directory_of_potentials, families_of

    try:
        directory = directory_of_potentials(read_settings().pseudopotentials)
        families = {family.name: complete_elements(family, directory) for family in families_of(directory)}
    except CoevoError as err:
        return Found("pseudopotentials", "missing", str(err), "Quantum ESPRESSO needs a UPF file of each element")
    found = "; ".join(f"{name}: {', '.join(elements)}" for name, elements in families.items() if elements)
    if not found:
        hint = "write family.json beside the files (docs/espresso.md)"
        return Found("pseudopotentials", "problem", f"{directory} holds no potential of a known family", hint)
    return Found("pseudopotentials", "ok", found)
