"""Uniqueness: which structures are the same crystal, in the sense of pymatgen's StructureMatcher and of the bond graph.

Novelty: which structures are known from the references.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from coevo.analysis.comparison.fingerprint_table import FingerprintTable, fingerprints
from coevo.analysis.comparison.grouping import first_matches, group

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pymatgen.core import Structure

    from coevo.analysis.comparison.matching import Matching


@dataclass(frozen=True)
class Item:
    """A structure to compare.

    Attributes
    ----------
    id : str
    structure : Structure
    energy_per_atom : float
        eV/atom.
    """

    id: str
    structure: Structure
    energy_per_atom: float


def in_order(items: Iterable[Item]) -> list[Item]:
    """Sorted by (energy per atom, id): the order in which structures become representatives."""
    return sorted(items, key=lambda item: (item.energy_per_atom, item.id))


def find_representatives(
    items: Sequence[Item],
    existing: Sequence[Item],
    matching: Matching,
    *,
    known: FingerprintTable | None = None,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> dict[str, str]:
    """Group structures by equality, each under its first member.

    Items are taken in order of (energy per atom, id), after the existing entries, which stay representatives whatever they match
    among themselves. An item joins the first representative that fits it, else it becomes one. This is
    ``StructureMatcher.group_structures`` on that order (equality is not transitive: only representatives are compared), except
    that structures with different fragments never match when ``matching.fragment_veto`` is on. The order of ``items`` is
    immaterial.

    Parameters
    ----------
    items : sequence of Item
    existing : sequence of Item
        In their own order; compared with, not grouped.
    matching : Matching
    known : FingerprintTable, optional
        Rows that were made before, by id; what it lacks is made.
    workers : int
        Processes; the answer does not depend on it.
    progress : callable, optional
        Called with the number of items compared since the last call.

    Returns
    -------
    dict of str to str
        Id of every item to the id of its representative: its own if it is unique. An item whose id is that of an existing entry
        is that entry.
    """
    taken = {entry.id for entry in existing}
    assigned = {item.id: item.id for item in items if item.id in taken}
    new: list[Item] = []
    for item in in_order(items):
        if item.id not in taken:
            taken.add(item.id)
            new.append(item)
    table = table_of([*existing, *new], known, fragments=matching.fragment_veto, workers=workers)
    found = group(table, len(existing), matching, workers=workers, progress=progress)
    for item, row in zip(new, found.tolist(), strict=True):
        assigned[item.id] = table.ids[row]
    if progress is not None and len(new) < len(items):
        progress(len(items) - len(new))
    return assigned


def table_of(
    items: Sequence[Item],
    known: FingerprintTable | None = None,
    *,
    fragments: bool = True,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> FingerprintTable:
    """Fingerprints of items, in their order; rows that are known already are taken from there.

    ``progress`` is called with the number of items described since the last call.
    """
    rows = {} if known is None else {name: row for row, name in enumerate(known.ids)}
    missing = [item for item in items if item.id not in rows]
    if progress is not None and len(missing) < len(items):
        progress(len(items) - len(missing))
    fresh = fingerprints(missing, fragments=fragments, workers=workers, progress=progress)
    if known is None:
        return fresh
    both = FingerprintTable.joined([known, fresh])
    rows |= {name: len(known) + row for row, name in enumerate(fresh.ids)}
    return both.take(np.array([rows[item.id] for item in items], dtype=np.int64))


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
