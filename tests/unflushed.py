"""Processes of tests that leave it to the system when files reach the disk."""

from __future__ import annotations

import os


def leave_flushes_to_the_system() -> None:
    """Let ``os.fsync`` do nothing in this process and its forks.

    Nobody pulls the plug in a test: what a process wrote is there for the next one, flushed or not. A commit flushes 25 files and
    directories, and waits for the disk several times as long as it computes. Processes that tests start anew, among them those of
    fault injection, flush as ever.
    """
    os.fsync = _left_to_the_system


def _left_to_the_system(descriptor: int) -> None:
    """Only what is open can be flushed."""
    os.fstat(descriptor)
