"""Sums of Gaussian kernels over sets of rows: what entropies are made of.

A sum over N rows costs O(N) products a row. Three things make it cheap without approximating what is reported: terms below a
bound are left out (blocks of rows too far apart are never multiplied), K(X, X) is symmetric, and products run in blocks that fit
the cache. Memory beside a sorted copy of the rows does not grow with N.

Bound: with the cut c = ln N - ln(1e-12), blocks are left out only where every exponent is below -c, so all left-out terms of a
row together are below N exp(-c) = 1e-12. In K(X, X) each sum holds its own term 1, so its relative error, and the absolute
error of an entropy in nats, is below 1e-12 too. In K(Y, X) sums may be small; rows whose sum is not at least 1e9 times the
bound are done again with a larger cut, so that their relative error is below 1e-9 down to the smallest numbers.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from coevo.analysis.environments.kernel_blocks import Blocks, Frame, middle
from coevo.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

LEFT_OUT = 1e-12
"""All terms that a sum leaves out are together smaller than this."""

_LARGEST_EXPONENT = 800.0
"""exp(-800) is zero in double precision."""
_RELATIVE = 1e-9
_LARGEST_DESCRIPTOR = 1e100

PIECE = 1024
"""Columns of a product: the product (1 MB) stays in the cache between its steps."""
_FEW_COLUMNS = 512
_FEW_PAIRS = 2**20
_PAIRS_AT_A_TIME = 2**17


def kernel_sums(
    Y: FloatArray,
    X: FloatArray,
    bandwidth: float,
    *,
    relative: bool = True,
) -> FloatArray:
    """Sum_j exp(-|y_i - x_j|^2 / 2 h^2) of each row y_i.

    Parameters
    ----------
    Y : ndarray, shape (M, d)
    X : ndarray, shape (N, d)
        Where Y is X (the same object), half of the products are saved.
    bandwidth : float
        h, 1/Å.
    relative : bool
        Keep the relative error below 1e-9 where the sum is small too (for its logarithm); otherwise the absolute error below
        1e-12 is enough (for counts of known environments).

    Returns
    -------
    ndarray, shape (M,)

    Raises
    ------
    AnalysisError
        If shapes do not fit, a number is not finite, or the bandwidth is not allowed.
    """
    _check(Y, X, bandwidth)
    if len(Y) == 0 or len(X) == 0:
        return np.zeros(len(Y))
    if len(X) <= _FEW_COLUMNS or len(X) * len(Y) <= _FEW_PAIRS:
        return _all_pairs(Y, X, bandwidth)
    frame = Frame.of(X, bandwidth)
    columns = Blocks.of(X, frame)
    cut = np.log(len(X)) - np.log(LEFT_OUT)
    if Y is X:
        return _accumulate(columns, columns, cut)
    sums = _accumulate(Blocks.of(Y, frame), columns, cut)
    while relative and cut < _LARGEST_EXPONENT:
        weak = np.flatnonzero(sums * _RELATIVE < len(X) * np.exp(-cut))
        if not len(weak):
            break
        cut = min(2.0 * cut, _LARGEST_EXPONENT)
        sums[weak] = _accumulate(Blocks.of(Y[weak], frame), columns, cut)
    return sums


def _all_pairs(Y: FloatArray, X: FloatArray, bandwidth: float) -> FloatArray:
    """Kernel sums of each row of Y over X with no term left out: for sets so small that sorting them would take longer."""
    origin = middle(X)
    right = (X - origin) / bandwidth
    squares = np.einsum("ij,ij->i", right, right)
    squares *= 0.5
    sums = np.empty(len(Y))
    at_a_time = max(1, _PAIRS_AT_A_TIME // len(X))
    for start in range(0, len(Y), at_a_time):
        left = right[start : start + at_a_time] if Y is X else (Y[start : start + at_a_time] - origin) / bandwidth
        block = left @ right.T
        block -= squares
        block -= 0.5 * np.einsum("ij,ij->i", left, left)[:, None]
        np.minimum(block, 0.0, out=block)
        if Y is X:
            # The term of a row with itself is exactly 1.
            np.fill_diagonal(block[:, start:], 0.0)
        np.exp(block, out=block)
        sums[start : start + at_a_time] = block.sum(axis=1)
    return sums


def _check(Y: FloatArray, X: FloatArray, bandwidth: float) -> None:
    if not (np.isfinite(bandwidth) and bandwidth > 0):
        raise AnalysisError(f"bandwidth {bandwidth} is not allowed; give a positive length in 1/Å, such as 0.015")
    if Y.ndim != 2 or X.ndim != 2 or (len(Y) and len(X) and Y.shape[1] != X.shape[1]):
        raise AnalysisError(f"got rows of shapes {Y.shape} and {X.shape}; both must be (rows, d) with the same d")
    for rows in (Y,) if Y is X else (Y, X):
        if not (np.abs(rows) < _LARGEST_DESCRIPTOR).all():
            raise AnalysisError("descriptors hold numbers that are not finite; leave the structures out that they come from")


def _accumulate(rows: Blocks, columns: Blocks, cut: float) -> FloatArray:
    """Sums over the columns, in the order the rows were handed over.

    Where both are the same blocks, each pair of them is multiplied once and counts for both.
    """
    symmetric = rows is columns
    product = _Product(rows, columns)
    radius = float(np.sqrt(2.0 * cut))
    over_columns, over_rows = np.zeros(len(rows.Z)), np.zeros(len(columns.Z))
    for row in range(len(rows)):
        near = columns.within(rows, row, radius)
        if symmetric:
            near = near[near >= row]
        start, stop = rows.starts[row : row + 2]
        for ranges in _pieces(near, columns.starts, PIECE):
            diagonal = symmetric and ranges[0][0] == start
            block = product.of(row, ranges, diagonal=diagonal)
            over_columns[start:stop] += block.sum(axis=1)
            if not symmetric:
                continue
            of_columns = block.sum(axis=0)
            done = 0
            for first, last in ranges:
                new = stop if diagonal and first == start else first
                over_rows[new:last] += of_columns[done + new - first : done + last - first]
                done += last - first
    found = np.empty(len(rows.Z))
    found[rows.order] = over_columns + over_rows if symmetric else over_columns
    return found


class _Product:
    """exp(-|y - x|^2 / 2) of one block of rows against some blocks of columns.

    One matrix product gives the exponent, by two extra columns that hold the squares. It is taken about the centre of the block
    of rows: pairs near enough to matter lie near that centre, so that squares are small and their differences keep their digits.
    """

    def __init__(self, rows: Blocks, columns: Blocks):
        self.rows, self.columns = rows, columns
        d = rows.Z.shape[1]
        size = max(stop - start for start, stop in pairwise(rows.starts))
        self._left, self._right = np.empty((size, d + 2)), np.empty((PIECE, d + 2))
        self._left[:, d + 1] = self._right[:, d] = 1.0
        self._out = np.empty(size * PIECE)
        self._row: int | None = None

    def of(self, row: int, columns: list[tuple[int, int]], *, diagonal: bool) -> FloatArray:
        """Return the kernel between a block of rows and ranges of the sorted columns, together at most :data:`PIECE` long.

        ``diagonal``: the first range is the block of rows itself, whose terms with itself are exactly 1.
        """
        d = self.rows.Z.shape[1]
        start, stop = self.rows.starts[row : row + 2]
        centre = self.rows.centres[row]
        left = self._left[: stop - start]
        if self._row != row:
            np.subtract(self.rows.Z[start:stop], centre, out=left[:, :d])
            _minus_half_square(left[:, :d], left[:, d])
            self._row = row
        filled = 0
        for first, last in columns:
            np.subtract(self.columns.Z[first:last], centre, out=self._right[filled : filled + last - first, :d])
            filled += last - first
        right = self._right[:filled]
        _minus_half_square(right[:, :d], right[:, d + 1])
        block = self._out[: len(left) * filled].reshape(len(left), filled)
        np.matmul(left, right.T, out=block)
        if diagonal:
            np.fill_diagonal(block, 0.0)
        # Squares of distances are not negative; rounding can make them so.
        np.minimum(block, 0.0, out=block)
        return np.exp(block, out=block)


def _minus_half_square(rows: FloatArray, out: FloatArray) -> None:
    """Minus half the squared length of each row."""
    np.einsum("ij,ij->i", rows, rows, out=out)
    out *= -0.5


def _pieces(near: NDArray[np.int64], starts: tuple[int, ...], size: int) -> Iterator[list[tuple[int, int]]]:
    """Ranges of columns that the blocks hold, neighbours joined, in pieces of at most ``size`` columns."""
    ranges: list[tuple[int, int]] = []
    length = 0
    for block in near.tolist():
        first, last = starts[block], starts[block + 1]
        if length + last - first > size:
            yield ranges
            ranges, length = [], 0
        if ranges and ranges[-1][1] == first:
            ranges[-1] = (ranges[-1][0], last)
        else:
            ranges.append((first, last))
        length += last - first
    if ranges:
        yield ranges
