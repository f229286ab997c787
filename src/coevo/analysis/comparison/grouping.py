"""Groups of crystals that match, over many thousands of them: only crystals of one composition and fragments are compared.

What can match lies in one bucket, so buckets are independent of each other and of the number of processes.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from coevo.analysis.comparison.disordered_matching import DisorderedShelf
from coevo.analysis.comparison.matching import ScaledCrystal, Shelf, Tolerances
from coevo.processes import map_chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator

    from numpy.typing import NDArray

    from coevo.analysis.comparison.fingerprint_table import FingerprintTable
    from coevo.analysis.comparison.matching import Matching

    IntArray = NDArray[np.int64]
    Bucket = tuple[IntArray, IntArray]
    """Existing and new rows."""

_TASK = 50_000
"""Pairs, about, that a process is given at a time."""
_ROW = 20
"""Pairs that cost as much as bringing a row to a process and scaling it."""
_FEW = 2_000
"""Rows below which starting processes takes longer than the work."""


@dataclass(frozen=True)
class _Task:
    """Buckets for one process, with the part of the table that they need."""

    table: FingerprintTable
    rows: IntArray
    buckets: list[Bucket]
    matching: Matching
    grow: bool

    def __len__(self) -> int:
        return sum(len(new) for _, new in self.buckets)


def group(
    table: FingerprintTable,
    existing: int,
    matching: Matching,
    *,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> IntArray:
    """Representative of each row after the first ``existing`` ones.

    Rows are taken in their order. A row joins the first representative that it fits, else it becomes one; the existing rows are
    representatives, whatever they match among themselves.

    Parameters
    ----------
    table : FingerprintTable
    existing : int
    matching : Matching
    workers : int
        Processes; the answer does not depend on it.
    progress : callable, optional
        Called with the number of rows done since the last call.

    Returns
    -------
    ndarray of int, shape (len(table) - existing,)
        Row of the representative: the row itself if it is unique.
    """
    return _run(table, existing, matching, True, workers, progress)


def first_matches(
    table: FingerprintTable,
    fixed: int,
    matching: Matching,
    *,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> IntArray:
    """First of the ``fixed`` leading rows that each later row fits, -1 where there is none; parameters as in :func:`group`."""
    return _run(table, fixed, matching, False, workers, progress)


def _run(
    table: FingerprintTable,
    existing: int,
    matching: Matching,
    grow: bool,
    workers: int,
    progress: Callable[[int], None] | None,
) -> IntArray:
    found = np.full(len(table), -1, dtype=np.int64)
    tasks = _tasks(table, _buckets(table, existing, matching), matching, grow)
    few = len(table) < _FEW
    for rows, representatives in map_chunks(_run_task, tasks, workers=1 if few else workers, progress=progress):
        found[rows] = representatives
    return found[existing:]


def _buckets(table: FingerprintTable, existing: int, matching: Matching) -> list[Bucket]:
    """Existing and new rows of each bucket that has new ones, in their order."""
    members: dict[Hashable, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for row, key in enumerate(_keys(table, matching)):
        members[key][row >= existing].append(row)
    return [(np.array(fixed, dtype=np.int64), np.array(new, dtype=np.int64)) for fixed, new in members.values() if new]


def _keys(table: FingerprintTable, matching: Matching) -> Iterator[Hashable]:
    """Rows of different keys never match."""
    for numbers, signature in zip(table.compositions(), table.signatures, strict=True):
        formula: Hashable = numbers
        if matching.kind == "disordered":
            # Mixing elements may halve a cell, so that cells of unequal numbers of atoms can match.
            counts = np.unique(np.frombuffer(numbers, dtype=np.int16), return_counts=True)
            formula = (tuple(counts[0].tolist()), tuple((counts[1] // np.gcd.reduce(counts[1])).tolist()))
        yield (formula, signature if matching.fragment_veto else "")


def _tasks(table: FingerprintTable, buckets: list[Bucket], matching: Matching, grow: bool) -> Iterator[_Task]:
    """Buckets in portions of about equal work, the largest first so that none is left alone at the end."""
    portion: list[Bucket] = []
    work = 0
    for fixed, new in sorted(buckets, key=lambda bucket: (-len(bucket[1]) * (len(bucket[0]) + len(bucket[1])), bucket[1][0])):
        portion.append((fixed, new))
        work += len(new) * (len(fixed) + len(new) // 2 + _ROW)
        if work >= _TASK:
            yield _task(table, portion, matching, grow)
            portion, work = [], 0
    if portion:
        yield _task(table, portion, matching, grow)


def _task(table: FingerprintTable, portion: list[Bucket], matching: Matching, grow: bool) -> _Task:
    """A task with rows of its own: only what it needs travels."""
    rows = np.concatenate([part for bucket in portion for part in bucket])
    buckets, start = [], 0
    for fixed, new in portion:
        middle, stop = start + len(fixed), start + len(fixed) + len(new)
        buckets.append((np.arange(start, middle), np.arange(middle, stop)))
        start = stop
    return _Task(table.take(rows), rows, buckets, matching, grow)


def _run_task(task: _Task) -> tuple[IntArray, IntArray]:
    """New rows of the task and the row of each one's representative (-1 for none), in the numbers of the whole table."""
    new_rows, representatives = [], []
    for fixed, new in task.buckets:
        for row, representative in zip(new.tolist(), _group_bucket(task, fixed, new), strict=True):
            new_rows.append(task.rows[row])
            representatives.append(task.rows[representative] if representative >= 0 else -1)
    return np.array(new_rows, dtype=np.int64), np.array(representatives, dtype=np.int64)


def _group_bucket(task: _Task, fixed: IntArray, new: IntArray) -> list[int]:
    """Row of the representative of each new row of a bucket, -1 for none."""
    matching, table = task.matching, task.table
    cutoff = matching.distance_cutoff if matching.kind == "ordered" else None
    if cutoff is not None and len(fixed):
        fixed = fixed[_near_any(table.distances_of(fixed.tolist()), table.distances_of(new.tolist()), cutoff)]
    if not len(fixed) and not task.grow:
        return [-1] * len(new)
    crystals = {row: ScaledCrystal(table.crystal(row)) for row in [*fixed.tolist(), *new.tolist()]}
    kind = DisorderedShelf if matching.kind == "disordered" else Shelf
    longest = max(float(crystals[row].lengths.max()) for row in new.tolist())
    shelf = kind(Tolerances(matching.ltol, matching.stol, matching.angle_tol), longest)
    representatives: list[int] = []
    # Distances of the representatives, in their order, and of the rows that may become ones.
    distances = table.distances_of([*fixed.tolist(), *new.tolist()]) if cutoff is not None else None
    shelved = np.empty_like(distances) if distances is not None else None

    def put_on_shelf(row: int, position: int) -> None:
        if shelved is not None and distances is not None:
            shelved[len(representatives)] = distances[position]
        shelf.add(crystals[row])
        representatives.append(row)

    for position, row in enumerate(fixed.tolist()):
        put_on_shelf(row, position)
    found = []
    for position, row in enumerate(new.tolist(), start=len(fixed)):
        among = np.arange(len(representatives))
        if shelved is not None and distances is not None:
            gap = np.abs(shelved[: len(representatives)] - distances[position])
            among = np.flatnonzero((gap <= cutoff).all(axis=1))
        match = shelf.first_match(crystals[row], among)
        found.append(-1 if match is None else representatives[match])
        if match is None and task.grow:
            put_on_shelf(row, position)
            found[-1] = row
    return found


def _near_any(these: NDArray[np.float32], those: NDArray[np.float32], cutoff: float) -> NDArray[np.bool_]:
    """Rows of ``these`` that are within a distance of any of ``those`` in every component."""
    near = np.zeros(len(these), dtype=bool)
    for row in those:
        near |= (np.abs(these - row) <= cutoff).all(axis=1)
    return near
