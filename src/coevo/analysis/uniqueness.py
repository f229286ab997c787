"""Uniqueness: which structures are the same crystal, in the sense of pymatgen's StructureMatcher and of the bond graph."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coevo.analysis.composition import reduced_formula
from coevo.analysis.fragments import fragment_signature

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from pymatgen.core import Structure
    from pymatgen.core.structure_matcher import StructureMatcher

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
    """A structure reduced once to the primitive Niggli cell, with the key of the bucket outside which it cannot match."""

    __slots__ = ("bucket", "id", "reduced")

    def __init__(self, item: Item, matching: Matching) -> None:
        self.id = item.id
        self.reduced = reduce_cell(item.structure)
        signature = fragment_signature(self.reduced) if matching.fragment_veto else ""
        # StructureMatcher refuses unequal formulas and unequal numbers of sites in the reduced cells, so this loses nothing.
        self.bucket: Bucket = (reduced_formula(self.reduced), len(self.reduced), signature)


def reduce_cell(structure: Structure) -> Structure:
    """Niggli-reduced, then primitive, as StructureMatcher does it, but without its cache.

    The cache may answer with the cell of a structure that is only nearly the same, so that results would depend on what was
    compared before.
    """
    from pymatgen.core import Structure

    bare = Structure(structure.lattice, [site.specie for site in structure], structure.frac_coords)
    try:
        niggli = bare.get_reduced_structure(reduction_algo="niggli")
    except ValueError:
        # Niggli reduction gives up on some strained cells. LLL is as good here: the matcher tries all equivalent cells itself.
        niggli = bare.get_reduced_structure(reduction_algo="LLL")
    return niggli.get_primitive_structure()


def structure_matcher(matching: Matching) -> StructureMatcher:
    """The pymatgen matcher of these tolerances: primitive cells, scaled to equal volume."""
    from pymatgen.core.structure_matcher import StructureMatcher

    return StructureMatcher(
        ltol=matching.ltol,
        stol=matching.stol,
        angle_tol=matching.angle_tol,
        primitive_cell=True,
        scale=True,
        attempt_supercell=False,
    )


def in_order(items: Iterable[Item]) -> list[Item]:
    """Sorted by (energy per atom, id): the order in which structures become representatives."""
    return sorted(items, key=lambda item: (item.energy_per_atom, item.id))


class Representatives:
    """Representatives met so far, and the search among them; the first that matches, in the order of adding, is the answer."""

    def __init__(self, matching: Matching) -> None:
        self._matching = matching
        self._matcher = structure_matcher(matching)
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
            if self._matcher.fit(known.reduced, prepared.reduced, skip_structure_reduction=True):
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
