"""Sums of gathered rows, and their transpose, each the other's derivative; both run over sorted rows, without atomic additions.

``torch.embedding_bag`` is several times faster here than advanced indexing with its ``index_put`` gradient.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Plan:
    """Which rows of a table are summed into each output row, and the transposed relation.

    Attributes
    ----------
    rows : Tensor of int64, shape (n_out, k)
        Rows of the table that each output row sums.
    outputs : Tensor of int64, shape (n_out * k,)
        Output rows, grouped by the table row that they use.
    offsets : Tensor of int64, shape (n_table + 1,)
        Where the group of each table row starts in ``outputs``.
    """

    rows: Tensor
    outputs: Tensor
    offsets: Tensor

    @property
    def n_out(self) -> int:
        """Number of output rows."""
        return len(self.rows)


def plan(columns: list[NDArray[np.int64]], n_table: int, device: torch.device) -> Plan:
    """Plan the sum of one row per column; ``columns`` are k arrays of shape (n_out,)."""
    rows = np.stack(columns, axis=1)
    order = np.argsort(rows.ravel(), kind="stable")
    offsets = np.concatenate([[0], np.cumsum(np.bincount(rows.ravel(), minlength=n_table))])
    outputs = order // rows.shape[1]
    return Plan(
        rows=torch.from_numpy(np.ascontiguousarray(rows)).to(device),
        outputs=torch.from_numpy(outputs).to(device),
        offsets=torch.from_numpy(offsets).to(device),
    )


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, relation: Plan) -> Tensor:
        ctx.relation = relation
        if relation.rows.shape[1] == 1:
            return functional.embedding(relation.rows[:, 0], table)
        return functional.embedding_bag(relation.rows, table, mode="sum")

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return scatter(gradients[0], ctx.relation), None


class _Scatter(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, relation: Plan) -> Tensor:
        ctx.relation = relation
        return functional.embedding_bag(
            relation.outputs, values.contiguous(), relation.offsets, mode="sum", include_last_offset=True
        )

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return gather(gradients[0].contiguous(), ctx.relation), None


def gather(table: Tensor, relation: Plan) -> Tensor:
    """Sum of the planned rows of ``table`` (n_table, d) for each output row, shape (n_out, d)."""
    result: Tensor = _Gather.apply(table, relation)
    return result


def scatter(values: Tensor, relation: Plan) -> Tensor:
    """Sum of the ``values`` (n_out, d) of all output rows that use each table row, shape (n_table, d): gather transposed."""
    result: Tensor = _Scatter.apply(values, relation)
    return result
