"""Intervals of proportions that were counted: Wilson's score interval and Clopper and Pearson's exact one.

Both treat what was counted as independent draws. Wilson's keeps its confidence on average over the proportions, Clopper and
Pearson's at least, for each of them: the first is for shares of many, the second for few.
"""

from __future__ import annotations

from coevo.errors import AnalysisError

CONFIDENCE = 0.95


def wilson(k: float, n: float, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Wilson score interval of a proportion (Wilson, J. Am. Stat. Assoc. 1927, 22, 209).

    With p = k/n and z the quantile of the normal distribution at (1 + confidence)/2, the centre is (p + z²/2n)/(1 + z²/n) and
    the half width z sqrt(p(1 - p)/n + z²/4n²)/(1 + z²/n).

    Parameters
    ----------
    k : float
        Counted.
    n : float
        Of so many; a number of draws in effect, where the draws were weighted, need not be whole.
    confidence : float
        Between 0 and 1.

    Returns
    -------
    low, high : float
        0 for none and 1 for all exactly.

    Raises
    ------
    AnalysisError
        If the numbers are no proportion, or the confidence is none.
    """
    from scipy.special import ndtri

    _check(k, n, confidence)
    p, z = k / n, float(ndtri(0.5 + confidence / 2))
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * (p * (1 - p) / n + z * z / (4 * n * n)) ** 0.5 / (1 + z * z / n)
    # The bounds of none and of all are exact.
    return (0.0 if k == 0 else max(0.0, centre - half)), (1.0 if k == n else min(1.0, centre + half))


def clopper_pearson(k: int, n: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Exact interval of a proportion (Clopper and Pearson, Biometrika 1934, 26, 404).

    The bounds are the (1 - confidence)/2 quantile of Beta(k, n - k + 1) and the (1 + confidence)/2 quantile of
    Beta(k + 1, n - k).

    Parameters
    ----------
    k, n : int
        Counted, of so many.
    confidence : float
        Between 0 and 1.

    Returns
    -------
    low, high : float

    Raises
    ------
    AnalysisError
        As :func:`wilson`.
    """
    from scipy.special import betaincinv

    _check(k, n, confidence)
    tail = (1 - confidence) / 2
    low = 0.0 if k == 0 else float(betaincinv(k, n - k + 1, tail))
    high = 1.0 if k == n else float(betaincinv(k + 1, n - k, 1 - tail))
    return low, high


def _check(k: float, n: float, confidence: float) -> None:
    if not 0 <= k <= n or n == 0:
        raise AnalysisError(f"{k} of {n} is no proportion")
    if not 0 < confidence < 1:
        raise AnalysisError(f"confidence {confidence} is not allowed; give a number between 0 and 1, such as 0.95")
