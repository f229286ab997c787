"""What MatterGen 1.0.3 asks for and today's packages no longer have; imported before MatterGen.

It needs ``numpy.math``, ``numpy.row_stack``, torch_scatter and torch_sparse, and a file of scale factors that its wheel lacks.
PyTorch Geometric's own scatter takes the place of torch_scatter, which would have to be compiled; the one sparse matrix that
MatterGen makes is a sorted list here.
"""

from __future__ import annotations

import math
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch


def install() -> None:
    """Put everything in its place; a package that is really installed is left alone."""
    if not hasattr(np, "math"):
        vars(np)["math"] = math
    if not hasattr(np, "row_stack"):
        vars(np)["row_stack"] = np.vstack
    _offer("torch_scatter", scatter=_scatter, scatter_add=_scatter_add, segment_csr=_segment_csr, segment_coo=_segment_coo)
    _offer("torch_sparse", SparseTensor=SparseTensor)
    from mattergen.common.gemnet.layers import scaling
    from mattergen.common.utils.globals import MODELS_PROJECT_ROOT

    if not Path(MODELS_PROJECT_ROOT, "common", "gemnet", "gemnet-dT.json").exists():
        # The factors are parameters of the model and come from its checkpoint; without one they are 1.
        scaling.read_value_json = lambda path, key: None  # noqa: ARG005


def _offer(name: str, **contents: Any) -> None:
    try:
        __import__(name)
    except (ImportError, OSError):  # OSError: compiled against another torch
        module = types.ModuleType(name)
        vars(module).update(contents)
        sys.modules[name] = module


def _scatter(
    src: torch.Tensor, index: torch.Tensor, dim: int = -1, out: Any = None, dim_size: int | None = None, reduce: str = "sum"
) -> torch.Tensor:
    from torch_geometric.utils import scatter

    if out is not None:
        raise NotImplementedError("scatter into an existing tensor")
    return scatter(src, index, dim=dim, dim_size=dim_size, reduce=reduce)


def _scatter_add(
    src: torch.Tensor, index: torch.Tensor, dim: int = -1, out: Any = None, dim_size: int | None = None
) -> torch.Tensor:
    return _scatter(src, index, dim, out, dim_size, "sum")


def _segment_coo(
    src: torch.Tensor, index: torch.Tensor, out: Any = None, dim_size: int | None = None, reduce: str = "sum"
) -> torch.Tensor:
    return _scatter(src, index, 0, out, dim_size, reduce)


def _segment_csr(src: torch.Tensor, indptr: torch.Tensor, out: Any = None, reduce: str = "sum") -> torch.Tensor:
    """Sums of consecutive runs of a vector: MatterGen asks for no other reduction, and of whole numbers only."""
    if out is not None or reduce != "sum" or src.dim() != 1 or src.is_floating_point():
        raise NotImplementedError("segment_csr of something else than sums of whole numbers")
    total = torch.cat([src.new_zeros(1), torch.cumsum(src, 0)])
    return total[indptr[1:]] - total[indptr[:-1]]


class _Storage:
    def __init__(self, row: torch.Tensor, value: torch.Tensor):
        self._row, self._value = row, value

    def row(self) -> torch.Tensor:
        """Row of each entry."""
        return self._row

    def value(self) -> torch.Tensor:
        """Value of each entry."""
        return self._value


class SparseTensor:
    """A sparse matrix of which rows are picked, repeatedly: all that MatterGen does with one.

    Parameters
    ----------
    row, col, value : Tensor, shape (n,)
    sparse_sizes : tuple
        Rows and columns, numbers or tensors that hold one.
    """

    def __init__(self, row: torch.Tensor, col: torch.Tensor, value: torch.Tensor, sparse_sizes: tuple[Any, Any]):
        self._sizes = sparse_sizes
        columns = int(sparse_sizes[1])
        order = torch.argsort(row * columns + col, stable=True)
        self.storage = _Storage(row[order], value[order])

    def to(self, device: Any) -> SparseTensor:
        """The same matrix on another device."""
        return self._with(self.storage.row().to(device), self.storage.value().to(device), self._sizes)

    @classmethod
    def _with(cls, row: torch.Tensor, value: torch.Tensor, sizes: tuple[Any, Any]) -> SparseTensor:
        """A matrix whose entries are sorted already."""
        found = cls.__new__(cls)
        vars(found).update(_sizes=sizes, storage=_Storage(row, value))
        return found

    def __getitem__(self, rows: torch.Tensor) -> SparseTensor:
        """The matrix whose k-th row is row ``rows[k]`` of this one."""
        counts = torch.bincount(self.storage.row(), minlength=int(self._sizes[0]))
        starts = torch.cumsum(counts, 0) - counts
        picked = counts[rows]
        new_row = torch.repeat_interleave(torch.arange(len(rows), device=rows.device), picked)
        first = torch.repeat_interleave(torch.cumsum(picked, 0) - picked, picked)
        within = torch.arange(len(new_row), device=rows.device) - first
        return self._with(new_row, self.storage.value()[starts[rows][new_row] + within], (len(rows), self._sizes[1]))
