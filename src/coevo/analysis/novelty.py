"""Novelty: which structures are known from the references."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coevo.analysis.uniqueness import Item, Matching, Representatives, in_order

if TYPE_CHECKING:
    from collections.abc import Sequence


def match_references(items: Sequence[Item], references: Sequence[Item], matching: Matching) -> dict[str, str | None]:
    """Find the reference that each structure is.

    Parameters
    ----------
    items, references : sequence of Item
        In any order: where several references match, the one lowest in (energy per atom, id) is named.
    matching : Matching
        The same tolerances as for uniqueness.

    Returns
    -------
    dict of str to (str or None)
        Id of every item to the id of its reference, None if it is novel.
    """
    known = Representatives(matching)
    for reference in in_order(references):
        known.add(known.prepare(reference))
    return {item.id: known.find(known.prepare(item)) for item in items}
