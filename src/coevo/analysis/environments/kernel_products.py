"""The numerical core of kernel sums: exp(-|y - x|^2 / 2) of one block of rows against some blocks, in numpy or torch.

Each product is taken about the centre of the block of rows. Pairs near enough to matter lie near that centre, so their squares
are small and the differences of them keep their digits, which is what makes single precision usable.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from coevo.errors import AnalysisError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coevo.analysis.environments.kernel_blocks import Blocks

    FloatArray = NDArray[np.float64]

Precision = Literal["float64", "float32"]

PIECE = 1024
"""Columns of a product on a CPU: the product (1 MB) stays in the cache between its steps."""
PIECE_ON_DEVICE = 65536


class Products(Protocol):
    """Products between blocks of two sets."""

    piece: int

    def __call__(self, row: int, columns: list[tuple[int, int]], *, diagonal: bool) -> tuple[FloatArray, FloatArray]:
        """Sums of the kernel between one block of rows and some ranges of columns.

        Parameters
        ----------
        row : int
            A block of the rows.
        columns : list of (int, int)
            Ranges of the sorted columns; together at most :attr:`piece` long.
        diagonal : bool
            Whether the first range is the block of rows itself: its terms with itself are exactly 1.

        Returns
        -------
        ndarray, shape (rows in the block,)
            Sums over the columns.
        ndarray, shape (all columns,)
            Sums over the rows.
        """


def products(rows: Blocks, columns: Blocks, precision: Precision, device: str) -> Products:
    """Choose numpy for ``device="cpu"`` and torch for others (``"torch"`` is torch on the CPU).

    Raises
    ------
    AnalysisError
        If the precision or the device is not known, or torch cannot use the device.
    """
    if precision not in ("float64", "float32"):
        raise AnalysisError(f"precision {precision!r} is not known; allowed: float64, float32")
    if device == "cpu":
        return NumpyProducts(rows, columns, precision)
    return TorchProducts(rows, columns, precision, device)


class NumpyProducts:
    """On the CPU; one matrix product gives the exponent, by two extra columns that hold the squares."""

    piece = PIECE

    def __init__(self, rows: Blocks, columns: Blocks, precision: Precision):
        self.rows, self.columns = rows, columns
        d = rows.Z.shape[1]
        size = max(stop - start for start, stop in zip(rows.starts, rows.starts[1:], strict=False))
        dtype = np.dtype(precision)
        self._left = np.empty((size, d + 2), dtype)
        self._right = np.empty((self.piece, d + 2), dtype)
        self._left[:, d + 1] = self._right[:, d] = 1.0
        self._out = np.empty(size * self.piece, dtype)
        self._row: int | None = None

    def __call__(self, row: int, columns: list[tuple[int, int]], *, diagonal: bool) -> tuple[FloatArray, FloatArray]:
        """Sums of the kernel between a block of rows and ranges of columns (:class:`Products`)."""
        d = self.rows.Z.shape[1]
        start, stop = self.rows.starts[row : row + 2]
        centre = self.rows.centres[row]
        left = self._left[: stop - start]
        if self._row != row:
            _about(self.rows.Z[start:stop], centre, left, d)
            self._row = row
        filled = 0
        for first, last in columns:
            right = self._right[filled : filled + last - first]
            np.subtract(self.columns.Z[first:last], centre, out=right[:, :d], casting="same_kind")
            filled += last - first
        right = self._right[:filled]
        _square(right[:, :d], right[:, d + 1])
        block = self._out[: len(left) * filled].reshape(len(left), filled)
        np.matmul(left, right.T, out=block)
        if diagonal:
            np.fill_diagonal(block, 0.0)
        # Squares of distances are not negative; rounding can make them so.
        np.minimum(block, 0.0, out=block)
        np.exp(block, out=block)
        return block.sum(axis=1, dtype=np.float64), block.sum(axis=0, dtype=np.float64)


def _about(Z: FloatArray, centre: FloatArray, out: NDArray[Any], d: int) -> None:
    np.subtract(Z, centre, out=out[:, :d], casting="same_kind")
    _square(out[:, :d], out[:, d])


def _square(rows: NDArray[Any], out: NDArray[Any]) -> None:
    """Minus half the squared length of each row."""
    np.einsum("ij,ij->i", rows, rows, out=out)
    out *= -0.5


class TorchProducts:
    """By torch, on a GPU (``"cuda"``, ``"cuda:1"``, …) or, as ``"torch"``, on the CPU."""

    piece = PIECE_ON_DEVICE

    def __init__(self, rows: Blocks, columns: Blocks, precision: Precision, device: str):
        self._torch, self._device = _open(device)
        self.rows, self.columns = rows, columns
        self._dtype = getattr(self._torch, precision)
        self._rows = self._on_device(rows.Z)
        self._columns = self._rows if columns is rows else self._on_device(columns.Z)
        self._centres = self._on_device(rows.centres)

    def __call__(self, row: int, columns: list[tuple[int, int]], *, diagonal: bool) -> tuple[FloatArray, FloatArray]:
        """Sums of the kernel between a block of rows and ranges of columns (:class:`Products`)."""
        torch = self._torch
        start, stop = self.rows.starts[row : row + 2]
        centre = self._centres[row]
        left = (self._rows[start:stop] - centre).to(self._dtype)
        parts = [self._columns[first:last] for first, last in columns]
        right = ((torch.cat(parts) if len(parts) > 1 else parts[0]) - centre).to(self._dtype)
        block = left @ right.T
        block -= 0.5 * (left * left).sum(1, keepdim=True)
        block -= 0.5 * (right * right).sum(1)
        if diagonal:
            block.fill_diagonal_(0.0)
        block.clamp_(max=0.0).exp_()
        sums = (block.sum(1, dtype=torch.float64), block.sum(0, dtype=torch.float64))
        return sums[0].cpu().numpy(), sums[1].cpu().numpy()

    def _on_device(self, array: FloatArray) -> Any:
        return self._torch.from_numpy(array).to(self._device)


def _open(device: str) -> tuple[Any, Any]:
    """Return torch and its device."""
    if find_spec("torch") is None:
        raise AnalysisError(f"device {device!r} needs torch, which is not installed; use device='cpu', which does not")
    import torch

    try:
        found = torch.device("cpu" if device == "torch" else device)
    except RuntimeError as err:
        raise AnalysisError(f"device {device!r} is not known; allowed: cpu, torch (torch on the CPU), cuda, cuda:0, …") from err
    if found.type == "cuda":
        if not torch.cuda.is_available():
            raise AnalysisError(f"device {device!r} is not there: torch sees no CUDA device; use device='cpu'")
        # Rounding to TF32 would leave three digits of single precision.
        torch.backends.cuda.matmul.allow_tf32 = False
    return torch, found
