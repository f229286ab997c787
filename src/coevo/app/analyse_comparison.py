"""Which structures of a batch are the same crystal, and which are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coevo.makers.progress import task

if TYPE_CHECKING:
    from collections.abc import Iterable

    from coevo.analysis.uniqueness import Item, Matching
    from coevo.app.analyse_batch import Batch
    from coevo.app.analyse_rows import Row


def compare(batch: Batch, matching: Matching) -> None:
    """Set representative and matched reference of all rows that were not rejected.

    Rows become representatives in the order of their rank. Rows of one content id are one crystal without a comparison.
    """
    from coevo.analysis.uniqueness import find_representatives

    ordered = sorted(batch.valid(), key=lambda row: row.rank)
    first: dict[str, Row] = {}
    for row in ordered:
        first.setdefault(row.content or row.id, row)
    distinct = list(first.values())
    with task("comparing", len(distinct), "structures") as advance:
        found = find_representatives(_items(distinct), [], matching, progress=advance)
    for row in ordered:
        row.representative = found[first[row.content or row.id].id]
    if batch.references:
        _match(batch, matching)


def _match(batch: Batch, matching: Matching) -> None:
    """Look for the representatives among the references; duplicates are what their representative is."""
    from coevo.analysis.novelty import match_references
    from coevo.analysis.uniqueness import Item

    ordered = batch.valid() if batch.stored else [row for row in batch.valid() if row.is_unique]
    # names of files and of references may be the same word
    known = [
        Item(f"{number:06d}", row.packed().structure(), row.energy_per_atom or 0.0) for number, row in enumerate(batch.references)
    ]
    matched = match_references(_items(ordered), known, matching)
    for row in batch.valid():
        number = matched.get(row.id, matched.get(row.representative or ""))
        row.matched_reference = None if number is None else batch.references[int(number)].id


def _items(rows: Iterable[Row]) -> list[Item]:
    """Rows as the uniqueness test takes them; the rank stands for the energy, which sets the order only."""
    from coevo.analysis.uniqueness import Item

    return [Item(row.id, row.packed().structure(), float(row.rank)) for row in rows]
