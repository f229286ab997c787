"""Progress of the running job, told to whoever listens in this process: the command line draws bars, a worker is silent."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Reporter(Protocol):
    """Receives what jobs tell of themselves."""

    def job_started(self, name: str) -> None:
        """Tell that a job starts."""

    def job_finished(self, name: str, seconds: float, *, reused: bool) -> None:
        """Tell that a job ended; ``reused`` when its stored result was found by its key."""

    def task_started(self, what: str, total: int, unit: str) -> None:
        """Tell that a countable task of ``total`` units starts."""

    def task_advanced(self, count: int) -> None:
        """Tell that ``count`` more units are done."""

    def task_finished(self) -> None:
        """Tell that the task ended."""


class SilentReporter:
    """The default: nobody listens."""

    def job_started(self, name: str) -> None:
        """Do nothing."""

    def job_finished(self, name: str, seconds: float, *, reused: bool) -> None:
        """Do nothing."""

    def task_started(self, what: str, total: int, unit: str) -> None:
        """Do nothing."""

    def task_advanced(self, count: int) -> None:
        """Do nothing."""

    def task_finished(self) -> None:
        """Do nothing."""


_reporter: ContextVar[Reporter | None] = ContextVar("coevo_reporter", default=None)
_SILENT = SilentReporter()


def reporter() -> Reporter:
    """Return the reporter of this context."""
    return _reporter.get() or _SILENT


@contextmanager
def reporting_to(listener: Reporter) -> Iterator[None]:
    """Send the progress of all jobs run in this block to ``listener``."""
    token = _reporter.set(listener)
    try:
        yield
    finally:
        _reporter.reset(token)


@contextmanager
def task(what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """Report a task of ``total`` units; yields the function that advances it."""
    listener = reporter()
    listener.task_started(what, total, unit)
    try:
        yield listener.task_advanced
    finally:
        listener.task_finished()
