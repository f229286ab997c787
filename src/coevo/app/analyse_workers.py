"""Work in processes of their own, with the results in order and only a few pieces of work under way at a time."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, Self, TypeVar

from coevo.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

    R = TypeVar("R")

_WITHOUT_PROCESSES = 4
"""Pieces that are done here: starting a process takes seconds."""


class Workers:
    """Worker processes, started when there is enough to do; a context manager.

    Parameters
    ----------
    count : int
        With 1, everything runs in this process. The results are the same.
    """

    def __init__(self, count: int):
        self.count = count
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=error is None, cancel_futures=True)

    def map(self, function: Callable[..., R], pieces: Iterable[Any], *arguments: Any) -> Iterator[R]:
        """Yield ``function(piece, *arguments)`` of each piece, in order.

        Raises
        ------
        AnalysisError
            If a worker process dies.
        """
        remaining = iter(pieces)
        first = list(islice(remaining, _WITHOUT_PROCESSES + 1))
        if self.count <= 1 or len(first) <= _WITHOUT_PROCESSES:
            for piece in chain(first, remaining):
                yield function(piece, *arguments)
            return
        under_way: deque[Future[R]] = deque()
        try:
            for piece in chain(first, remaining):
                under_way.append(self._pool().submit(function, piece, *arguments))
                if len(under_way) >= 3 * self.count:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        except BrokenProcessPool as err:
            raise AnalysisError(
                f"one of {self.count} worker processes died; it was killed, most likely for want of memory: use fewer (--workers)"
            ) from err

    def _pool(self) -> ProcessPoolExecutor:
        if self._executor is None:
            methods = multiprocessing.get_all_start_methods()
            context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
            if "forkserver" in methods:
                context.set_forkserver_preload(["coevo.app.analyse_parsing", "pymatgen.io.cif"])
            self._executor = ProcessPoolExecutor(self.count, mp_context=context, initializer=_start)
        return self._executor


def _start() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker when its parent is gone: a parent killed by SIGKILL cannot tell its workers."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
