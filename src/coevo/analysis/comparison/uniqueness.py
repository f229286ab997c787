"""Uniqueness: which structures are the same crystal, in the sense of pymatgen's StructureMatcher and of the bond graph.

Also here, novelty: which structures are known from the references.

Also here, which frames of a file are one crystal on its way: steps of a relaxation, of molecular dynamics, rattled copies.

Such frames differ too much for the uniqueness test, and must not be apart in training and test all the same. Frames with the same
atoms in the same order whose positions differ little are linked; what is linked, directly or through others, is one trajectory.
Whether two trajectories are one crystal is left to the uniqueness test (:mod:`coevo.analysis.comparison.uniqueness`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from coevo.analysis.comparison.fingerprint_table import FingerprintTable, fingerprints
from coevo.analysis.comparison.grouping import first_matches, group

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from coevo.analysis.comparison.matching import Matching

    FloatArray = NDArray[np.float64]


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


SAME_CELL = 0.3
"""Displacement (root mean square, in units of (V/n)^(1/3)) up to which frames of one and the same cell are linked: the site
tolerance of the uniqueness test. Thermal motion below melting stays below it."""
OTHER_CELL = 0.15
"""The same for frames of cells that differ."""
STRAIN = 0.1
"""Largest component of the strain between linked cells."""


def trajectories(frames: Sequence[Structure]) -> list[int]:
    """Link the frames of a file.

    Parameters
    ----------
    frames : sequence of Structure
        In the order of the file; finite lattices and positions.

    Returns
    -------
    list of int
        For each frame the index of the first frame of its trajectory.

    Notes
    -----
    A frame is compared with the first and the last frame of each trajectory of the same atoms so far: a walk is followed, and
    shuffled copies of one crystal meet.
    """
    found: list[int] = []
    ends: dict[tuple[str, ...], dict[int, list[int]]] = {}
    for number, frame in enumerate(frames):
        known = ends.setdefault(tuple(site.species_string for site in frame), {})
        linked = [first for first, seen in known.items() if any(is_near(frames[index], frame) for index in seen)]
        first = linked[0] if linked else number
        for other in linked[1:]:  # the frame joins what was apart so far
            found = [first if index == other else index for index in found]
            known[first] = [*known[first], *known.pop(other)]
        known[first] = [*known.get(first, [])[:1], number] if len(linked) < 2 else [*known[first], number]
        found.append(first)
    return found


def is_near(one: Structure, other: Structure) -> bool:
    """Whether two frames with the same atoms in the same order are steps of one trajectory."""
    strain = np.linalg.solve(one.lattice.matrix, other.lattice.matrix) - np.eye(3)
    size = float(np.abs(strain).max())
    if not size <= STRAIN:
        return False
    difference = other.frac_coords - one.frac_coords
    difference -= np.round(difference)
    difference -= _mean_of_periodic(difference)
    difference -= np.round(difference)
    moved = difference @ ((one.lattice.matrix + other.lattice.matrix) / 2.0)
    limit = SAME_CELL if size < 1e-4 else OTHER_CELL
    return bool(np.sqrt((moved**2).sum(axis=1).mean()) <= limit * (one.volume / len(one)) ** (1.0 / 3.0))


def _mean_of_periodic(values: FloatArray) -> FloatArray:
    """Mean of fractional shifts on the circle, so that 0.49 and −0.49 have the mean 0.5."""
    mean: FloatArray = np.angle(np.exp(2j * np.pi * values).mean(axis=0)) / (2.0 * np.pi)
    return mean
