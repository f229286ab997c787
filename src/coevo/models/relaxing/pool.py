"""Batches of crystals in worker processes; the results do not depend on how many there are."""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Any

from coevo.errors import ModelError, WorkerDiedError
from coevo.models.relaxing.determinism import reproducible_torch
from coevo.models.relaxing.halved_batches import note_halved_batches, noting_halved_batches
from coevo.processes import has_processes, map_chunks, preload

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from coevo.models.contracts import Progress
    from coevo.models.relaxing.halved_batches import HalvedBatches
    from coevo.models.relaxing.predictor import Predictor, Recipe

_PREDICTORS_KEPT = 2
"""In a worker: the node's force field and the teacher."""

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
    """Apply ``function(predictor, batch, *arguments)`` to every batch; the results are in order of the batches.

    The recipe, asked for only if there are workers, makes the predictor in each of them. The largest batches are begun first, so
    that no worker is left with one at the end. On a GPU, and in a process that may have no children, the batches run one after
    the other, and so does a single one where nothing else runs beside it; the results are the same.

    Raises
    ------
    ModelError
        If a worker process dies.
    """
    alone = len(batches) < 2 and threading.current_thread() is threading.main_thread()
    if alone or predictor.device_type != "cpu" or not has_processes(workers):
        results = []
        with reproducible_torch(predictor.device_type):
            for batch in batches:
                results.append(function(predictor, batch, *arguments))
                if progress is not None:
                    progress(len(batch))
        return results
    made_by = recipe()
    preload("coevo.models.relaxing.batch", made_by.make.__module__)
    order = sorted(range(len(batches)), key=lambda place: -sum(map(_size, batches[place])))
    found: list[list[Any]] = [[] for _ in batches]
    try:
        work = partial(_work, made_by, function, arguments)
        parts = map_chunks(work, [batches[place] for place in order], workers=workers, progress=progress)
        for place, (part, halved) in zip(order, parts, strict=True):
            found[place] = part
            note_halved_batches(halved)
    except WorkerDiedError as err:
        raise ModelError(
            f"a worker process of the force field ({workers} workers) died while it ran {len(batches)} batches; it was killed, "
            "most likely for want of memory: use fewer workers (COEVO_WORKERS) or a smaller batch_size"
        ) from err
    return found


def _size(item: Any) -> int:
    """Atoms of a crystal."""
    return len(item) if hasattr(item, "__len__") else 1


def _work(
    recipe: Recipe, function: Callable[..., list[Any]], arguments: tuple[Any, ...], batch: Sequence[Any]
) -> tuple[list[Any], HalvedBatches]:
    import torch

    torch.set_num_threads(1)
    if recipe.digest not in _predictors:
        if len(_predictors) >= _PREDICTORS_KEPT:
            _predictors.clear()
        _predictors[recipe.digest] = recipe.make(*recipe.arguments)
    with noting_halved_batches() as halved:
        return function(_predictors[recipe.digest], batch, *arguments), halved
