"""Draws of a diffusion model in batches: seeds, memory that runs out, batches that crash, and cells that are none.

For runners of generators that take compositions (``coevo_compositions``); needs torch.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import traceback
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from coevo_cells import fault_of
from coevo_runner import TaskError, advance, write_candidates

if TYPE_CHECKING:
    from collections.abc import Callable

    from coevo_compositions import Compositions, Draw


def number(*words: Any) -> int:
    """A seed made of words, the same on every machine."""
    return int.from_bytes(hashlib.sha256(json.dumps(words).encode()).digest()[:4], "big")


def seed_everything(seed: int) -> None:
    """Seed torch, its GPUs, numpy and random."""
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - packages draw from it
    random.seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)


def drawn(
    request: dict[str, Any], compositions: Compositions, batch: Callable[[list[Draw]], list[dict[str, Any]]], *, operator: str
) -> dict[str, Any]:
    """The output of the task ``sample``: draws in batches; what a batch loses is counted, and drawn again.

    Parameters
    ----------
    request : dict
        ``n``, ``seed``, and among its ``options`` ``batch_size`` and ``oversampling``: draws per candidate, at most.
    compositions : Compositions
    batch : callable
        Given the compositions of a batch, it returns a crystal of each (``lattice``, ``species``, ``positions``); whatever it
        raises costs the batch only, which is halved if memory ran out. All generators are seeded before, by the batch.
    operator : str
        Of the candidates' origin.

    Raises
    ------
    TaskError
        If memory runs out for a single crystal.
    """
    n, options = request["n"], request["options"]
    if not compositions.possible:
        return {"candidates": write_candidates([]), "rejected": {"no_composition": n}}
    most, size, done = math.ceil(n * options["oversampling"]), options["batch_size"], 0
    candidates: list[dict[str, Any]] = []
    rejected: dict[str, int] = {}
    while done < most and len(candidates) < n:
        places = range(done, min(done + min(size, n - len(candidates)), most))
        draws = [compositions.draw(request["seed"], place) for place in places]
        seed_everything(number("sample", request["seed"], done))
        try:
            crystals = batch(draws)
        except Exception as err:  # noqa: BLE001 - an unstable model fails in many ways, each of which costs its batch only
            if out_of_memory(err):
                size = halved(len(draws))
                continue
            traceback.print_exc()
            rejected["crashed_batch"] = rejected.get("crashed_batch", 0) + len(draws)
            crystals = []
        for place, draw, crystal in zip(places, draws, crystals):  # noqa: B905 - Python 3.8
            reason = fault_of(crystal["lattice"], crystal["positions"])
            if reason:
                rejected[reason] = rejected.get(reason, 0) + 1
                continue
            origin = {"operator": operator, "draw": place, "formula": draw.formula, "composition": draw.source}
            candidates.append(dict(crystal, origin=origin))
            advance(1)
        done += len(draws)
        print(f"{done} drawn, {len(candidates)} kept, rejected {rejected}", flush=True)
    return {"candidates": write_candidates(candidates), "rejected": rejected, "report": {"batch_size": size, "drawn": done}}


def out_of_memory(err: BaseException) -> bool:
    """Whether an error speaks of memory, of the GPU or not."""
    return isinstance(err, (torch.cuda.OutOfMemoryError, MemoryError)) or "out of memory" in str(err).lower()


def halved(size: int) -> int:
    """Half a batch; an error when it cannot be less."""
    if size == 1:
        raise TaskError("out_of_memory", "out of memory at a batch size of 1")
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    print(f"out of memory at batch size {size}; halved")
    return size // 2
