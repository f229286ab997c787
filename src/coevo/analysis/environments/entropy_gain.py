"""Which structures add most new environments: greedy choice by the gain, evaluated only where it can matter."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from coevo.analysis.environments.kernel_sums import kernel_sums

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]

NO_GAIN = 1e-9
"""Gains that differ by less are equal, and a smaller one is none."""

_ROWS_AT_A_TIME = 16384
_CANDIDATES_AT_A_TIME = 64
_MOST_CANDIDATES_AT_A_TIME = 1024
_LARGEST_STACKED = 64


def greedy_entropy_gain(batches: Sequence[FloatArray], base: FloatArray, bandwidth: float, budget: int) -> list[int]:
    """Choose structures one after the other, each time the one that adds most new environments.

    The gain of a structure is sum_i max(0, 1 - p_i) / q_i over its environments, where p_i = exp(-dH_i) counts the known
    environments like i (those of ``base`` and of the structures chosen before) and q_i >= 1 those in the structure itself: the
    effective number of different environments it adds. An environment saturates at 1 however far it lies from all others, and
    symmetry-equivalent atoms count once, so that neither outliers nor large cells win by themselves.

    A choice adds non-negative terms to every p_i, so no gain ever rises (the function is submodular): a gain computed earlier
    is an upper bound, and only structures whose bound reaches the best gain found are looked at again (lazy greedy, Minoux
    1978). The choice is that of computing all gains at every step.

    Parameters
    ----------
    batches : sequence of ndarray, shape (n_atoms, d)
        Environments of each structure.
    base : ndarray, shape (N, d)
        Known environments; may be empty.
    bandwidth : float
        1/Å.
    budget : int
        Structures to choose, at most.

    Returns
    -------
    list of int
        Indices into ``batches``, in order of choice; the first of equals. Shorter than ``budget`` when nothing more is new.
    """
    sizes = np.array([len(batch) for batch in batches], dtype=np.int64)
    if budget <= 0 or sizes.sum() == 0:
        return []
    gains = _Gains(batches, sizes, base, bandwidth)
    while len(gains.chosen) < min(budget, len(batches)):
        best = gains.best()
        if best is None:
            break
        gains.choose(best)
    return gains.chosen


class _Gains:
    """Upper bounds on the gains of all candidates, and which of the chosen structures each one accounts for."""

    def __init__(self, batches: Sequence[FloatArray], sizes: IntArray, base: FloatArray, bandwidth: float):
        self.batches, self.bandwidth = batches, bandwidth
        self.chosen: list[int] = []
        self._starts = np.concatenate([[0], np.cumsum(sizes)])
        self._own = np.empty(int(self._starts[-1]))
        self._known = np.zeros(len(self._own))
        self._accounted = np.zeros(len(batches), dtype=np.int64)
        for first, last in self._slabs():
            rows = slice(int(self._starts[first]), int(self._starts[last]))
            self._own[rows] = _sums_within(batches[first:last], bandwidth)
            if len(base):
                everything = np.concatenate([batch for batch in batches[first:last] if len(batch)])
                self._known[rows] = kernel_sums(everything, base, bandwidth, relative=False)
        self._bounds = np.full(len(batches), -1.0)
        for candidate in np.flatnonzero(sizes).tolist():
            self._bounds[candidate] = self._gain(candidate)

    def best(self) -> int | None:
        """Return the first of the candidates with the largest gain, if that is a gain at all."""
        at_a_time = _CANDIDATES_AT_A_TIME
        while True:
            fresh = self._accounted == len(self.chosen)
            largest = self._bounds[fresh].max(initial=-1.0)
            stale = np.flatnonzero(~fresh & (self._bounds >= largest - NO_GAIN) & (self._bounds > 0.0))
            if not len(stale):
                break
            # The most promising first: they raise the mark for the others.
            first = np.argsort(-self._bounds[stale], kind="stable")[:at_a_time]
            self._refresh(np.sort(stale[first]))
            at_a_time = min(2 * at_a_time, _MOST_CANDIDATES_AT_A_TIME)
        if largest <= 0.0:
            return None
        # Equal gains differ by rounding; the first of them is taken.
        best = int(np.flatnonzero(fresh & (self._bounds >= largest - NO_GAIN))[0])
        return best if self._bounds[best] > NO_GAIN else None

    def choose(self, candidate: int) -> None:
        self.chosen.append(candidate)
        self._bounds[candidate] = -1.0

    def _refresh(self, candidates: IntArray) -> None:
        """Account for the choices made since the gains of these candidates were computed, in the order of choice."""
        for done in np.unique(self._accounted[candidates]).tolist():
            same = [c for c in candidates.tolist() if self._accounted[c] == done]
            rows = np.concatenate([np.arange(self._starts[c], self._starts[c + 1]) for c in same])
            everything = np.concatenate([self.batches[c] for c in same])
            missed = np.concatenate([self.batches[c] for c in self.chosen[done:]])
            self._known[rows] += kernel_sums(everything, missed, self.bandwidth, relative=False)
        self._accounted[candidates] = len(self.chosen)
        for candidate in candidates.tolist():
            self._bounds[candidate] = self._gain(candidate)

    def _gain(self, candidate: int) -> float:
        rows = slice(int(self._starts[candidate]), int(self._starts[candidate + 1]))
        return float(np.sum(np.maximum(0.0, 1.0 - self._known[rows]) / self._own[rows]))

    def _slabs(self) -> Iterator[tuple[int, int]]:
        """Ranges of candidates with a bounded number of rows in all (or a single candidate)."""
        first = 0
        while first < len(self.batches):
            last = int(np.searchsorted(self._starts, self._starts[first] + _ROWS_AT_A_TIME, side="right")) - 1
            last = min(max(last, first + 1), len(self.batches))
            if self._starts[last] > self._starts[first]:
                yield first, last
            first = last


def _sums_within(batches: Sequence[FloatArray], bandwidth: float) -> FloatArray:
    """Kernel sums of each batch with itself, one after the other; batches of one size are worked on together."""
    by_size: dict[int, list[int]] = {}
    for index, batch in enumerate(batches):
        by_size.setdefault(len(batch), []).append(index)
    found: list[FloatArray] = [np.empty(0)] * len(batches)
    for size, members in by_size.items():
        if size > _LARGEST_STACKED:
            for index in members:
                found[index] = kernel_sums(batches[index], batches[index], bandwidth)
            continue
        stacked = np.stack([batches[index] for index in members])
        stacked = (stacked - stacked[:, :1]) / bandwidth if size else stacked
        squares = np.einsum("bij,bij->bi", stacked, stacked)
        exponents = stacked @ stacked.transpose(0, 2, 1) - 0.5 * (squares[:, :, None] + squares[:, None, :])
        for index, sums in zip(members, np.exp(np.minimum(exponents, 0.0)).sum(axis=2), strict=True):
            found[index] = sums
    return np.concatenate(found)
