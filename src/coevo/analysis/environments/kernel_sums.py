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

from typing import TYPE_CHECKING

import numpy as np

from coevo.analysis.environments.kernel_blocks import Blocks, Frame, middle
from coevo.analysis.environments.kernel_products import Precision, products
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

_FEW_COLUMNS = 512
_FEW_PAIRS = 2**20
_PAIRS_AT_A_TIME = 2**17


def kernel_sums(
    Y: FloatArray,
    X: FloatArray,
    bandwidth: float,
    *,
    relative: bool = True,
    precision: Precision = "float64",
    device: str = "cpu",
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
    precision : {"float64", "float32"}
        Of the products; sums are always double. Single precision takes about 3/4 of the time on a CPU and has relative errors of
        the sums up to about 1e-4, 1e-5 on average, which is what it costs an entropy in nats.
    device : str
        ``"cpu"`` (numpy); ``"cuda"``, ``"cuda:1"``, … (torch on a GPU); ``"torch"`` (torch on the CPU).

    Returns
    -------
    ndarray, shape (M,)

    Raises
    ------
    AnalysisError
        If shapes do not fit, a number is not finite, or bandwidth, precision or device are not allowed.
    """
    _check(Y, X, bandwidth)
    if len(Y) == 0 or len(X) == 0:
        return np.zeros(len(Y))
    if device == "cpu" and precision == "float64" and (len(X) <= _FEW_COLUMNS or len(X) * len(Y) <= _FEW_PAIRS):
        return _all_pairs(Y, X, bandwidth)
    frame = Frame.of(X, bandwidth)
    columns = Blocks.of(X, frame)
    cut = np.log(len(X)) - np.log(LEFT_OUT)
    if Y is X:
        return _accumulate(columns, columns, cut, precision, device)[0]
    sums = _accumulate(Blocks.of(Y, frame), columns, cut, precision, device)[0]
    while relative and cut < _LARGEST_EXPONENT:
        weak = np.flatnonzero(sums * _RELATIVE < len(X) * np.exp(-cut))
        if not len(weak):
            break
        cut = min(2.0 * cut, _LARGEST_EXPONENT)
        sums[weak] = _accumulate(Blocks.of(Y[weak], frame), columns, cut, precision, device)[0]
    return sums


def both_kernel_sums(
    Y: FloatArray, X: FloatArray, bandwidth: float, *, precision: Precision = "float64", device: str = "cpu"
) -> tuple[FloatArray, FloatArray]:
    """Sums of K(Y, X) over X, shape (M,), and over Y, shape (N,), at the cost of one; absolute error below 1e-12.

    Parameters and errors as in :func:`kernel_sums`.
    """
    _check(Y, X, bandwidth)
    if len(Y) == 0 or len(X) == 0:
        return np.zeros(len(Y)), np.zeros(len(X))
    frame = Frame.of(X, bandwidth)
    cut = np.log(max(len(X), len(Y))) - np.log(LEFT_OUT)
    return _accumulate(Blocks.of(Y, frame), Blocks.of(X, frame), cut, precision, device)


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


def _accumulate(rows: Blocks, columns: Blocks, cut: float, precision: Precision, device: str) -> tuple[FloatArray, FloatArray]:
    """Sums over the columns and over the rows, in the order the rows and columns were handed over.

    Where both are the same blocks, each pair of them is multiplied once, and the first result holds all.
    """
    symmetric = rows is columns
    multiply = products(rows, columns, precision, device)
    radius = float(np.sqrt(2.0 * cut))
    over_columns, over_rows = np.zeros(len(rows.Z)), np.zeros(len(columns.Z))
    for row in range(len(rows)):
        near = columns.within(rows, row, radius)
        if symmetric:
            near = near[near >= row]
        start, stop = rows.starts[row : row + 2]
        for ranges in _pieces(near, columns.starts, multiply.piece):
            diagonal = symmetric and ranges[0][0] == start
            of_rows, of_columns = multiply(row, ranges, diagonal=diagonal)
            over_columns[start:stop] += of_rows
            done = 0
            for first, last in ranges:
                if not (diagonal and first == start):
                    over_rows[first:last] += of_columns[done : done + last - first]
                else:
                    over_rows[stop:last] += of_columns[done + stop - start : done + last - first]
                done += last - first
    first_result = np.empty(len(rows.Z))
    first_result[rows.order] = over_columns + over_rows if symmetric else over_columns
    second_result = np.empty(len(columns.Z))
    second_result[columns.order] = over_rows
    return first_result, second_result


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
