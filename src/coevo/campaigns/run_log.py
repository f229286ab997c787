"""The log file of ``coevo run``: what happened when, line by line; it is beside the node and part of no state."""

from __future__ import annotations

import logging
import os
import platform
import re
import shlex
import socket
import time
import traceback
import warnings
from contextlib import ExitStack, suppress
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from typing_extensions import override

from coevo import __version__
from coevo.output.plain_text import plain_lines
from coevo.output.progress import SilentReporter, reporter, reporting_to

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from coevo.node_store.store import NodeStore
    from coevo.node_store.views import StateView
    from coevo.output.progress import Reporter

LONGEST_FILE = 1_000_000
"""Bytes at which a file is set aside as ``NAME.log.1``."""
FILES_KEPT = 3
"""Files that were set aside and stay."""
_LONGEST_TEXT = 20_000
_PACKAGES = ("numpy", "scipy", "torch", "chgnet", "pymatgen", "ase", "spglib", "pyxtal", "jobflow")
_CREDENTIALS = re.compile(r"://[^/\s@]*@")


def log_file(store: NodeStore, node: str, branch: str) -> Path:
    """Return where the runs of a branch are logged.

    ``logs/BRANCH.log`` in the directory of the node; of a node on a server, in ``~/.local/state/coevo/logs/SERVER/NODE`` of the
    machine that runs it (or in ``XDG_STATE_HOME``).
    """
    directory = store.log_directory(node)
    if directory is None:
        state = Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser()
        server = re.sub(r"[^A-Za-z0-9._-]+", "_", store.place.partition("://")[2]).strip("._") or "server"
        directory = state / "coevo" / "logs" / server / node
    return directory / f"{branch}.log"


class RunLog:
    """Keeps the log of one run (a context manager), from when the branch is held; a log that cannot be written stops no run.

    Parameters
    ----------
    path : Path
    command : sequence of str
        As it was typed.
    say : callable
        Is told, once, that the log cannot be written.
    """

    def __init__(self, path: Path, command: Sequence[str], say: Callable[[str], None]):
        self.path = path
        self._command = command
        self._say = say
        self._handler: _LogFile | None = None
        self._until = ExitStack()
        self._began = 0.0

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._handler = _LogFile(self.path, self._give_up)
        except OSError as error:
            self._give_up(error)
            return self
        self._until.callback(self._close)
        self._until.enter_context(reporting_to(_Heard(reporter(), self)))
        self._listen()
        self._write_head()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        seconds = f"after {time.monotonic() - self._began:.1f} s"
        if error is None:
            self.line(f"ended {seconds}")
        elif isinstance(error, KeyboardInterrupt):
            self.line(f"interrupted {seconds}", logging.WARNING)
        else:
            told = "".join(traceback.format_exception(kind, error, trace)).rstrip()
            self.line(f"failed {seconds}: {type(error).__name__}\n{told}", logging.ERROR)
        self._until.close()

    def line(self, text: str, level: int = logging.INFO) -> None:
        """Write a line, or several."""
        if self._handler is not None:
            self._handler.handle(logging.LogRecord("coevo.run", level, str(self.path), 0, text, None, None))

    def telling(self, say: Callable[[str], None]) -> Callable[[str], None]:
        """Return a function that says a line, and writes it."""

        def both(line: str) -> None:
            self.line(line)
            say(line)

        return both

    def state(self, view: StateView) -> None:
        """Write that a state was made."""
        counts = view.document["counts"]
        told = ", ".join(f"{counts[kind]} {kind}" for kind in ("entries", "references", "labels", "sun") if kind in counts)
        self.line(f"state {view.id} of iteration {view.iteration}: {told}")

    def _write_head(self) -> None:
        from importlib.metadata import PackageNotFoundError, version

        versions = []
        for name in _PACKAGES:
            with suppress(PackageNotFoundError):
                versions.append(f"{name} {version(name)}")
        self.line(f"coevo {__version__}, process {os.getpid()} on {socket.gethostname()}: {shlex.join(self._command)}")
        self.line(f"in {Path.cwd()}; python {platform.python_version()}, {', '.join(versions)}")

    def _listen(self) -> None:
        """Write warnings, and what libraries log, beside showing them."""
        others = _Others(self)
        root, shown = logging.getLogger(), warnings.showwarning

        def show(message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: str | None = None) -> None:
            self.line(f"{category.__name__}: {message} ({filename}:{lineno})", logging.WARNING)
            shown(message, category, filename, lineno, file, line)

        def as_before() -> None:
            root.removeHandler(others)
            if warnings.showwarning is show:
                warnings.showwarning = shown

        root.addHandler(others)
        warnings.showwarning = show
        self._until.callback(as_before)

    def _give_up(self, error: BaseException) -> None:
        self._close()
        what = getattr(error, "strerror", None) or str(error)
        self._say(f"note: the log {self.path} cannot be written ({what}); the run goes on without it")

    def _close(self) -> None:
        handler, self._handler = self._handler, None
        if handler is not None:
            with suppress(OSError, ValueError):  # what a full disk did not take
                handler.close()


class _LogFile(RotatingFileHandler):
    """A bounded file of lines; the first error is handed on."""

    def __init__(self, path: Path, give_up: Callable[[BaseException], None]):
        super().__init__(path, maxBytes=LONGEST_FILE, backupCount=FILES_KEPT, encoding="utf-8", errors="backslashreplace")
        self._give_up = give_up
        formatter = logging.Formatter("%(asctime)s %(levelname)-7s %(message)s", datefmt="%Y-%m-%dT%H:%M:%SZ")
        formatter.converter = time.gmtime
        self.setFormatter(formatter)

    @override
    def format(self, record: logging.LogRecord) -> str:
        """Return a record as one line, or as a line with further ones behind it: nobody's text is more than text."""
        text = super().format(record)
        if len(text) > _LONGEST_TEXT:
            half = _LONGEST_TEXT // 2
            text = f"{text[:half]}\n… {len(text) - 2 * half} characters left out …\n{text[-half:]}"
        return plain_lines(_CREDENTIALS.sub("://***@", text)).replace("\n", "\n    ")

    @override
    def handleError(self, record: logging.LogRecord) -> None:
        """Hand on the error of the disk that is being handled."""
        import sys

        self._give_up(sys.exc_info()[1] or OSError("unknown error"))


class _Others(logging.Handler):
    """Writes what libraries log as warnings or errors; what nobody else would show is shown as before."""

    def __init__(self, log: RunLog):
        super().__init__(logging.WARNING)
        self._log = log

    @override
    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, and show it if this handler is the only one that it reaches."""
        self._log.line(f"{record.name}: {record.getMessage()}", record.levelno)
        if logging.lastResort is not None and record.levelno >= logging.lastResort.level and self._is_alone(record.name):
            logging.lastResort.handle(record)

    def _is_alone(self, name: str) -> bool:
        logger: logging.Logger | None = logging.getLogger(name)
        while logger is not None:
            if any(handler is not self for handler in logger.handlers):
                return False
            logger = logger.parent if logger.propagate else None
        return True


class _Heard(SilentReporter):
    """Hands what jobs tell of themselves on to a reporter, and writes when they begin and end."""

    def __init__(self, listener: Reporter, log: RunLog):
        self._listener = listener
        self._log = log
        self.task_started = listener.task_started  # type: ignore[method-assign]
        self.task_advanced = listener.task_advanced  # type: ignore[method-assign]
        self.task_finished = listener.task_finished  # type: ignore[method-assign]

    @override
    def job_started(self, name: str) -> None:
        self._log.line(f"{name} begins")
        self._listener.job_started(name)

    @override
    def job_finished(self, name: str, seconds: float, *, reused: bool) -> None:
        self._log.line(f"{name} was done before, its result is used" if reused else f"{name} ended after {seconds:.1f} s")
        self._listener.job_finished(name, seconds, reused=reused)
