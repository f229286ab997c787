"""What SLURM knows of jobs: which are there still, and how one ended."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass

from coevo.errors import QueueError

TIMEOUT = 120.0
"""Seconds that a SLURM command may take; a controller under load answers late."""


@dataclass(frozen=True)
class QueuedJob:
    """A job that SLURM holds.

    Attributes
    ----------
    state : str
        ``PENDING``, ``RUNNING``, …
    reason : str
        Why it is pending, such as ``Priority``; ``None`` in SLURM's words if there is none.
    comment : str
        By which the jobs of a site and class are known.
    """

    state: str
    reason: str
    comment: str


def active_jobs() -> dict[str, QueuedJob]:
    """Return this user's jobs that are pending, running or ending, by id.

    Raises
    ------
    QueueError
        If SLURM does not answer: then nothing is known, and no job may be called lost.
    """
    text = _ask(["squeue", "--noheader", "--me", "--array", "--format=%i|%T|%r|%k"])
    jobs = {}
    for line in text.splitlines():
        identifier, state, reason, comment = line.strip().split("|", 3)
        jobs[identifier] = QueuedJob(state, reason, comment)
    return jobs


def end_of_job(identifier: str) -> str | None:
    """Return how a job ended (``TIMEOUT``, ``CANCELLED``, ``NODE_FAIL``, …), or None if SLURM has forgotten it.

    Raises
    ------
    QueueError
        If SLURM does not answer.
    """
    if not re.fullmatch(r"[0-9_]+", identifier):
        return None
    try:
        found = re.search(r"\bJobState=(\w+)", _ask(["scontrol", "--oneliner", "show", "job", identifier]))
        if found:
            return found[1]
    except QueueError as err:
        # SLURM forgets jobs after some minutes (MinJobAge); its accounting, where there is one, does not
        if "Invalid job id" not in str(err):
            raise
    if shutil.which("sacct") is None:
        return None
    try:
        states = _ask(["sacct", "--noheader", "--parsable2", "--allocations", f"--jobs={identifier}", "--format=State"]).split()
    except QueueError:
        return None
    return states[0] if states else None


def cancel_jobs(identifiers: list[str]) -> None:
    """Cancel jobs; those that have ended already are no error.

    Raises
    ------
    QueueError
        If SLURM does not answer.
    """
    if identifiers:
        _ask(["scancel", "--quiet", *identifiers])


def _ask(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        raise QueueError(f"{command[0]} did not answer within {TIMEOUT:g} s; try again when SLURM's controller is up") from None
    except OSError as err:
        raise QueueError(f"{command[0]}: {err.strerror}; run this where SLURM's commands are") from None
    if done.returncode:
        raise QueueError(f"{command[0]} failed: {' '.join(done.stderr.split()) or f'exit status {done.returncode}'}")
    return done.stdout
