"""Batches of crystals in worker processes; the results do not depend on how many there are."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import forkserver
from typing import TYPE_CHECKING, Any

from coevo.errors import ModelError
from coevo.models.relaxing.determinism import reproducible_torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from coevo.models.contracts import Progress
    from coevo.models.relaxing.predictor import Predictor, Recipe


_pool: ProcessPoolExecutor | None = None
_pool_key: tuple[int, int] | None = None
_pool_lock = threading.Lock()
_predictors: dict[str, Predictor] = {}


def run_batches(
    recipe: Callable[[], Recipe],
    predictor: Predictor,
    function: Callable[..., list[Any]],
    batches: Sequence[Sequence[Any]],
    arguments: tuple[Any, ...],
    *,
    workers: int,
    progress: Progress | None,
) -> list[list[Any]]:
    """Apply ``function(predictor, batch, *arguments)`` to every batch, in order of the batches.

    The recipe, asked for only if there are workers, makes the predictor in each of them.
    In a daemonic process, which may have no children, and on a GPU the batches run one after the other; the results are the same.

    Raises
    ------
    ModelError
        If a worker process dies.
    """
    workers = min(workers, len(batches))
    if workers <= 1 or predictor.device_type != "cpu" or multiprocessing.current_process().daemon:
        results = []
        with reproducible_torch(predictor.device_type):
            for batch in batches:
                results.append(function(predictor, batch, *arguments))
                if progress is not None:
                    progress(len(batch))
        return results
    with _pool_lock:
        return _run_in_pool(recipe(), function, batches, arguments, workers, progress)


def _run_in_pool(
    recipe: Recipe,
    function: Callable[..., list[Any]],
    batches: Sequence[Sequence[Any]],
    arguments: tuple[Any, ...],
    workers: int,
    progress: Progress | None,
) -> list[list[Any]]:
    try:
        pool = _pool_of(workers, recipe.make.__module__)
        futures = [pool.submit(_work, recipe, function, batch, arguments) for batch in batches]
        sizes = dict(zip(futures, map(len, batches), strict=True))
        waiting = set(futures)
        while waiting:
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()
                if progress is not None:
                    progress(sizes[future])
        return [future.result() for future in futures]
    except BrokenProcessPool as err:
        shut_down_pool()
        raise ModelError(
            f"a worker process of the force field ({workers} workers) died while it ran {len(batches)} batches; it was killed, "
            "most likely for want of memory: use fewer workers (COEVO_WORKERS) or a smaller batch_size"
        ) from err
    except BaseException:
        shut_down_pool()
        raise


def _pool_of(workers: int, family: str) -> ProcessPoolExecutor:
    """The pool of this process, kept between calls because starting a worker takes seconds."""
    global _pool, _pool_key
    key = (os.getpid(), workers)
    if _pool is None or _pool_key != key:
        if _pool is not None and _pool_key is not None and _pool_key[0] == os.getpid():
            _pool.shutdown(wait=False, cancel_futures=True)
        methods = multiprocessing.get_all_start_methods()
        context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
        if "forkserver" in methods:
            # The server imports torch and the family's module once and its forks share it; it is single-threaded when it forks.
            context.set_forkserver_preload(["coevo.models.relaxing.batch", family])
            _start_server()
        _pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)
        _pool_key = key
    return _pool


def shut_down_pool() -> None:
    """End the worker processes, if there are any."""
    global _pool, _pool_key
    if _pool is not None and _pool_key is not None and _pool_key[0] == os.getpid():
        _pool.shutdown(wait=False, cancel_futures=True)
    _pool = _pool_key = None


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
    import torch

    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt means
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this worker when its parent is gone: a parent killed by SIGKILL cannot tell its workers."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _work(recipe: Recipe, function: Callable[..., list[Any]], batch: Sequence[Any], arguments: tuple[Any, ...]) -> list[Any]:
    if recipe.digest not in _predictors:
        _predictors.clear()
        _predictors[recipe.digest] = recipe.make(*recipe.arguments)
    return function(_predictors[recipe.digest], batch, *arguments)
