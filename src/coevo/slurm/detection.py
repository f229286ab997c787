"""Whether this machine can submit jobs to SLURM."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

TIMEOUT = 5.0
"""Seconds that a SLURM command may take to answer."""


@dataclass(frozen=True)
class SlurmInstallation:
    """The SLURM commands of this machine.

    Attributes
    ----------
    sbatch : Path
        The executable.
    version : str or None
        Such as ``22.05.8``; None if ``sbatch --version`` does not tell.
    controller_answers : bool
        Whether ``scontrol ping`` reports a controller that is up, within :data:`TIMEOUT` seconds.
    detail : str
        What ``scontrol ping`` said, or why it said nothing; one line.
    """

    sbatch: Path
    version: str | None
    controller_answers: bool
    detail: str


def find_slurm() -> SlurmInstallation | None:
    """Look for ``sbatch`` on PATH and ask the controller whether it is up.

    Returns
    -------
    SlurmInstallation or None
        None if there is no ``sbatch``.
    """
    sbatch = shutil.which("sbatch")
    if sbatch is None:
        return None
    _, told = _ask([sbatch, "--version"])
    version = re.search(r"\d+\.\d+(?:\.\d+)*(?:-\w+)?", told)
    scontrol = shutil.which("scontrol")
    if scontrol is None:
        answers, detail = False, "there is no scontrol on PATH beside sbatch"
    else:
        code, detail = _ask([scontrol, "ping"])
        answers = code == 0 and re.search(r"\bis UP\b", detail, re.IGNORECASE) is not None
    return SlurmInstallation(Path(sbatch), version.group() if version else None, answers, detail)


def _ask(command: list[str]) -> tuple[int | None, str]:
    """Run a command; return its exit status (None if it did not end) and its output on one line."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        return None, f"no answer within {TIMEOUT:g} s"
    except OSError as err:
        return None, f"{command[0]}: {err.strerror}"
    return done.returncode, " ".join((done.stdout + " " + done.stderr).split())
