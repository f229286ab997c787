"""Drawing by weight: what ``Generator.choice`` draws, without its checks of the weights at each draw."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def shares(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cumulative shares of weights, which are not negative and not all zero, shape (n,)."""
    cumulative: NDArray[np.float64] = (weights / weights.sum()).cumsum()
    cumulative /= cumulative[-1]
    return cumulative


def weighted(cumulative: NDArray[np.float64], rng: np.random.Generator) -> int:
    """An index drawn by :func:`shares`: that of ``rng.choice(n, p=weights / weights.sum())``, with the same random number."""
    return int(cumulative.searchsorted(rng.random(), side="right"))
