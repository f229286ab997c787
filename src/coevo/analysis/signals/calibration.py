"""Is a predicted spread worth something: errors of a model against the spread of its committee on the same frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.errors import AnalysisError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

MOST_BINS, MOST_POINTS = 8, 120
FEWEST = 3
"""Frames below which there is no rank correlation."""


def calibration(spreads: ArrayLike, errors: ArrayLike) -> dict[str, Any] | None:
    """Compare predicted spreads with errors.

    Parameters
    ----------
    spreads : array, shape (n,)
        Standard deviation over the committee; NaN leaves a frame out.
    errors : array, shape (n,)
        Absolute errors, in the same unit.

    Returns
    -------
    dict or None
        ``n``, ``spearman`` (rank correlation; None if there is none), ``ratio`` (root mean square error over root mean square
        spread: above one, the committee is too sure of itself; None where it has no spread), ``bins`` (frames sorted by spread in
        groups of equal size: ``n``, ``spread`` and ``error``, root mean squares) and ``points`` (pairs of spread and error,
        evenly taken along the sorted frames, at most :data:`MOST_POINTS`). None without a frame.

    Raises
    ------
    AnalysisError
        If there is not one error for each spread.
    """
    x, y = np.asarray(spreads, dtype=float).ravel(), np.asarray(errors, dtype=float).ravel()
    if x.shape != y.shape:
        raise AnalysisError(f"got {len(x)} spreads and {len(y)} errors; one each is needed")
    there = np.isfinite(x) & np.isfinite(y)
    x, y = x[there], y[there]
    if not len(x):
        return None
    order = np.lexsort((y, x))
    x, y = x[order], y[order]
    groups = [part for part in np.array_split(np.arange(len(x)), min(MOST_BINS, max(1, len(x) // FEWEST))) if len(part)]
    taken = np.unique(np.linspace(0, len(x) - 1, min(MOST_POINTS, len(x))).round().astype(int))
    whole = _rms(x)
    return {
        "n": len(x),
        "spearman": _spearman(x, y),
        "ratio": _rms(y) / whole if whole > 0 else None,
        "bins": [{"n": len(part), "spread": _rms(x[part]), "error": _rms(y[part])} for part in groups],
        "points": [[float(x[i]), float(y[i])] for i in taken],
    }


def _rms(values: Any) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def _spearman(x: Any, y: Any) -> float | None:
    if len(x) < FEWEST or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    from scipy.stats import spearmanr

    return float(spearmanr(x, y).statistic)
