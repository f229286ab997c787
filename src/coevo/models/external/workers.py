"""The workers of this process: one for each model and device, started when it is first asked, ended with the process."""

from __future__ import annotations

import atexit
import os
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from coevo.models.external.worker import Worker

if TYPE_CHECKING:
    from coevo.models.external.worker import WorkerModel

KEPT = 2
"""Workers that stay: that of the node's force field and that of the teacher, or the parent's and the new one's."""

_lock = threading.RLock()
_workers: OrderedDict[tuple[str, str, str], Worker] = OrderedDict()


def worker_for(model: WorkerModel) -> Worker:
    """Return the worker of a model, which is started if there is none, or if it has ended.

    Raises
    ------
    ModelError
        As :class:`coevo.models.external.worker.Worker`.
    """
    with _lock:
        worker = _workers.get(model.key)
        if worker is None or not worker.alive:
            worker = _workers[model.key] = Worker(model)
        _workers.move_to_end(model.key)
        while len(_workers) > KEPT:
            _, oldest = _workers.popitem(last=False)
            oldest.close()  # waits for the answer that somebody may be waiting for
        return worker


def shut_down_model_workers() -> None:
    """End the workers of this process."""
    with _lock:
        while _workers:
            _workers.popitem()[1].close()


def _forget() -> None:
    """In a child made by fork: the workers are those of the parent."""
    _workers.clear()


atexit.register(shut_down_model_workers)
os.register_at_fork(after_in_child=_forget)
