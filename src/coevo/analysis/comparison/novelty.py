"""Novelty: which structures are known from the references."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coevo.analysis.comparison.grouping import first_matches
from coevo.analysis.comparison.uniqueness import Item, in_order, table_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from coevo.analysis.comparison.fingerprint_table import FingerprintTable
    from coevo.analysis.comparison.matching import Matching


def match_references(
    items: Sequence[Item],
    references: Sequence[Item],
    matching: Matching,
    *,
    known: FingerprintTable | None = None,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> dict[str, str | None]:
    """Find the reference that each structure is.

    Parameters
    ----------
    items, references : sequence of Item
        In any order: where several references match, the one lowest in (energy per atom, id) is named.
    matching : Matching
        The same tolerances as for uniqueness.
    known : FingerprintTable, optional
        Rows that were made before, by id; what it lacks is made.
    workers : int
        Processes; the answer does not depend on it.
    progress : callable, optional
        Called with the number of items compared since the last call.

    Returns
    -------
    dict of str to (str or None)
        Id of every item to the id of its reference, None if it is novel.
    """
    ordered = in_order(references)
    table = table_of([*ordered, *items], known, fragments=matching.fragment_veto, workers=workers)
    found = first_matches(table, len(ordered), matching, workers=workers, progress=progress)
    return {item.id: table.ids[row] if row >= 0 else None for item, row in zip(items, found.tolist(), strict=True)}
