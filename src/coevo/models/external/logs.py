"""Who gets the logs of runs: whoever asked for them around the call, a Maker that keeps them as artifacts."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
