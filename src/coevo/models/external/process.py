"""One run of a family: a process group with a log of bounded size, a time limit, and an end that leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from coevo.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

LOG_LIMIT = 2 * 1024 * 1024
"""Bytes of a log that are kept: the first half, and the last."""

GRACE = 5.0
"""Seconds between asking a process group to end and ending it by force."""

_BLOCK = 16_384


@dataclass(frozen=True)
class Ended:
    """How a process ended.

    Attributes
    ----------
    code : int
        Exit code; negative for the number of a signal.
    timed_out : bool
    """

    code: int
    timed_out: bool

    def __str__(self) -> str:
        if self.timed_out:
            return "it was ended after its time limit"
        if self.code < 0:
            with suppress(ValueError):
                return f"signal {signal.Signals(-self.code).name}"
        return f"exit code {self.code}"


class BoundedLog:
    """Copies a pipe into a file: the first half of the limit as it comes, the last half at the end."""

    def __init__(self, source: IO[bytes], path: Path, secrets: Sequence[str]):
        self._source, self._path = source, path
        self._secrets = [secret.encode() for secret in secrets]
        self._thread = threading.Thread(target=self._copy, daemon=True)
        self._thread.start()

    def _copy(self) -> None:
        half, written, left_out = LOG_LIMIT // 2, 0, 0
        tail: deque[bytes] = deque()
        with self._path.open("ab", buffering=0) as file:
            while block := os.read(self._source.fileno(), _BLOCK):
                if written < half:
                    file.write(block)
                    written += len(block)
                    continue
                tail.append(block)
                while sum(map(len, tail)) > half:
                    left_out += len(tail.popleft())
            if left_out:
                file.write(b"\n... %d bytes left out ...\n" % left_out)
            file.write(b"".join(tail))
        if self._secrets:
            text = self._path.read_bytes()
            for secret in self._secrets:
                text = text.replace(secret, b"***")
            self._path.write_bytes(text)

    def add(self, text: str) -> None:
        """Append a line that the process did not write."""
        with self._path.open("ab", buffering=0) as file:
            file.write(text.encode())

    def finish(self) -> None:
        """Wait for the end; a process that left the group could hold the pipe open, which is not waited for."""
        self._thread.join(timeout=GRACE)
        if not self._thread.is_alive():
            self._source.close()


def run_process(
    command: Sequence[str],
    directory: Path,
    variables: Mapping[str, str],
    log: Path,
    *,
    timeout: float,
    secrets: Sequence[str] = (),
    tick: Callable[[], None] = lambda: None,
) -> Ended:
    """Run a command to its end in a process group of its own; whatever is left of the group is ended.

    Parameters
    ----------
    command : sequence of str
    directory : Path
        Working directory.
    variables : mapping
        The whole environment.
    log : Path
        Gets standard output and standard error, at most :data:`LOG_LIMIT` bytes.
    timeout : float
        Seconds.
    secrets : sequence of str
        Texts that are masked in the log.
    tick : callable
        Called a few times a second.

    Raises
    ------
    ModelError
        If the command cannot be started.
    """
    try:
        process = subprocess.Popen(
            list(command),
            cwd=directory,
            env=dict(variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as err:
        raise ModelError(f"{command[0]} cannot be started: {err.strerror}; `coevo env list` says what is configured") from None
    assert process.stdout is not None
    copied = BoundedLog(process.stdout, log, secrets)
    deadline, wait, timed_out = time.monotonic() + timeout, 0.01, False
    try:
        while process.poll() is None:
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                timed_out = True
                break
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=min(wait, remaining))
            wait = min(2 * wait, 0.5)
            tick()
    finally:
        end_group(process)
        copied.finish()
    return Ended(process.returncode, timed_out)


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End the process and its group, first politely; also what a finished process has left behind."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=GRACE)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
