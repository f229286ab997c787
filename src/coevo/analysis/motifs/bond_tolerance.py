"""How much the bonds of crystals depend on the cut-offs: distances near them, and structures whose motifs would change."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.analysis.cell_reduction import Crystal
from coevo.analysis.motifs.bonds import DEFAULT_RULE, distances_near, symbol_of
from coevo.processes import map_chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from pymatgen.core import Structure

    from coevo.analysis.motifs.bonds import BondRule

SHORTER, LONGER = 0.95, 1.05
"""Factors on all cut-offs at which structures are looked at again."""

_REACH = 1.6
_CHUNK = 200


@dataclass(frozen=True)
class PairTolerance:
    """Distances of one pair of elements.

    Attributes
    ----------
    pair : str
        ``"P-S"``; elements in alphabetical order.
    cutoff : float
        Å.
    bonds : int
        Distances below the cut-off.
    longest_bond, shortest_other : float or None
        Å; None if there is none (of the others: none up to 1.6 times the longest cut-off in the structure).
    within_5_percent, within_10_percent : int
        Distances, bonds and others, that near to the cut-off.
    """

    pair: str
    cutoff: float
    bonds: int
    longest_bond: float | None
    shortest_other: float | None
    within_5_percent: int
    within_10_percent: int


@dataclass(frozen=True)
class Tolerance:
    """Report on a set of structures.

    Attributes
    ----------
    structures : int
    pairs : tuple of PairTolerance
        Pairs of non-metals with a distance that was looked at, in alphabetical order.
    changed_shorter, changed_longer : int
        Structures whose motifs change when all cut-offs are multiplied by 0.95, by 1.05: those that lose a bond, gain one.
    """

    structures: int
    pairs: tuple[PairTolerance, ...]
    changed_shorter: int
    changed_longer: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "structures": self.structures,
            "pairs": [dict(vars(pair)) for pair in self.pairs],
            "changed_at_0.95": self.changed_shorter,
            "changed_at_1.05": self.changed_longer,
        }


def tolerance(
    structures: Iterable[Structure | Crystal],
    rule: BondRule = DEFAULT_RULE,
    *,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> Tolerance:
    """Say how near distances come to the cut-offs.

    Parameters
    ----------
    structures : iterable of Structure or Crystal
    rule : BondRule
    workers : int
        Processes; the report does not depend on it.
    progress : callable, optional
        Called with the number of structures done since the last call.
    """
    total = _Sums()
    for part in map_chunks(partial(_sums, rule=rule), _chunks(structures), workers=workers, progress=progress, size=len):
        total.add(part)
    pairs = tuple(
        PairTolerance(
            pair="-".join(pair),
            cutoff=rule.cutoff(*pair),
            bonds=total.bonds[pair],
            longest_bond=total.longest.get(pair),
            shortest_other=total.shortest.get(pair),
            within_5_percent=total.near_5[pair],
            within_10_percent=total.near_10[pair],
        )
        for pair in sorted(set(total.longest) | set(total.shortest))
    )
    return Tolerance(total.structures, pairs, total.shorter, total.longer)


Pair = tuple[str, str]


class _Sums:
    """What is known of the structures so far."""

    def __init__(self) -> None:
        self.structures = self.shorter = self.longer = 0
        self.bonds: Counter[Pair] = Counter()
        self.near_5: Counter[Pair] = Counter()
        self.near_10: Counter[Pair] = Counter()
        self.longest: dict[Pair, float] = {}
        self.shortest: dict[Pair, float] = {}

    def add(self, other: _Sums) -> None:
        self.structures += other.structures
        self.shorter += other.shorter
        self.longer += other.longer
        for mine, theirs in ((self.bonds, other.bonds), (self.near_5, other.near_5), (self.near_10, other.near_10)):
            mine.update(theirs)
        for pair, length in other.longest.items():
            self.longest[pair] = max(length, self.longest.get(pair, length))
        for pair, length in other.shortest.items():
            self.shortest[pair] = min(length, self.shortest.get(pair, length))

    def look_at(self, crystal: Crystal, rule: BondRule) -> None:
        """Take in one crystal."""
        self.structures += 1
        near, cutoffs = distances_near(crystal, rule, _REACH)
        ratio = near.distance / cutoffs if len(cutoffs) else np.empty(0)
        self.shorter += bool(((ratio >= SHORTER) & (ratio < 1.0)).any())
        self.longer += bool(((ratio >= 1.0) & (ratio < LONGER)).any())
        low, high = (np.sort(crystal.numbers[[near.first, near.second]], axis=0)) if len(ratio) else (near.first, near.second)
        for a, b in sorted(set(zip(low.tolist(), high.tolist(), strict=True))):
            chosen = (low == a) & (high == b)
            first, second = sorted((symbol_of(a), symbol_of(b)))
            self._count((first, second), near.distance[chosen], ratio[chosen])

    def _count(self, pair: Pair, distance: np.ndarray, ratio: np.ndarray) -> None:  # type: ignore[type-arg]
        bonded = ratio < 1.0
        # every distance is listed from both ends
        self.bonds[pair] += int(bonded.sum()) // 2
        self.near_5[pair] += int((np.abs(ratio - 1.0) <= 0.05).sum()) // 2
        self.near_10[pair] += int((np.abs(ratio - 1.0) <= 0.10).sum()) // 2
        if bonded.any():
            self.longest[pair] = max(float(distance[bonded].max()), self.longest.get(pair, 0.0))
        if not bonded.all():
            self.shortest[pair] = min(float(distance[~bonded].min()), self.shortest.get(pair, np.inf))


def _chunks(structures: Iterable[Structure | Crystal]) -> Iterator[list[Crystal]]:
    remaining = iter(structures)
    while chunk := list(islice(remaining, _CHUNK)):
        yield [structure if isinstance(structure, Crystal) else Crystal.from_structure(structure) for structure in chunk]


def _sums(chunk: list[Crystal], rule: BondRule) -> _Sums:
    found = _Sums()
    for crystal in chunk:
        found.look_at(crystal, rule)
    return found
