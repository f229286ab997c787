"""Chunks of work in processes of this machine; results do not depend on how many there are."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import forkserver
from typing import TYPE_CHECKING, Any, TypeVar

from coevo.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Chunk = TypeVar("Chunk")
Result = TypeVar("Result")

_pool: ProcessPoolExecutor | None = None
_pool_key: tuple[int, int] | None = None
_AHEAD = 2
"""Chunks a worker has waiting: enough to keep it busy, few enough to bound memory."""


def map_chunks(
    function: Callable[[Chunk], Result],
    chunks: Iterable[Chunk],
    *,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
    size: Callable[[Chunk], int] = len,  # type: ignore[assignment]
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
    size : callable
        Of a chunk; its length unless given.

    Yields
    ------
    Result of each chunk, in the order of the chunks.

    Raises
    ------
    AnalysisError
        If a worker dies. What the function raises is raised as it is.
    """
    if workers <= 1 or multiprocessing.current_process().daemon:
        for chunk in chunks:
            result = function(chunk)
            if progress is not None:
                progress(size(chunk))
            yield result
        return
    pending: list[Future[Any]] = []
    try:
        yield from _in_order(_pool_of(workers), function, iter(chunks), workers * _AHEAD, progress, size, pending)
    except BrokenProcessPool as error:
        shut_down_workers()
        raise AnalysisError(
            f"a worker process died ({workers} workers); it was killed, most likely for want of memory: use fewer workers"
        ) from error
    finally:
        for future in pending:
            future.cancel()


def _pool_of(workers: int) -> ProcessPoolExecutor:
    """The pool of this process, kept between calls because starting a worker takes seconds."""
    global _pool, _pool_key
    key = (os.getpid(), workers)
    if _pool is None or _pool_key != key:
        shut_down_workers()
        methods = multiprocessing.get_all_start_methods()
        context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
        if "forkserver" in methods:
            # The server imports once what its forks share.
            context.set_forkserver_preload(
                ["coevo.analysis.comparison.grouping", "coevo.analysis.environments.descriptors", "pymatgen.core"]
            )
            _start_server()
        _pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
        _pool_key = key
    return _pool


def shut_down_workers() -> None:
    """End the worker processes, if there are any."""
    global _pool, _pool_key
    # A forked child has a copy of the pool that is not its own.
    if _pool is not None and _pool_key is not None and _pool_key[0] == os.getpid():
        _pool.shutdown(wait=True, cancel_futures=True)
    _pool = _pool_key = None


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
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker when its parent is gone: a parent killed by SIGKILL cannot tell its workers."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
