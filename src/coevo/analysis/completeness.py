"""How much of what a generator can make has been seen: coverage, a lower bound of the number of minima, and when neither holds.

A *draw* is one structure that the generator made and that ended in a minimum of interest; its *species* is that minimum. The
estimators are those of ecology for a sample of independent draws from one fixed population. They say nothing of what the
generator cannot make, and they are wrong where the population drifts between the batches of draws or where draws are bred from
earlier ones, so nothing is estimated before both are looked for.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, replace
from math import ceil, exp, log, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.analysis.intervals import clopper_pearson

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from numpy.typing import NDArray

Z = 1.959963984540054
"""Quantile of the normal distribution for intervals of 95 %."""
MIN_DRAWS = 10
"""Draws below which nothing is estimated."""
TESTS = ("prediction", "new", "clumped", "again")
"""What is compared between batches: see :class:`Check`."""
PERMUTATIONS = 1999
"""At least; of more samples than ten as many more as the level of each of them asks for."""
MOST_PERMUTATIONS = 19_999
"""p is no smaller than one in so many and one, so beyond 100 samples the level over all of them rises: :attr:`Check.over_all`."""
LEVEL = 0.02
"""Probability that draws of one fixed population are said to be none, over all tests of all samples together."""
_CELLS = 2_000_000
"""Numbers of permuted draws that are in memory together, about."""


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Recapture:
    """Species of two halves of the draws, as animals that are caught twice.

    Attributes
    ----------
    first, second, both : int
        Species in the first half of the batches, in the second, and in both.
    species : Estimate or None
        Chapman's estimate of all of them; None where the halves have none in common, and where the sample is none that an
        estimate can be made of (:attr:`Completeness.note`).
    """

    first: int
    second: int
    both: int
    species: Estimate | None


@dataclass(frozen=True)
class Check:
    """Whether the batches look like draws of one fixed population: Good and Turing's own prediction, and three other tests.

    Attributes
    ----------
    predicted : float
        Coverage by the draws of all batches but the last.
    seen, draws : int
        Draws of the last batch whose species had been seen before, of so many.
    p : dict of str to float
        Share of the permutations of the draws over the batches that are as far from what is usual, in

        - ``prediction``: ``seen/draws`` less ``predicted``;
        - ``new``: numbers of species, and of new species, in the batches;
        - ``clumped``: pairs of draws of one species in one batch (more of them where the population drifts);
        - ``again``: species that are drawn again in the batch of their first draw (fewer where draws are bred from
          earlier batches).
    level : float
        p up to which a test fails.
    over_all : float
        Probability, at most, that one of the tests of all samples together fails although each population is fixed:
        :data:`LEVEL`, and more where there are too many samples for :data:`MOST_PERMUTATIONS`.
    """

    predicted: float
    seen: int
    draws: int
    p: dict[str, float]
    level: float
    over_all: float

    @property
    def failed(self) -> list[str]:
        """Names of the tests that failed."""
        return [name for name, p in self.p.items() if p <= self.level]


@dataclass(frozen=True)
class Completeness:
    """What the draws say of the population that they come from.

    Attributes
    ----------
    draws, species, singletons, doubletons : int
        Draws, species among them, species that were drawn once and twice.
    coverage : Estimate or None
        Probability that the next draw is of a species that was seen.
    richness : Estimate or None
        Lower bound of the number of species.
    recapture : Recapture or None
        None of a single batch.
    check : Check or None
        None if nothing was looked at: of a single batch, or of too few draws.
    note : str
        Why there is no estimate; empty if there is one.
    """

    draws: int
    species: int
    singletons: int
    doubletons: int
    coverage: Estimate | None
    richness: Estimate | None
    recapture: Recapture | None
    check: Check | None
    note: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


def completeness(batches: Sequence[Sequence[Hashable]], *, bred: int = 0, samples: int = 1) -> Completeness:
    """Estimate how much of its population a sample has seen.

    Parameters
    ----------
    batches : sequence of sequence
        Species of each draw, batch by batch, in the order of time.
    bred : int
        Draws that were made from others, of this sample or of an earlier one.
    samples : int
        Samples that are looked at beside each other: the level of the tests is divided by it.

    Returns
    -------
    Completeness
        Without estimates where there are too few draws, or where the sample is none of one fixed population.

    Notes
    -----
    Draws that copy earlier ones by a rule which does not depend on time (an urn of Pólya's) are exchangeable and pass both tests,
    although the population is their own work: no statistic of the draws shows it. So whoever knows that draws were bred says so.
    """
    counts = list(Counter(species for batch in batches for species in batch).values())
    n, f1, f2 = sum(counts), counts.count(1), counts.count(2)
    recapture = _recapture(batches) if len(batches) > 1 and n else None
    check, coverage, richness, note = None, None, None, ""
    if bred:
        note = f"the estimator fails here: {bred} draws were made from others, so they are no independent draws"
    elif n < MIN_DRAWS or f1 == n:
        note = "too few draws" + (f": none of {n} came twice" if n >= MIN_DRAWS else f": {n}, at least {MIN_DRAWS} are needed")
    else:
        check = _check(batches, samples)
        if check is not None and check.failed:
            note = _failure(check)
        else:
            coverage, richness = good_turing(n, f1, f2), chao1(len(counts), n, f1, f2)
    if recapture is not None and note:  # two catches of what is no fixed population are no estimate either
        recapture = replace(recapture, species=None)
    return Completeness(n, len(counts), f1, f2, coverage, richness, recapture, check, note)


def _failure(check: Check) -> str:
    failed = ", ".join(f"{name} p = {check.p[name]:.4f}" for name in check.failed)
    return (
        f"the estimator fails here: the batches are no draws of one fixed population ({failed}; "
        f"{check.predicted:.2f} of the last batch was predicted as seen before, {check.seen} of {check.draws} were)"
    )


def good_turing(n: int, f1: int, f2: int) -> Estimate:
    """Good and Turing's coverage, 1 − f1/n, with Esty's interval.

    Good, Biometrika 1953, 40, 237; variance (f1 (1 − f1/n) + 2 f2)/n²: Esty, Ann. Stat. 1983, 11, 905. That normal interval is
    too narrow for few singletons (none at all for f1 = f2 = 0), so it is widened to Clopper and Pearson's of f1 in n.

    Parameters
    ----------
    n, f1, f2 : int
        Draws; species that were drawn once, and twice. n ≥ 1.
    """
    half = Z * sqrt(f1 * (1 - f1 / n) + 2 * f2) / n
    value = 1 - f1 / n
    rare = clopper_pearson(f1, n)
    return Estimate(value, max(0.0, min(value - half, 1 - rare[1])), min(1.0, max(value + half, 1 - rare[0])))


def chao1(species: int, n: int, f1: int, f2: int) -> Estimate:
    """Chao's lower bound of the number of species, S + f1²/2 f2, with its log-normal interval.

    Chao, Scand. J. Stat. 1984, 11, 265; interval: Chao, Biometrics 1987, 43, 783. Without doubletons the bias-corrected
    S + f1 (f1 − 1)/2 and its variance; without any correction the interval for complete samples; both as in EstimateS.

    Parameters
    ----------
    species, n, f1, f2 : int
        Species and draws; species that were drawn once, and twice. species ≥ 1.
    """
    if f2:
        ratio = f1 / f2
        more, variance = f1 * ratio / 2, f2 * (ratio**4 / 4 + ratio**3 + ratio**2 / 2)
    else:
        more = f1 * (f1 - 1) / 2
        variance = more + f1 * (2 * f1 - 1) ** 2 / 4 - f1**4 / (4 * (species + more))
    if not more:
        missed = exp(-n / species)
        mean, half = species / (1 - missed), Z * sqrt(species * missed) / (1 - missed)
        return Estimate(float(species), max(float(species), mean - half), mean + half)
    factor = exp(Z * sqrt(log(1 + variance / more**2)))
    return Estimate(species + more, species + more / factor, species + more * factor)


def chapman(first: int, second: int, both: int) -> Estimate:
    """Chapman's estimate of a population from two catches, with its normal interval, never below what was caught.

    N = (first + 1)(second + 1)/(both + 1) − 1 (Chapman, Univ. Calif. Publ. Stat. 1951, 1, 131), with the variance
    (first + 1)(second + 1)(first − both)(second − both)/((both + 1)² (both + 2)) (Seber, Biometrika 1970, 57, 313). Species are
    not equally easy to catch, so this too is a lower bound.
    """
    value = (first + 1) * (second + 1) / (both + 1) - 1
    variance = (first + 1) * (second + 1) * (first - both) * (second - both) / ((both + 1) ** 2 * (both + 2))
    caught, half = first + second - both, Z * sqrt(variance)
    return Estimate(value, max(float(caught), value - half), value + half)


def _recapture(batches: Sequence[Sequence[Hashable]]) -> Recapture:
    middle = len(batches) // 2
    first, second = ({s for batch in half for s in batch} for half in (batches[:middle], batches[middle:]))
    both = len(first & second)
    found = chapman(len(first), len(second), both) if both else None
    return Recapture(len(first), len(second), both, found)


def _check(batches: Sequence[Sequence[Hashable]], samples: int) -> Check | None:
    """Compare the batches with permutations of their draws, which are as probable if the population is fixed.

    That makes the tests exact, whatever the population: the draws as they came are one of all rows.
    """
    filled = [batch for batch in batches if batch]
    if len(filled) < 2:
        return None
    numbers: dict[Hashable, int] = {}
    draws = np.array([numbers.setdefault(species, len(numbers)) for batch in filled for species in batch])
    of_batch = np.repeat(np.arange(len(filled)), [len(batch) for batch in filled])
    rng = np.random.default_rng(0)  # the same draws have the same answer
    tests = len(TESTS) * samples
    permutations = max(PERMUTATIONS, min(MOST_PERMUTATIONS, ceil(tests / LEVEL) - 1))
    size = max(1, _CELLS // (len(draws) + 2 * len(filled)))
    parts = [_statistics(draws[None, :], of_batch, len(numbers))]
    for start in range(0, permutations, size):
        rows = np.tile(draws, (min(size, permutations - start), 1))
        parts.append(_statistics(rng.permuted(rows, axis=1), of_batch, len(numbers)))
    predicted, seen, new, clumped, again = (np.concatenate(part) for part in zip(*parts, strict=True))
    last = len(filled[-1])
    level = max(LEVEL / tests, 1 / (permutations + 1))
    return Check(
        predicted=float(predicted[0]),
        seen=int(seen[0]),
        draws=last,
        p=dict(zip(TESTS, map(_as_far, (seen / last - predicted, new, clumped, again)), strict=True)),
        level=level,
        over_all=min(1.0, tests * level),
    )


def _as_far(values: NDArray[Any]) -> float:
    """Share of the rows that are at least as far from the mean as the first one, which is among them.

    Columns, if there are several, are each divided by their standard deviation.
    """
    far = np.zeros(len(values))
    for column in values.reshape(len(values), -1).T:
        spread = column.std()
        far += ((column - column.mean()) / (spread if spread > 0 else 1.0)) ** 2
    return float(np.mean(far >= far[0] * (1 - 1e-9)))


def _statistics(draws: NDArray[Any], of_batch: NDArray[Any], species: int) -> tuple[NDArray[Any], ...]:
    """What is compared, from the pairs of species and batch that occur: the cost is that of sorting the draws.

    Parameters
    ----------
    draws : ndarray of int, shape (rows, n)
        Species of each draw, numbered from 0.
    of_batch : ndarray of int, shape (n,)
    species : int

    Returns
    -------
    tuple of ndarray, each of shape (rows,) but the third
        Coverage predicted from all batches but the last; draws of the last batch that had been seen; numbers of species and of
        new species in each batch, shape (rows, 2 batches); sum of squared counts; species drawn again in the batch of their first
        draw.
    """
    rows, batches = len(draws), int(of_batch[-1]) + 1
    keys = np.sort((np.arange(rows)[:, None] * species + draws) * batches + of_batch, axis=1).ravel()
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    counts = np.diff(starts, append=len(keys))
    (owner, batch), row = np.divmod(keys[starts], batches), starts // draws.shape[1]
    first = np.concatenate([[True], owner[1:] != owner[:-1]])

    def per_row(chosen: NDArray[Any], weights: NDArray[Any] | None = None) -> NDArray[Any]:
        return np.bincount(row[chosen], None if weights is None else weights[chosen], minlength=rows)

    def per_batch(chosen: NDArray[Any]) -> NDArray[Any]:
        found = np.bincount(row[chosen] * batches + batch[chosen], minlength=rows * batches)
        return found.reshape(rows, batches).astype(np.int32)

    totals = np.bincount(draws[0], minlength=species)  # of each row, for it is a permutation of the others
    in_last = batch == batches - 1
    total = totals[owner % species]
    early = total - counts
    once = np.count_nonzero(totals == 1) - per_row(in_last & (total == 1)) + per_row(in_last & (early == 1))
    predicted = 1 - once / np.count_nonzero(of_batch < batches - 1)
    seen = per_row(in_last & (early > 0), counts)
    columns = np.concatenate([per_batch(np.ones(len(starts), dtype=bool)), per_batch(first)], axis=1)
    return predicted, seen, columns, per_row(counts > 0, counts**2), per_row(first & (counts > 1))
