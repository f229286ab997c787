"""Which structures of a batch are the same crystal, and which are known.

Also here: symmetry, validity and diversity of the structures of a batch.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.output.progress import task
from coevo.studies.analyse.energies import composition_fractions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.analysis.comparison.fingerprint_table import FingerprintTable
    from coevo.analysis.comparison.matching import Matching
    from coevo.analysis.signals.diversity import Spread
    from coevo.analysis.validity import Validity
    from coevo.processes import Workers
    from coevo.studies.analyse.batch import Batch
    from coevo.studies.piles.rows import PackedCrystal, Row


_FEW = 400
"""Structures below which starting processes takes longer than the work."""


def compare(batch: Batch, matching: Matching, workers: int, seed: int) -> Spread | None:
    """Set representative and matched reference of all rows that were not rejected.

    Rows become representatives in the order of their rank. Rows of one content id are one crystal without a comparison.

    Returns
    -------
    Spread or None
        Of the fingerprints of the unique structures; None if there are fewer than two.
    """
    from coevo.analysis.comparison.grouping import group

    ordered = sorted(batch.valid(), key=lambda row: row.rank)
    first: dict[str, Row] = {}
    for row in ordered:
        first.setdefault(row.content or row.id, row)
    distinct = list(first.values())
    table = _fingerprints(distinct, matching, workers)
    with task("comparing", len(distinct), "structures") as advance:
        found = group(table, 0, matching, workers=workers, progress=advance)
    representative = {row.id: table.ids[other] for row, other in zip(distinct, found.tolist(), strict=True)}
    for row in ordered:
        row.representative = representative[first[row.content or row.id].id]
    if batch.references and distinct:
        _match(batch, distinct, table, matching, workers)
    return _spread(table.take(np.flatnonzero(found == np.arange(len(table)))), seed)


def _match(batch: Batch, distinct: list[Row], table: FingerprintTable, matching: Matching, workers: int) -> None:
    """Look for the representatives among the references; duplicates are what their representative is.

    In a state every entry is looked for, as it was when the state was made.
    """
    from coevo.analysis.comparison.fingerprint_table import FingerprintTable
    from coevo.analysis.comparison.grouping import first_matches

    known = sorted(range(len(batch.references)), key=lambda number: (batch.references[number].energy_per_atom or 0.0, number))
    references = _fingerprints([batch.references[number] for number in known], matching, workers)
    rows = [number for number, row in enumerate(distinct) if batch.stored or row.is_unique]
    both = FingerprintTable.joined([references, table.take(rows)])
    with task("looking for known phases", len(rows), "structures") as advance:
        found = first_matches(both, len(known), matching, workers=workers, progress=advance)
    matched = {distinct[row].id: int(number) for row, number in zip(rows, found, strict=True)}
    for row in batch.valid():
        number = matched.get(row.id, matched.get(row.representative or "", -1))
        row.matched_reference = None if number < 0 else batch.references[known[number]].id


def _fingerprints(rows: Sequence[Row], matching: Matching, workers: int) -> FingerprintTable:
    from coevo.analysis.comparison.fingerprint_table import fingerprints_of

    few = len(rows) < _FEW
    crystals = ((row.id, row.packed().crystal()) for row in rows)
    with task("fingerprinting", len(rows), "structures") as advance:
        table = fingerprints_of(crystals, fragments=matching.fragment_veto, workers=1 if few else workers, progress=advance)
    return replace(table, ids=tuple(row.id for row in rows))


def _spread(table: FingerprintTable, seed: int) -> Spread | None:
    from coevo.analysis.signals.diversity import spread

    return spread(table.mean_distances(), seed=seed, metric="chebyshev") if len(table) > 1 else None


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
