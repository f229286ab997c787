"""Symmetry, validity and diversity of the structures of a batch."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from coevo.makers.progress import task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.app.analyse_batch import Batch
    from coevo.app.analyse_rows import PackedCrystal
    from coevo.app.analyse_workers import Workers

_AT_A_TIME = 64


def describe(batch: Batch, workers: Workers) -> dict[str, Any]:
    """Set the space groups of all rows that were not rejected, and return the numbers of the whole."""
    valid = batch.valid()
    pieces = [[row.packed() for row in valid[start : start + _AT_A_TIME]] for start in range(0, len(valid), _AT_A_TIME)]
    with task("describing", len(valid), "structures") as advance:
        rows = iter(valid)
        for found in workers.map(_describe_piece, pieces):
            for group in found:
                next(rows).space_group = group
            advance(len(found))
    return {"diversity": _diversity(batch)}


def _describe_piece(piece: Sequence[PackedCrystal]) -> list[int | None]:
    from coevo.analysis.diversity import space_group_number

    return [space_group_number(crystal.structure()) for crystal in piece]


def _diversity(batch: Batch) -> dict[str, Any]:
    """Counts of formulas and space groups over the unique structures, and their Shannon entropies (nats)."""
    from coevo.analysis.diversity import shannon_entropy

    unique = batch.unique()
    formulas, groups = Counter(row.formula for row in unique), Counter(row.space_group for row in unique)
    return {
        "formulas": len(formulas),
        "formula_entropy": shannon_entropy(formulas),
        "space_groups": len(groups),
        "space_group_entropy": shannon_entropy(groups),
        "p1_fraction": groups[1] / len(unique) if unique else None,
    }
