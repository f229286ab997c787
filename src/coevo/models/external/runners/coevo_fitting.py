"""Fits of generators to the examples of a node: what is for validation, what is drawn how often, and when a fit ends.

Needs torch.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from coevo_runner import TaskError, advance

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

STRATA = (0.01, 0.05, 0.1, 0.2, 0.5)
"""Borders of the strata of energies above hull, eV/atom; each stratum is drawn by the square root of its size."""


def parts(examples: Sequence[dict[str, Any]], fraction: float) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Examples for training and for validation: by their ids alone, so that they stay there in every iteration.

    Those whose number in [0, 1), made of the id, is below ``fraction`` are for validation; where none is, that with the smallest,
    in whose place comes one that was learned from if it leaves the examples.
    """
    numbers = [int.from_bytes(hashlib.sha256(e["id"].encode()).digest()[:4], "big") / 2**32 for e in examples]
    border = max(fraction, min(numbers, default=0.0) + 2**-33)
    kept = [e for e, place in zip(examples, numbers) if place >= border]  # noqa: B905 - Python 3.8
    return kept, [e for e, place in zip(examples, numbers) if place < border]  # noqa: B905 - Python 3.8


def strata_weights(examples: Sequence[dict[str, Any]]) -> torch.Tensor:
    """Weights of drawing each example: a stratum of energies counts by the square root of its size."""
    strata = np.digitize([e["energy_above_hull"] for e in examples], STRATA)
    return torch.tensor([1.0 / math.sqrt((strata == s).sum()) for s in strata], dtype=torch.float64)


def trained(
    options: dict[str, Any],
    epoch: Callable[[int], None],
    loss: Callable[[], float],
    weights: Callable[[], dict[str, torch.Tensor]],
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Train until the validation loss has not become smaller for ``patience`` epochs, or for all ``epochs``.

    Parameters
    ----------
    options : dict
        ``epochs`` and ``patience``.
    epoch : callable
        Goes once over the training examples; called with its number, from 0.
    loss : callable
        Of the validation part now. A fit whose loss is no longer finite ends, and what was best before stays.
    weights : callable
        The weights now, by name; they are copied.

    Returns
    -------
    dict, dict
        The best weights, which are those before if no epoch was better (``improved`` of the report is false then), and the
        report: ``improved``, ``epochs_run``, ``loss_before``, ``loss_after``, ``history``.

    Raises
    ------
    TaskError
        If the loss is not finite before any training.
    """
    first = best = loss()
    if not math.isfinite(first):
        raise TaskError("diverged", "the validation loss is not finite before any training")
    best_weights, waited, history = _copy(weights()), 0, [first]
    for count in range(options["epochs"]):
        epoch(count)
        now = loss()
        print(f"epoch {count + 1}: validation loss {now:.5f}", flush=True)
        advance(1)
        if not math.isfinite(now):
            break
        history.append(now)
        waited += 1
        if now < best:
            best, best_weights, waited = now, _copy(weights()), 0
        if waited >= options["patience"]:
            break
    return best_weights, fit_report(history, best)


def fit_report(history: list[float], best: float) -> dict[str, Any]:
    """What is told of a fit: losses, that before the first epoch included, and whether an epoch made the loss smaller."""
    return {
        "improved": best < history[0],
        "epochs_run": len(history) - 1,
        "loss_before": history[0],
        "loss_after": best,
        "history": history,
    }


def _copy(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in weights.items()}
