"""The one pool of worker processes: chunks of work, whose results do not depend on how many processes there are.

Several threads may give it work at once; their chunks wait in one queue, so that no process is idle while one of them has any.
Where there are only a few pieces of work, :class:`Workers` does them here.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Sized
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache, partial
from itertools import chain, islice
from multiprocessing import forkserver
from multiprocessing.util import Finalize
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from coevo.errors import WorkerDiedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


Chunk = TypeVar("Chunk")
Result = TypeVar("Result")

_AHEAD = 2
"""Chunks a worker has waiting: enough to keep it busy, few enough to bound memory."""

given_up: ContextVar[threading.Event | None] = ContextVar("coevo_given_up", default=None)
"""Where it is set, nothing more is begun in this context: another part of the same work has failed."""


@dataclass(eq=False)
class _Pool:
    """The pool of this process, kept between calls because starting a worker takes seconds."""

    executor: ProcessPoolExecutor
    key: tuple[int, int, tuple[str, ...]]
    """Process that it belongs to (a forked child has a copy that is not its own), number of workers, where they import from."""
    users: int = 0


_workers: _Pool | None = None
_lock = threading.RLock()
_preloaded = ["coevo.analysis.comparison.grouping", "coevo.analysis.environments.descriptors", "pymatgen.core"]


def hold_numerics() -> None:
    """Set what the results of numerical libraries depend on, before they are imported; what the user set stays.

    One thread, because sums that are split over threads differ in their last digits; and where the processor has AVX2, OpenBLAS's
    kernels for it, because those that OpenBLAS would choose by itself differ from processor to processor.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if _has_avx2():
        os.environ.setdefault("OPENBLAS_CORETYPE", "Haswell")


@cache
def _has_avx2() -> bool:
    """Whether the processor has AVX2, as Linux says; elsewhere OpenBLAS chooses."""
    try:
        with Path("/proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
            return any(line.startswith("flags") and " avx2 " in line.replace("\n", " ") for line in islice(file, 100))
    except OSError:
        return False


def has_processes(workers: int) -> bool:
    """Whether work is done in processes: not with one worker, and not in a daemonic process, which may have none."""
    return workers > 1 and not multiprocessing.current_process().daemon


def preload(*modules: str) -> None:
    """Have the server of the workers import modules that its forks share; those named before the first worker starts count.

    Workers import whatever else they need themselves, each for itself.
    """
    with _lock:
        _preloaded.extend(module for module in modules if module not in _preloaded)


def start_workers(workers: int) -> None:
    """Start the server of the workers, from the main thread, before other threads give them work."""
    with _lease(workers):
        pass


def map_chunks(
    function: Callable[[Chunk], Result],
    chunks: Iterable[Chunk],
    *,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
    size: Callable[[Chunk], int] | None = None,
    ahead: int | None = None,
) -> Iterator[Result]:
    """Apply a function to chunks, in order.

    Parameters
    ----------
    function : callable
        Of the top level of a module: it is sent by name.
    chunks : iterable
        Taken as workers come free, so that a generator of chunks is never held as a whole.
    workers : int
        Processes; with one, and in a daemonic process, which may have no children, the work is done here.
    progress : callable, optional
        Called with the size of each chunk when it is done.
    size : callable, optional
        Of a chunk; its length unless given.
    ahead : int, optional
        Chunks that are handed out before their turn, at most; two for each worker unless given.

    Yields
    ------
    Result of each chunk, in the order of the chunks.

    Raises
    ------
    WorkerDiedError
        If a worker dies. What the function raises is raised as it is.
    CancelledError
        If the work that this is part of was given up.
    """
    size = size or _length
    if not has_processes(workers):
        for chunk in chunks:
            _go_on()
            result = function(chunk)
            if progress is not None:
                progress(size(chunk))
            yield result
        return
    pending: list[Future[Any]] = []
    with _lease(workers) as lease:
        try:
            yield from _in_order(lease.executor, function, iter(chunks), ahead or workers * _AHEAD, progress, size, pending)
        except BrokenProcessPool as error:
            _drop(lease)
            raise WorkerDiedError(
                f"a worker process died ({workers} workers); it was killed, most likely for want of memory: use fewer workers"
            ) from error
        finally:
            for future in pending:
                future.cancel()


def _length(chunk: Any) -> int:
    return len(chunk) if isinstance(chunk, Sized) else 1


def _go_on() -> None:
    event = given_up.get()
    if event is not None and event.is_set():
        raise CancelledError


@contextmanager
def _lease(workers: int) -> Iterator[_Pool]:
    """The pool with this many workers, which is kept as long as one of its users needs it."""
    global _workers
    key = (os.getpid(), workers, tuple(sys.path))
    with _lock:
        if _workers is None or _workers.key != key:
            if _workers is not None and _workers.users == 0:
                shut_down_workers()
            _workers = _Pool(_started(workers), key)
        lease = _workers
        lease.users += 1
    try:
        yield lease
    finally:
        with _lock:
            lease.users -= 1
            if lease.users == 0 and lease is not _workers:
                lease.executor.shutdown(wait=False, cancel_futures=True)


def _started(workers: int) -> ProcessPoolExecutor:
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if "forkserver" in methods:
        # The server imports once what its forks share; it is single-threaded when it forks.
        context.set_forkserver_preload(list(_preloaded))
        _start_server()
    # A process that multiprocessing made, as each job of a cluster is, waits for its children when it ends, before it would end
    # their pool: for ever, if nobody else does.
    Finalize(None, shut_down_workers, exitpriority=100)
    return ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)


def _drop(lease: _Pool) -> None:
    """Let the next call start other workers: one of these died."""
    global _workers
    with _lock:
        if _workers is lease:
            _workers = None


def shut_down_workers() -> None:
    """End the worker processes, if there are any, when they have done what they are at."""
    global _workers
    with _lock:
        old, _workers = _workers, None
    if old is not None and old.key[0] == os.getpid():
        old.executor.shutdown(wait=True, cancel_futures=True)


def _in_order(
    pool: ProcessPoolExecutor,
    function: Callable[[Any], Any],
    chunks: Iterator[Any],
    ahead: int,
    progress: Callable[[int], None] | None,
    size: Callable[[Any], int],
    pending: list[Future[Any]],
) -> Iterator[Any]:
    """Submit as results are taken; yield in order, tell of progress as soon as there is any."""
    sizes: dict[Future[Any], int] = {}
    exhausted = False
    while True:
        _go_on()
        while not exhausted and len(sizes) < ahead:
            try:
                chunk = next(chunks)
            except StopIteration:
                exhausted = True
                break
            future = pool.submit(function, chunk)
            pending.append(future)
            sizes[future] = size(chunk)
        if not pending:
            return
        done, _ = wait(sizes, return_when=FIRST_COMPLETED) if sizes else (set(), set())
        for future in done:
            if progress is not None and future.exception() is None:
                progress(sizes[future])
            del sizes[future]
        while pending and pending[0].done():
            yield pending.pop(0).result()


def _start_server() -> None:
    """Start the server with interrupts ignored, so that its forks ignore them from their first moment on."""
    is_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if is_main else None
    try:
        forkserver.ensure_running()
    finally:
        if is_main:
            signal.signal(signal.SIGINT, before)


def _start_worker() -> None:
    hold_numerics()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker when its parent is gone: a parent killed by SIGKILL cannot tell its workers."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


_WITHOUT_PROCESSES = 4
"""Pieces that are done here: starting a process takes seconds."""


@dataclass(frozen=True)
class Workers:
    """Worker processes, started when there is enough to do.

    Attributes
    ----------
    count : int
        With 1, everything runs in this process. The results are the same.
    """

    count: int

    def map(self, function: Callable[..., Result], pieces: Iterable[Any], *arguments: Any) -> Iterator[Result]:
        """Yield ``function(piece, *arguments)`` of each piece, in order.

        Raises
        ------
        WorkerDiedError
            If a worker process dies.
        """
        remaining = iter(pieces)
        first = list(islice(remaining, _WITHOUT_PROCESSES + 1))
        few = len(first) <= _WITHOUT_PROCESSES
        work = partial(_apply, function, arguments)
        yield from map_chunks(work, chain(first, remaining), workers=1 if few else self.count)


def _apply(function: Callable[..., Result], arguments: tuple[Any, ...], piece: Any) -> Result:
    return function(piece, *arguments)
