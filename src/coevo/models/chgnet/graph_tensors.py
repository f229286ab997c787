"""A graph as the network reads it, index plans on a device, and the sums of gathered rows that the network makes by them.

A sum and its transpose are each the other's derivative; both run over sorted rows, without atomic additions.
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

    from coevo.models.chgnet.graph import Graph


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


@dataclass(frozen=True)
class GraphTensors:
    """A :class:`~coevo.models.chgnet.graph.Graph` on a device (all but its vectors), as plans of gathers.

    Attributes
    ----------
    numbers : Tensor of int64, shape (n_atoms,)
    owner : Tensor of int64, shape (n_atoms,)
    bond_owner : Tensor of int64, shape (n_bonds,)
    n_short, n_crystals, n_angles : int
    centres : Plan
        Directed bonds (2 n_bonds; leaving the first atom, then the second) to the atom they leave.
    ends : Plan
        Directed bonds to the rows of a table of centres and neighbours.
    ends_and_bonds : Plan
        The same with the short bonds as further rows of the table.
    angle_first, angle_second : Plan
        Angles to their short bonds.
    angle_parts : Plan
        Angles to the rows of a table of first bonds, second bonds and atoms.
    pairs : Plan
        Angles to unordered pairs of bonds.
    pair_first, pair_second : Plan
        Unordered pairs to their short bonds.
    pair_sign : Tensor, shape (n_pairs, 1)
    has_angles : Tensor, shape (n_crystals, 1)
    """

    numbers: Tensor
    owner: Tensor
    bond_owner: Tensor
    n_short: int
    n_crystals: int
    n_angles: int
    centres: Plan
    ends: Plan
    ends_and_bonds: Plan
    angle_first: Plan
    angle_second: Plan
    angle_parts: Plan
    pairs: Plan
    pair_first: Plan
    pair_second: Plan
    pair_sign: Tensor
    has_angles: Tensor


def graph_tensors(graph: Graph, device: torch.device) -> GraphTensors:
    """Plan the gathers of a graph on a device."""
    n_atoms, n_bonds, n_short, n_angles = len(graph.numbers), len(graph.first), graph.n_short, len(graph.angle_atom)
    centre = np.concatenate([graph.first, graph.second])
    neighbour = np.concatenate([graph.second, graph.first])
    directed, angles, short = np.arange(2 * n_bonds), np.arange(n_angles), np.arange(n_short)
    ends = [centre, neighbour + n_atoms]
    short_rows = 2 * n_atoms + short
    angle_rows = [graph.angle_first, graph.angle_second + n_short, graph.angle_atom + 2 * n_short]
    has_angles = np.bincount(graph.owner[graph.angle_atom], minlength=graph.n_crystals) > 0

    def move(array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(device)

    return GraphTensors(
        numbers=move(graph.numbers),
        owner=move(graph.owner),
        bond_owner=move(graph.owner[graph.first]),
        n_short=n_short,
        n_crystals=graph.n_crystals,
        n_angles=n_angles,
        centres=plain_plan(centre, n_atoms, device),
        ends=plan([directed, directed], ends, 2 * n_bonds, 2 * n_atoms, device),
        ends_and_bonds=plan(
            [directed, directed, short, short + n_bonds],
            [*ends, short_rows, short_rows],
            2 * n_bonds,
            2 * n_atoms + n_short,
            device,
        ),
        angle_first=plain_plan(graph.angle_first, n_short, device),
        angle_second=plain_plan(graph.angle_second, n_short, device),
        angle_parts=plan([angles] * 3, angle_rows, n_angles, 2 * n_short + n_atoms, device),
        pairs=plain_plan(graph.angle_pair, len(graph.pair_first), device),
        pair_first=plain_plan(graph.pair_first, n_short, device),
        pair_second=plain_plan(graph.pair_second, n_short, device),
        pair_sign=move(graph.pair_sign).to(torch.float32)[:, None],
        has_angles=move(has_angles).to(torch.float32)[:, None],
    )
