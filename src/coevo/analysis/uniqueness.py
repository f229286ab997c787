"""Uniqueness: which structures are the same crystal, in the sense of pymatgen's StructureMatcher and of the bond graph."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coevo.analysis.composition import reduced_formula
from coevo.analysis.fragments import fragment_signature
from coevo.analysis.matching import ReducedCrystal, Tolerances, fits, reduce_cell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pymatgen.core import Structure

Bucket = tuple[str, int, str]


@dataclass(frozen=True)
class Matching:
    """What counts as the same crystal.

    Attributes
    ----------
    ltol, stol, angle_tol : float
        Of pymatgen's StructureMatcher: fractional length, site (in units of (V/n)^(1/3)) and angle (degrees) tolerances.
    fragment_veto : bool
        Structures whose bond-graph fragments differ never match (:mod:`coevo.analysis.fragments`).
    """

    ltol: float = 0.2
    stol: float = 0.3
    angle_tol: float = 5.0
    fragment_veto: bool = True


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


class PreparedStructure:
    """A structure reduced once for many comparisons, with the key of the bucket outside which it cannot match."""

    __slots__ = ("bucket", "crystal", "id")

    def __init__(self, item: Item, matching: Matching) -> None:
        self.id = item.id
        reduced = reduce_cell(item.structure)
        signature = fragment_signature(reduced) if matching.fragment_veto else ""
        # Crystals of unequal formulas or numbers of sites in the reduced cells do not match, so this loses nothing.
        self.bucket: Bucket = (reduced_formula(reduced), len(reduced), signature)
        self.crystal = ReducedCrystal(reduced)


def in_order(items: Iterable[Item]) -> list[Item]:
    """Sorted by (energy per atom, id): the order in which structures become representatives."""
    return sorted(items, key=lambda item: (item.energy_per_atom, item.id))


class Representatives:
    """Representatives met so far, and the search among them; the first that matches, in the order of adding, is the answer."""

    def __init__(self, matching: Matching) -> None:
        self._matching = matching
        self._tolerances = Tolerances(matching.ltol, matching.stol, matching.angle_tol)
        self._buckets: dict[Bucket, list[PreparedStructure]] = defaultdict(list)

    def prepare(self, item: Item) -> PreparedStructure:
        """Reduce a structure for this search."""
        return PreparedStructure(item, self._matching)

    def add(self, prepared: PreparedStructure) -> None:
        """Make a structure a representative."""
        self._buckets[prepared.bucket].append(prepared)

    def find(self, prepared: PreparedStructure) -> str | None:
        """Id of the first representative that the structure matches."""
        for known in self._buckets.get(prepared.bucket, ()):
            if fits(known.crystal, prepared.crystal, self._tolerances):
                return known.id
        return None


def find_representatives(
    items: Sequence[Item], existing: Sequence[Item], matching: Matching, *, progress: Callable[[int], None] | None = None
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
    progress : callable, optional
        Called with 1 for each structure looked at, existing ones included.

    Returns
    -------
    dict of str to str
        Id of every item to the id of its representative: its own if it is unique. An item whose id is that of an existing entry
        is that entry.
    """
    representatives = Representatives(matching)
    known_ids = set()
    for entry in existing:
        known_ids.add(entry.id)
        representatives.add(representatives.prepare(entry))
        if progress is not None:
            progress(1)
    assigned: dict[str, str] = {}
    for item in in_order(items):
        if item.id in known_ids:
            assigned[item.id] = item.id
        elif item.id not in assigned:
            prepared = representatives.prepare(item)
            match = representatives.find(prepared)
            if match is None:
                representatives.add(prepared)
            assigned[item.id] = item.id if match is None else match
        if progress is not None:
            progress(1)
    return assigned
