"""Fine-tuning as all families do it: coevo's loss, seeded, epochs until they no longer help, the best by validation kept.

A family brings its network, its own step over the training frames and its own form of a checkpoint.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from coevo_runner import TaskError, advance

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

GPA = 160.21766208
"""GPa per eV/Å³."""
DELTA = 0.1
"""Where the loss turns from quadratic to linear: eV/atom, eV/Å, GPa."""
ENERGY_WEIGHT = 10.0
"""Weight of the energy beside the forces."""
FINAL_RATE = 0.1
"""The learning rate falls to this share of its start along a cosine."""

FLOOR = 0.002
"""eV/atom; a spread of the hull below it is no worse than it."""


@dataclass
class Best:
    """The best epoch by validation.

    Attributes
    ----------
    state : dict
        Parameters after it.
    epoch : int
        Its number; 0 is before any training.
    loss : float
        Of the validation frames.
    epochs : list of dict
        All epochs, each with ``epoch`` and ``validation_loss``; and ``hull_spread`` where a hull is watched.
    """

    state: dict[str, Any]
    epoch: int
    loss: float
    epochs: list[dict[str, Any]]

    def result(self, document: dict[str, Any]) -> dict[str, Any]:
        """The output of the task ``fit``, whose model is in ``output/model``."""
        return {"model": "model", "document": document, "report": {"epochs": self.epochs, "best_epoch": self.epoch}}


def seed_everything(seed: int) -> None:
    """Seed each generator that a package may ask."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - the one that packages use
    torch.manual_seed(seed)


def train(
    settings: dict[str, Any],
    epoch: Callable[[int], None],
    loss: Callable[[], float],
    state: Callable[[], dict[str, Any]],
    spread: Callable[[], float] | None = None,
) -> Best:
    """Train until no epoch has been the best for ``patience`` epochs, or for all ``epochs``.

    Parameters
    ----------
    settings : dict
        Those of the request.
    epoch : callable
        Goes once over the training frames, with the learning rate of this epoch; called with its number, from 1.
    loss : callable
        The loss of the validation frames now.
    state : callable
        The parameters now, by name; they are copied.
    spread : callable, optional
        The spread of the hull that is watched now, eV/atom (:func:`spread_of`). Without it the best epoch has the smallest loss;
        with it the rule is that of :class:`coevo.models.early_stopping.EarlyStopping`.

    Raises
    ------
    TaskError
        If the loss becomes infinite or no number.
    """
    first, of_hull = loss(), spread() if spread else None
    best = Best(_copy(state()), 0, first, [_said(0, first, of_hull)])
    smallest = _score(first, of_hull, first, of_hull)
    for number in range(1, settings["epochs"] + 1):
        epoch(number)
        now, hull_now = loss(), spread() if spread else None
        print(f"epoch {number}: validation loss {now:.6g}", flush=True)
        if not np.isfinite(now):
            raise TaskError("diverged", f"the validation loss became {now}; use a smaller learning_rate")
        best.epochs.append(_said(number, now, hull_now))
        advance(1)
        score = _score(now, hull_now, first, of_hull)
        if score < smallest and (spread is None or now < first):
            best.loss, best.state, best.epoch, smallest = now, _copy(state()), number, score
        elif number - best.epoch >= settings["patience"]:
            break
    return best


def _said(number: int, loss: float, spread: float | None) -> dict[str, Any]:
    return {"epoch": number, "validation_loss": loss, **({} if spread is None else {"hull_spread": spread})}


def _score(loss: float, spread: float | None, first: float, of_hull: float | None) -> float:
    """What the best epoch has least of."""
    if spread is None or of_hull is None:
        return loss
    return ((loss / first if first > 0.0 else 1.0) + max(spread, FLOOR) / max(of_hull, FLOOR)) / 2.0


def spread_of(energies: Any, records: Sequence[dict[str, Any]], request: dict[str, Any]) -> float:
    """Root-mean-square error of the reactions that a request says of the crystals that it watches, eV/atom.

    Parameters
    ----------
    energies : ndarray, shape (n,)
        Of the crystals, eV per cell.
    records : sequence of dict
        The crystals.
    request : dict
        With ``reactions`` and ``reaction_energies``.
    """
    by_atom = np.asarray(energies, dtype=float) / [len(record["numbers"]) for record in records]
    errors = np.array(request["reactions"]) @ by_atom - np.array(request["reaction_energies"])
    return float(np.sqrt(np.mean(errors**2)))


def _copy(state: dict[str, Any]) -> dict[str, Any]:
    return {name: item.detach().cpu().clone() if isinstance(item, torch.Tensor) else item for name, item in state.items()}


def cosine(settings: dict[str, Any]) -> dict[str, Any]:
    """Arguments of torch's ``CosineAnnealingLR``."""
    return {"T_max": settings["epochs"], "eta_min": FINAL_RATE * settings["learning_rate"]}


def weights_of(settings: dict[str, Any]) -> tuple[float, float, float]:
    """Weights of energies (eV/atom), forces (eV/Å) and stresses (GPa) in the loss."""
    return ENERGY_WEIGHT, settings["force_weight"], settings["stress_weight"]


def loss_of(found: dict[str, Any], records: Sequence[dict[str, Any]], settings: dict[str, Any]) -> float:
    """The loss of :func:`coevo.models.external.fitting.judged`: what a network says of frames against their labels.

    Parameters
    ----------
    found : dict
        ``energies`` (n,; eV per cell), ``forces`` (N, 3; eV/Å) and ``stresses`` (n, 3, 3; eV/Å³, ASE sign).
    records : sequence of dict
        Frames with their labels.
    settings : dict
    """
    differences = (
        (found["energies"] - [record["energy"] for record in records]) / [len(record["numbers"]) for record in records],
        (found["forces"] - np.concatenate([record["forces"] for record in records])).ravel(),
        GPA * (found["stresses"] - np.array([record["stress"] for record in records])).ravel(),
    )
    return sum(weight * _huber(difference) for weight, difference in zip(weights_of(settings), differences))  # noqa: B905


def _huber(difference: Any) -> float:
    size = np.abs(difference)
    return float(np.where(size <= DELTA, 0.5 * size**2, DELTA * (size - 0.5 * DELTA)).mean())


def in_batches(predict: Callable[[Any], dict[str, Any]], items: Sequence[Any], size: int) -> dict[str, Any]:
    """What a network says of all items, at most ``size`` at a time."""
    parts = [predict(items[start : start + size]) for start in range(0, len(items), size)]
    return {name: np.concatenate([part[name] for part in parts]) for name in ("energies", "forces", "stresses")}


def check_written(best: Best, found: float) -> None:
    """Make sure that what was written is the model that was trained.

    Parameters
    ----------
    best : Best
    found : float
        The validation loss of the model that was read again.

    Raises
    ------
    TaskError
        If that is another one.
    """
    if not abs(found - best.loss) <= 1e-3 * abs(best.loss) + 1e-9:
        raise TaskError(
            "checkpoint", f"the model has validation loss {best.loss:.6g}, and {found:.6g} when it is read from its checkpoint"
        )
