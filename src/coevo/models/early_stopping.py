"""When a fit stops and which of its epochs was best: by the loss of the validation frames, and by the hull if it is watched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from pymatgen.core import Structure

    FloatArray = NDArray[np.float64]

FLOOR = 0.002
"""eV/atom; a spread below it is no worse than it, so that a hull which is right already does not outweigh the frames."""


@dataclass(frozen=True)
class HullWatch:
    """Labelled phases whose place on the hull early stopping watches beside the validation loss.

    Attributes
    ----------
    structures : list of Structure
        The phases that are watched and those that they compete with; n of them.
    reactions : ndarray, shape (m, n)
        One row for each phase that is watched: 1 at itself and minus the shares of the atoms at what it would decompose into.
    energies : ndarray, shape (m,)
        Of the reactions by the labels, eV/atom.
    """

    structures: list[Structure]
    reactions: FloatArray
    energies: FloatArray

    def spread(self, energies: FloatArray) -> float:
        """Root-mean-square error of the reaction energies, eV/atom, from energies of the structures, shape (n,), eV/atom."""
        return float(np.sqrt(np.mean((self.reactions @ np.asarray(energies, dtype=float) - self.energies) ** 2)))

    def among(self, usable: Sequence[bool]) -> HullWatch | None:
        """What is left without the structures that a force field cannot take, with the reactions that they are in."""
        kept = np.asarray(usable, dtype=bool)
        rows = ~(self.reactions[:, ~kept] != 0.0).any(axis=1)
        if not rows.any():
            return None
        structures = [structure for structure, keep in zip(self.structures, kept, strict=True) if keep]
        return HullWatch(structures, self.reactions[rows][:, kept], self.energies[rows])


class EarlyStopping:
    """The rule.

    Without a hull the best epoch is that of the smallest validation loss. Where one is watched the score of an epoch is the mean
    of two ratios to the start of the fit, of the losses and of the spreads (of at least :data:`FLOOR`); the best epoch is that of
    the smallest score among those whose loss is below that of the start. Without any the start, epoch 0, is the best.

    Parameters
    ----------
    patience : int
        Epochs in a row that are not the best so far, after which the fit is over.
    loss : float
        Validation loss of the start.
    spread : float or None
        Of the reaction energies that are watched (:class:`HullWatch`), by the start, eV/atom; None: none is.

    Attributes
    ----------
    best_epoch : int

    Examples
    --------
    >>> stopping = EarlyStopping(patience=2, loss=1.0, spread=0.010)
    >>> stopping.is_best(1, 0.8, 0.012)  # 0.8 and 1.2: no better than the start
    False
    >>> stopping.is_best(2, 0.9, 0.006)
    True
    """

    def __init__(self, patience: int, loss: float, spread: float | None = None) -> None:
        self.patience = patience
        self.best_epoch = 0
        self._start = (loss, spread)
        self._spread = spread
        self._best = self._score(loss, spread)

    def is_best(self, epoch: int, loss: float, spread: float | None = None) -> bool:
        """Take note of an epoch; whether it is the best so far."""
        self._spread = spread
        if self._start[1] is not None and not loss < self._start[0]:
            return False
        score = self._score(loss, spread)
        if not score < self._best:
            return False
        self.best_epoch, self._best = epoch, score
        return True

    def is_over(self, epoch: int) -> bool:
        """Whether the patience is at its end after an epoch."""
        return epoch - self.best_epoch >= self.patience

    def said(self) -> dict[str, float]:
        """What the report of a fit says of the epoch that was last seen, beside its losses: ``hull_spread``, eV/atom."""
        return {} if self._spread is None else {"hull_spread": self._spread}

    def _score(self, loss: float, spread: float | None) -> float:
        first, of_hull = self._start
        if of_hull is None or spread is None:
            return loss
        share = loss / first if first > 0.0 else 1.0
        return (share + max(spread, FLOOR) / max(of_hull, FLOOR)) / 2.0
