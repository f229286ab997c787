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
    rows : Tensor of int64, shape (n_pairs,)
        Rows of the table, grouped by the output row that sums them.
    row_offsets : Tensor of int64, shape (n_out + 1,)
        Where the group of each output row starts in ``rows``.
    outputs : Tensor of int64, shape (n_pairs,)
        Output rows, grouped by the table row that they use.
    output_offsets : Tensor of int64, shape (n_table + 1,)
        Where the group of each table row starts in ``outputs``.
    """

    rows: Tensor
    row_offsets: Tensor
    outputs: Tensor
    output_offsets: Tensor

    @property
    def is_plain(self) -> bool:
        """Whether each output row is one row of the table."""
        return len(self.rows) == len(self.row_offsets) - 1


def plan(outputs: list[NDArray[np.int64]], rows: list[NDArray[np.int64]], n_out: int, n_table: int, device: torch.device) -> Plan:
    """Plan a gather from pairs (output row, table row), given in pieces that are joined; every output row occurs."""
    output, row = np.concatenate(outputs), np.concatenate(rows)
    by_output = np.argsort(output, kind="stable")
    by_row = np.argsort(row, kind="stable")

    def move(array: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(array).to(device)

    return Plan(
        rows=move(row[by_output]),
        row_offsets=move(_starts(output, n_out)),
        outputs=move(output[by_row]),
        output_offsets=move(_starts(row, n_table)),
    )


def plain_plan(rows: NDArray[np.int64], n_table: int, device: torch.device) -> Plan:
    """Plan a gather of one row for each output row."""
    return plan([np.arange(len(rows))], [rows], len(rows), n_table, device)


def _starts(groups: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(np.bincount(groups, minlength=n))])


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, table: Tensor, relation: Plan) -> Tensor:
        ctx.relation = relation
        if relation.is_plain:
            return functional.embedding(relation.rows, table)
        return functional.embedding_bag(relation.rows, table, relation.row_offsets, mode="sum", include_last_offset=True)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return scatter(gradients[0], ctx.relation), None


class _Scatter(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, relation: Plan) -> Tensor:
        ctx.relation = relation
        return functional.embedding_bag(
            relation.outputs, values.contiguous(), relation.output_offsets, mode="sum", include_last_offset=True
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
