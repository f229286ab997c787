"""Who gets the logs of runs: whoever asked for them around the call, a Maker that keeps them as artifacts."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    KeepLog = Callable[[str, bytes], None]

_keep_log: ContextVar[KeepLog | None] = ContextVar("coevo_keep_log", default=None)


@contextmanager
def keeping_logs(keep: KeepLog) -> Iterator[None]:
    """Hand the log of every run made in this block to ``keep`` (name, bytes), whether the run failed or not."""
    token = _keep_log.set(keep)
    try:
        yield
    finally:
        _keep_log.reset(token)


def hand_over(name: str, data: bytes) -> None:
    """Give a log to whoever asked for it."""
    keep = _keep_log.get()
    if keep is not None:
        keep(name, data)


class LogFolder:
    """Logs of processes that stay, read as they grow.

    Parameters
    ----------
    path : Path
        Holds ``*.log``.
    """

    def __init__(self, path: Path):
        self.path = path
        self._read: dict[str, int] = {}
        self._lock = Lock()

    def new_text(self) -> bytes:
        """What was written since the last call, file after file."""
        parts = []
        with self._lock:
            for path in sorted(self.path.glob("*.log")):
                data = path.read_bytes()
                if new := data[self._read.get(path.name, 0) :]:
                    parts.append(f"--- {path.stem}\n".encode() + new)
                self._read[path.name] = len(data)
        return b"".join(parts)
