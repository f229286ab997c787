"""Entropy of local environments: of a set, of new rows given a set, and at a fixed sample size with error bars.

Definitions are those of QUESTS (Schwalbe-Koda et al., "Model-free estimation of completeness, uncertainties, and outliers in
atomistic machine learning using information theory", Nat. Commun. 2025).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from coevo.analysis.environments.kernel_sums import kernel_sums
from coevo.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

MAX_DELTA_ENTROPY = float(-np.log(np.finfo(np.float64).tiny))
"""nats; delta entropies are clipped here (708.4), where the kernel underflows."""

NOTHING_NEW = 1e-9
"""nats; rounding alone makes the delta entropy of a known environment this large."""


@dataclass(frozen=True)
class EntropyEstimate:
    """Entropy of a sample of fixed size.

    Attributes
    ----------
    mean : float
        Over the subsamples, nats.
    standard_error : float or None
        Of the mean, over the subsamples; None with a single one.
    n : int
        Environments in each subsample.
    ln_n : float
        The largest value possible, nats: near it the entropy says only that the sample is too small.
    """

    mean: float
    standard_error: float | None
    n: int
    ln_n: float


@dataclass(frozen=True)
class EntropyBySpecies:
    """Entropies of all environments and of those about each species, all at one sample size.

    Attributes
    ----------
    total : EntropyEstimate or None
        None: fewer environments than the sample size, no signal.
    per_species : dict of str to EntropyEstimate or None
        By the species of the centre.
    counts : dict of str to int
        Environments about each species.
    """

    total: EntropyEstimate | None
    per_species: dict[str, EntropyEstimate | None]
    counts: dict[str, int]


def entropy(X: FloatArray, bandwidth: float) -> float:
    """Information entropy H = -(1/N) sum_i ln[(1/N) sum_j exp(-|x_i - x_j|^2 / 2 h^2)] (QUESTS, eq. 1).

    Parameters
    ----------
    X : ndarray, shape (N, d)
    bandwidth : float
        h, 1/Å.

    Returns
    -------
    float
        nats, between 0 and ln N.

    Raises
    ------
    AnalysisError
        If there is no environment, or as :func:`~coevo.analysis.environments.kernel_sums.kernel_sums` says.
    """
    if len(X) == 0:
        raise AnalysisError("the entropy of no environments is not defined; give at least one row")
    return entropy_of_sums(kernel_sums(X, X, bandwidth))


def entropy_of_sums(sums: FloatArray) -> float:
    """Entropy from the kernel sums (N,) of a set with itself, nats."""
    return float(-np.mean(np.log(sums / len(sums))))


def delta_entropy(Y: FloatArray, X: FloatArray, bandwidth: float) -> FloatArray:
    """Differential entropy dH(y|X) = -ln sum_j exp(-|y - x_j|^2 / 2 h^2) of each environment y (QUESTS, eq. 3).

    Positive: the environment is new with respect to X. Clipped at :data:`MAX_DELTA_ENTROPY`, also where X is empty.

    Returns
    -------
    ndarray, shape (len(Y),)
        nats.
    """
    sums = kernel_sums(Y, X, bandwidth) if len(X) else np.zeros(len(Y))
    return -np.log(np.maximum(sums, np.finfo(np.float64).tiny))


def sampled_entropy(X: FloatArray, n: int, bandwidth: float, *, subsamples: int, seed: int) -> EntropyEstimate | None:
    """Entropy at a fixed sample size, because entropies of different N do not compare.

    Parameters
    ----------
    X : ndarray, shape (N, d)
        The result depends on the order of the rows: hand them over in a reproducible one.
    n : int
        Environments in a subsample, drawn without replacement.
    bandwidth : float
        1/Å.
    subsamples : int
        Five or more give an error bar worth its name.
    seed : int

    Returns
    -------
    EntropyEstimate or None
        None when there are fewer than ``n`` environments: no signal, never a smaller sample.
    """
    samples = draws(len(X), n, subsamples, seed)
    return drawn_entropy([X[rows] for rows in samples], bandwidth)


def draws(size: int, n: int, subsamples: int, seed: int) -> list[NDArray[np.int64]]:
    """Rows of each subsample, sorted; no subsample where there are fewer than ``n`` rows: no signal, never a smaller sample."""
    if size < n:
        return []
    rng = np.random.default_rng(seed)
    return [np.sort(rng.choice(size, size=n, replace=False)) for _ in range(subsamples)]


def drawn_entropy(samples: Sequence[FloatArray], bandwidth: float) -> EntropyEstimate | None:
    """Mean and standard error of the entropies of subsamples of one size; None without any."""
    if not samples:
        return None
    n = len(samples[0])
    values = np.array([entropy(sample, bandwidth) for sample in samples])
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    return EntropyEstimate(float(values.mean()), error, n, float(np.log(n)))


def sampled_entropies(
    X: FloatArray, species: Sequence[str], n: int, bandwidth: float, *, elements: Sequence[str], subsamples: int, seed: int
) -> EntropyBySpecies:
    """Entropy of all environments and of those about each species, at one sample size (:func:`sampled_entropy`).

    Parameters
    ----------
    X : ndarray, shape (N, d)
    species : sequence of str, length N
        Species of the centre of each row.
    n : int
        Environments in a subsample, of all and of each species.
    bandwidth : float
        1/Å.
    elements : sequence of str
        Species to report, in this order; one that has no environment is reported as no signal.
    subsamples : int
    seed : int
        The same for the total and for each species.

    Raises
    ------
    AnalysisError
        If there is not one species for each row, or one that ``elements`` does not name.
    """
    symbols = np.asarray(species, dtype=str)
    if len(symbols) != len(X):
        raise AnalysisError(f"got {len(symbols)} species for {len(X)} environments; one each is needed")
    unknown = sorted(set(symbols.tolist()) - set(elements))
    if unknown:
        raise AnalysisError(
            f"environments about {', '.join(unknown)} are not among the elements {', '.join(elements)}; name them"
        )
    rows = {symbol: np.flatnonzero(symbols == symbol) for symbol in elements}
    return EntropyBySpecies(
        sampled_entropy(X, n, bandwidth, subsamples=subsamples, seed=seed),
        {symbol: sampled_entropy(X[mine], n, bandwidth, subsamples=subsamples, seed=seed) for symbol, mine in rows.items()},
        {symbol: len(mine) for symbol, mine in rows.items()},
    )
