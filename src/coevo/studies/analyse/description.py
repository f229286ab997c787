"""Symmetry, validity and diversity of the structures of a batch."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from coevo.makers.progress import task
from coevo.studies.analyse.energies import composition_fractions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.analysis.validity import Validity
    from coevo.studies.analyse.batch import Batch
    from coevo.studies.piles.rows import PackedCrystal
    from coevo.studies.piles.workers import Workers

_AT_A_TIME = 64


def describe(batch: Batch, workers: Workers) -> dict[str, Any]:
    """Set space groups (and the validity of a state's rows) where nothing was rejected; return the numbers of the whole."""
    valid = batch.valid()
    pieces = [[row.packed() for row in valid[start : start + _AT_A_TIME]] for start in range(0, len(valid), _AT_A_TIME)]
    with task("describing", len(valid), "structures") as advance:
        rows = iter(valid)
        for found in workers.map(_describe_piece, pieces, bool(batch.stored)):
            for group, measured in found:
                row = next(rows)
                row.space_group, row.validity = group, row.validity or measured
            advance(len(found))
    return {"diversity": _diversity(batch), "validity": _validity(batch)}


def _validity(batch: Batch) -> dict[str, Any]:
    """Shares of the structures that could be measured, rejected ones among them."""
    from coevo.analysis.validity import summarise_validity

    return summarise_validity(row.validity for row in batch.rows if row.validity is not None).to_dict()


def _describe_piece(piece: Sequence[PackedCrystal], measure: bool) -> list[tuple[int | None, Validity | None]]:
    """Space group and, for structures that did not come from a file, validity."""
    from coevo.analysis.signals.diversity import space_group_number
    from coevo.analysis.validity import validity

    structures = [crystal.structure() for crystal in piece]
    return [(space_group_number(structure), validity(structure) if measure else None) for structure in structures]


def _diversity(batch: Batch) -> dict[str, Any]:
    """Formulas, compositions and space groups of the unique structures; entropies in nats."""
    from coevo.analysis.signals.coverage import composition_coverage
    from coevo.analysis.signals.diversity import shannon_entropy, symmetry_distribution

    unique = batch.unique()
    formulas = Counter(row.formula for row in unique)
    coverage = composition_coverage(batch.elements, composition_fractions(unique, batch.elements)) if unique else None
    return {
        "formulas": len(formulas),
        "formula_entropy": shannon_entropy(formulas),
        "symmetry": symmetry_distribution(row.space_group for row in unique).to_dict(),
        "coverage": None if coverage is None else coverage.to_dict(),
    }
