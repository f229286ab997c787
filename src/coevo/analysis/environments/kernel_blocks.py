"""Rows of descriptors sorted into compact blocks, so that pairs of blocks too far apart to matter are never looked at."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

BLOCK = 128
"""Rows in a block: small enough to be compact, large enough for a matrix product."""

_AXES = 16
_ROWS_OF_A_MEDIAN = 500


def middle(X: FloatArray) -> FloatArray:
    """Median of evenly spaced rows (N, d).

    An origin: distances do not change when it moves, and squares cancel less near it. Not a mean, because one row of two atoms on
    top of each other (1e16) would pull that so far away that all other rows lose their digits.
    """
    return np.median(X[:: max(1, len(X) // _ROWS_OF_A_MEDIAN)], axis=0)


@dataclass(frozen=True)
class Frame:
    """Origin, unit and axes that two sets of rows share.

    Attributes
    ----------
    origin : ndarray, shape (d,)
    bandwidth : float
        h, the unit of length.
    axes : ndarray, shape (d, m)
        Orthonormal: the directions in which the rows spread most.
    """

    origin: FloatArray
    bandwidth: float
    axes: FloatArray

    @classmethod
    def of(cls, X: FloatArray, bandwidth: float) -> Frame:
        """Frame of rows (N, d): about their median, with their leading principal axes."""
        origin = middle(X)
        # The axes are a choice, not an approximation: any orthonormal ones give the same sums.
        mean = X.mean(axis=0)
        _, vectors = np.linalg.eigh(X.T @ X - len(X) * np.outer(mean, mean))
        return cls(origin, bandwidth, np.ascontiguousarray(vectors[:, : -_AXES - 1 : -1]))


@dataclass(frozen=True)
class Blocks:
    """Rows in units of h, sorted by a k-d tree on the frame's axes, in blocks with bounding boxes.

    Attributes
    ----------
    Z : ndarray, shape (N, d)
        The sorted rows, (x - origin) / h.
    order : ndarray of int, shape (N,)
        Where each came from: ``X[order]``.
    starts : tuple of int
        Block ``i`` holds rows ``starts[i]:starts[i + 1]``.
    centres : ndarray, shape (n_blocks, d)
        Medians of some rows of each block.
    low, high : ndarray, shape (n_blocks, m)
        Bounding boxes on the axes.
    """

    Z: FloatArray
    order: NDArray[np.int64]
    starts: tuple[int, ...]
    centres: FloatArray
    low: FloatArray
    high: FloatArray

    @classmethod
    def of(cls, X: FloatArray, frame: Frame) -> Blocks:
        """Sort rows (N, d) into blocks."""
        P = (X @ frame.axes - frame.origin @ frame.axes) / frame.bandwidth
        parts = _leaves(P)
        order = np.concatenate(parts)
        starts = tuple(np.concatenate([[0], np.cumsum([len(part) for part in parts])]).tolist())
        Z = X[order]
        Z -= frame.origin
        Z /= frame.bandwidth
        return cls(
            Z,
            order,
            starts,
            np.array([np.median(Z[start:stop:8], axis=0) for start, stop in pairwise(starts)]),
            np.array([P[part].min(axis=0) for part in parts]),
            np.array([P[part].max(axis=0) for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.starts) - 1

    def within(self, other: Blocks, index: int, radius: float) -> NDArray[np.int64]:
        """Blocks of this set that may hold a row within ``radius`` (units of h) of block ``index`` of ``other``.

        Projections onto orthonormal axes are never further apart than the rows themselves, so the gap between two boxes is a
        lower bound on every distance between the two blocks: none that is left out has a pair within the radius.
        """
        gaps = np.maximum(self.low - other.high[index], other.low[index] - self.high)
        np.maximum(gaps, 0.0, out=gaps)
        # The margin is for the rounding of projections.
        return np.flatnonzero(np.einsum("ij,ij->i", gaps, gaps) <= radius * radius * (1.0 + 1e-9) + 1e-9)


def _leaves(P: FloatArray) -> list[NDArray[np.int64]]:
    """Leaves of a k-d tree over the rows of P, in order: at most :data:`BLOCK` rows each, all but few of them full."""
    leaves: list[NDArray[np.int64]] = []
    waiting = [np.arange(len(P))]
    while waiting:
        rows = waiting.pop()
        if len(rows) <= BLOCK:
            leaves.append(rows)
            continue
        inside = P[rows]
        axis = int(inside.var(axis=0).argmax())
        sorted_rows = rows[np.argsort(inside[:, axis], kind="stable")]
        half = -(-len(rows) // BLOCK) // 2 * BLOCK
        waiting += [sorted_rows[half:], sorted_rows[:half]]
    return leaves
