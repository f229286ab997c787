"""A set of known environments that grows: its entropy, and what a batch adds, at a cost in proportion to the batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from coevo.analysis.environments.entropy import NOTHING_NEW, delta_entropy, entropy_of_sums
from coevo.analysis.environments.kernel_sums import both_kernel_sums, kernel_sums
from coevo.errors import AnalysisError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coevo.analysis.environments.kernel_products import Precision

    FloatArray = NDArray[np.float64]


class EnvironmentSet:
    """Descriptors with their kernel sums. Adding M rows to N costs M N + M^2 products, not (N + M)^2.

    Each batch costs an absolute error of at most 1e-12 in a sum, and sums are at least 1: after b batches the entropy is that of
    all rows at once to b * 1e-12 nats.

    Parameters
    ----------
    bandwidth : float
        h, 1/Å.
    precision, device
        As in :func:`coevo.analysis.environments.kernel_sums.kernel_sums`.
    """

    def __init__(self, bandwidth: float, *, precision: Precision = "float64", device: str = "cpu"):
        self.bandwidth = bandwidth
        self._precision: Precision = precision
        self._device = device
        self._rows: FloatArray | None = None
        self._sums: FloatArray = np.zeros(0)
        self._size = 0

    @classmethod
    def restore(cls, descriptors: FloatArray, sums: FloatArray, bandwidth: float) -> EnvironmentSet:
        """Take up a set whose :attr:`descriptors` (N, d) and :attr:`sums` (N,) were stored.

        Raises
        ------
        AnalysisError
            If lengths differ, or a sum is below 1, which each row contributes itself.
        """
        if len(descriptors) != len(sums):
            raise AnalysisError(f"got {len(descriptors)} rows and {len(sums)} sums; one sum for each row is needed")
        if not (np.asarray(sums) >= 1.0 - NOTHING_NEW).all():
            raise AnalysisError(
                "a kernel sum is below 1, its own row's term; the stored sums are not of these rows: make them anew"
            )
        found = cls(bandwidth)
        found._append(np.asarray(descriptors, dtype=np.float64), np.asarray(sums, dtype=np.float64))
        return found

    def __len__(self) -> int:
        return self._size

    @property
    def descriptors(self) -> FloatArray:
        """The rows, shape (N, d), in the order they were added; read-only."""
        if self._rows is None:
            return np.empty((0, 0))
        return _read_only(self._rows[: self._size])

    @property
    def sums(self) -> FloatArray:
        """Sum_j exp(-|x_i - x_j|^2 / 2 h^2) of each row over all rows, shape (N,); read-only."""
        return _read_only(self._sums[: self._size])

    def entropy(self) -> float:
        """Entropy of the rows, nats.

        Raises
        ------
        AnalysisError
            If there are none.
        """
        if self._size == 0:
            raise AnalysisError("the entropy of no environments is not defined; add at least one row")
        return entropy_of_sums(self.sums)

    def delta_entropy(self, batch: FloatArray) -> FloatArray:
        """Differential entropy of each row of a batch (M, d) against the set, nats, shape (M,); positive where it is new."""
        return delta_entropy(batch, self.descriptors, self.bandwidth, precision=self._precision, device=self._device)

    def fraction_new(self, batch: FloatArray) -> float:
        """Share of the rows of a batch (M, d) whose differential entropy against the set is positive (an empty batch: 0)."""
        if len(batch) == 0:
            return 0.0
        if self._size == 0:
            return 1.0
        known = kernel_sums(
            batch, self.descriptors, self.bandwidth, relative=False, precision=self._precision, device=self._device
        )
        return float(np.mean(known < 1.0 - NOTHING_NEW))

    def add(self, batch: FloatArray) -> None:
        """Add rows (M, d).

        Raises
        ------
        AnalysisError
            If the rows are not as long as those of the set, or hold numbers that are not finite.
        """
        if len(batch) == 0:
            return
        batch = np.asarray(batch, dtype=np.float64)
        options = {"precision": self._precision, "device": self._device}
        within = kernel_sums(batch, batch, self.bandwidth, **options)  # type: ignore[arg-type]
        if self._size:
            of_batch, of_known = both_kernel_sums(batch, self.descriptors, self.bandwidth, **options)  # type: ignore[arg-type]
            within += of_batch
            self._sums[: self._size] += of_known
        self._append(batch, within)

    def _append(self, rows: FloatArray, sums: FloatArray) -> None:
        """Room grows by doubling, so that many small batches do not copy the set each time."""
        size = self._size + len(rows)
        if self._rows is None or size > len(self._rows):
            room = size if self._rows is None else max(size, 2 * len(self._rows))
            grown, grown_sums = np.empty((room, rows.shape[1])), np.empty(room)
            if self._rows is not None:
                grown[: self._size], grown_sums[: self._size] = self._rows[: self._size], self._sums[: self._size]
            self._rows, self._sums = grown, grown_sums
        self._rows[self._size : size], self._sums[self._size : size] = rows, sums
        self._size = size


def _read_only(array: FloatArray) -> FloatArray:
    view = array.view()
    view.flags.writeable = False
    return view
