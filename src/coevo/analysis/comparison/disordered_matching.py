"""Matching that ignores how similar elements are distributed over their sites, as MatterGen's evaluation does it.

Two structures of one formula match if they match as they are, or if one matches after elements that can replace each other in an
alloy are mixed on their sites. Elements can do so by the Hume-Rothery rules with thresholds of Zeni et al., Nature 639, 624
(2025), methods: atomic radii within 30 % of their mean, electronegativities within 1.0 (Pauling). In Li-P-S these are P and S, so
that structures which differ by exchanging P and S count as one. The tests are pymatgen's own StructureMatcher with
``OrderDisorderElementComparator``, subsets and supercells allowed, and cost milliseconds a pair.
"""

from __future__ import annotations

from functools import cache
from itertools import combinations
from math import isnan
from typing import TYPE_CHECKING, Any

from coevo.analysis.cell_reduction import Crystal
from coevo.analysis.comparison.matching import ScaledCrystal, Tolerances, fits

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pymatgen.core import Structure

    IntArray = NDArray[np.int64]

MAX_RADIUS_DIFFERENCE = 0.3
"""Of atomic radii, as a fraction of their mean."""

MAX_ELECTRONEGATIVITY_DIFFERENCE = 1.0
"""Pauling."""


@cache
def can_mix(first: int, second: int) -> bool:
    """Whether two elements, by atomic number, could share a site; those without tabulated radius or electronegativity cannot."""
    from pymatgen.core import Element

    one, other = Element.from_Z(first), Element.from_Z(second)
    if one.atomic_radius is None or other.atomic_radius is None or isnan(one.X) or isnan(other.X):
        return False
    radii = float(one.atomic_radius), float(other.atomic_radius)
    similar = abs(radii[0] - radii[1]) <= MAX_RADIUS_DIFFERENCE * 0.5 * (radii[0] + radii[1])
    return similar and abs(one.X - other.X) <= MAX_ELECTRONEGATIVITY_DIFFERENCE


def mixing_groups(numbers: frozenset[int]) -> list[tuple[int, ...]]:
    """Groups of elements that mix, directly or through others, among some; sorted, singles left out."""
    groups: list[set[int]] = [{z} for z in sorted(numbers)]
    for one, other in combinations(sorted(numbers), 2):
        if can_mix(one, other):
            mine = next(g for g in groups if one in g)
            theirs = next(g for g in groups if other in g)
            if mine is not theirs:
                mine |= theirs
                groups.remove(theirs)
    return [tuple(sorted(g)) for g in groups if len(g) > 1]


def mixed(crystal: Crystal) -> Structure | None:
    """The crystal with each group of elements that mix spread over all its sites; None if no two of them mix."""
    structure = crystal.to_structure()
    groups = mixing_groups(frozenset(crystal.numbers.tolist()))
    if not groups:
        return None
    from pymatgen.core import Element

    amounts = structure.composition
    for group in groups:
        symbols = [Element.from_Z(z).symbol for z in group]
        total = sum(amounts[symbol] for symbol in symbols)
        shares = {symbol: amounts[symbol] / total for symbol in symbols}
        mixture: Any = dict.fromkeys(symbols, shares)
        structure.replace_species(mixture)
    return structure


class DisorderedShelf:
    """As :class:`coevo.analysis.comparison.matching.Shelf`, for crystals of one formula whatever their number of atoms.

    Parameters
    ----------
    tolerances : Tolerances
    longest : float
        As for a Shelf; not used.
    """

    def __init__(self, tolerances: Tolerances, longest: float) -> None:
        from pymatgen.core.structure_matcher import OrderDisorderElementComparator, StructureMatcher

        del longest  # of no use here; part of what a shelf is
        self._tolerances = tolerances
        self._crystals: list[ScaledCrystal] = []
        self._mixed: list[Structure | None] = []
        self._matcher = StructureMatcher(
            ltol=tolerances.ltol,
            stol=tolerances.stol,
            angle_tol=tolerances.angle_tol,
            primitive_cell=True,
            scale=True,
            attempt_supercell=True,
            allow_subset=True,
            comparator=OrderDisorderElementComparator(),
        )

    def __len__(self) -> int:
        """Crystals on the shelf."""
        return len(self._crystals)

    def add(self, crystal: ScaledCrystal) -> None:
        """Put a crystal behind the others."""
        self._crystals.append(crystal)
        self._mixed.append(mixed(Crystal(crystal.cell, crystal.fractional, crystal.numbers)))

    def first_match(self, crystal: ScaledCrystal, among: IntArray) -> int | None:
        """Position of the first crystal of ``among`` on which this one fits as it is or mixed, None if there is none."""
        plain = Crystal(crystal.cell, crystal.fractional, crystal.numbers).to_structure()
        for position in among.tolist():
            known = self._crystals[position]
            disordered = self._mixed[position]
            if fits(known, crystal, self._tolerances) or (disordered is not None and self._matcher.fit(disordered, plain)):
                return int(position)
        return None
