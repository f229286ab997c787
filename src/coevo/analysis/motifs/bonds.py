"""The one bond rule: which non-metal atoms are bonded. Fragments, motifs and the veto of the uniqueness test all use it.

Two non-metal atoms are bonded if they are nearer than the cut-off of their pair of elements. P-S, P-P and S-S have cut-offs of
their own, in the middle (geometric mean) of the gap between the longest bond and the shortest other distance in the known phases
that coevo brings (``li-p-s``; relaxed by CHGNet 0.3.0), rounded to 0.05 Å:

====  =====================  =================  ===============================  =======
pair  bonds in known phases  next distance      single bonds in the literature   cut-off
====  =====================  =================  ===============================  =======
P-S   1.92 - 2.20            3.34 (P4S7)        1.91, 2.09 (P4S10), 2.05 (PS4)   2.70
P-P   2.16 - 2.39            3.04 (fibrous P)   2.21 (P4), 2.22 - 2.24 (black)   2.70
S-S   2.06                   3.12 (P4S6)        2.05 (S8), 2.15 (Na2S2)          2.55
====  =====================  =================  ===============================  =======

No known phase has a distance within 10 % of a cut-off, so that their motifs do not depend on it. Every other pair of non-metals
is bonded below 1.25 sums of covalent radii (2.65, 2.68 and 2.63 Å in the table). Bonds of metals are not looked at.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from coevo.analysis.cell_reduction import Crystal
from coevo.analysis.neighbour_lists import covalent_radii, neighbours
from coevo.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    IntArray = NDArray[np.int64]

BOND_FACTOR = 1.25
"""Sums of covalent radii below which a pair without a cut-off of its own is bonded."""

BOND_CUTOFFS = (("P", "P", 2.70), ("P", "S", 2.70), ("S", "S", 2.55))
"""Pairs with a cut-off of their own, Å; elements of a pair in alphabetical order."""

_SHORTEST, _LONGEST = 0.5, 5.0


class Bonds(NamedTuple):
    """Bonds, each in both directions.

    Attributes
    ----------
    first, second : ndarray of int, shape (b,)
        Sites.
    image : ndarray of int, shape (b, 3)
        Lattice translation of the second site.
    distance : ndarray, shape (b,)
        Å.
    """

    first: IntArray
    second: IntArray
    image: IntArray
    distance: NDArray[np.float64]


@dataclass(frozen=True)
class BondRule:
    """Cut-offs by pair of elements.

    Attributes
    ----------
    cutoffs : tuple of (str, str, float)
        Pairs with a cut-off of their own, Å; elements of a pair in alphabetical order.
    factor : float
        Sums of covalent radii below which any other pair is bonded.
    scale : float
        Factor on all cut-offs; other than 1 to see what depends on them.
    """

    cutoffs: tuple[tuple[str, str, float], ...] = BOND_CUTOFFS
    factor: float = BOND_FACTOR
    scale: float = 1.0

    def cutoff(self, a: str, b: str) -> float:
        """Distance below which two non-metal atoms are bonded, Å."""
        pair = tuple(sorted((a, b)))
        own = next((length for first, second, length in self.cutoffs if (first, second) == pair), None)
        return self.scale * (self.factor * float(covalent_radii(pair).sum()) if own is None else own)

    def scaled(self, factor: float) -> BondRule:
        """The rule with all cut-offs multiplied by a factor."""
        return replace(self, scale=self.scale * factor)

    def with_pairs(self, pairs: Iterable[str]) -> BondRule:
        """The rule with cut-offs from texts like ``"P-S=2.5"``.

        Raises
        ------
        AnalysisError
            If a text is not of that form, names no element or a metal, or the length is not between 0.5 and 5 Å.
        """
        table = {(a, b): length for a, b, length in self.cutoffs}
        for text in pairs:
            a, b, length = _parsed(text)
            table[a, b] = length
        return replace(self, cutoffs=tuple((a, b, length) for (a, b), length in sorted(table.items())))


DEFAULT_RULE = BondRule()


def bonds_of(crystal: Crystal, rule: BondRule = DEFAULT_RULE) -> Bonds:
    """Bonds between non-metal atoms."""
    near, cutoffs = distances_near(crystal, rule, 1.0)
    bonded = near.distance < cutoffs
    return Bonds(near.first[bonded], near.second[bonded], near.image[bonded], near.distance[bonded])


def distances_near(crystal: Crystal, rule: BondRule, reach: float) -> tuple[Bonds, NDArray[np.float64]]:
    """Pairs of non-metal atoms up to ``reach`` times the longest cut-off, and the cut-off of each pair, Å, shape (b,)."""
    elements = np.unique(crystal.numbers)
    kinds = tuple(int(z) for z in elements if not is_metal(int(z)))
    sites = np.flatnonzero(np.isin(crystal.numbers, kinds))
    if not len(sites):
        none = np.empty(0, dtype=np.int64)
        return Bonds(none, none, np.empty((0, 3), dtype=np.int64), np.empty(0)), np.empty(0)
    table = _cutoff_table(rule, kinds)
    nonmetals = Crystal(crystal.cell, crystal.fractional[sites], crystal.numbers[sites])
    found = neighbours(nonmetals, reach * float(table.max()))
    kind = np.searchsorted(kinds, nonmetals.numbers)
    cutoffs = table[kind[found.first], kind[found.second]]
    return Bonds(sites[found.first], sites[found.second], found.image, found.distance), cutoffs


@lru_cache(maxsize=256)
def _cutoff_table(rule: BondRule, kinds: tuple[int, ...]) -> NDArray[np.float64]:
    symbols = [symbol_of(z) for z in kinds]
    return np.array([[rule.cutoff(a, b) for b in symbols] for a in symbols])


@cache
def is_metal(number: int) -> bool:
    """Whether an element is a metal, by atomic number (pymatgen's classes; B, Si, Ge, As, Sb, Te are none)."""
    from pymatgen.core import Element

    return bool(Element.from_Z(number).is_metal)


@cache
def symbol_of(number: int) -> str:
    """Symbol of an element, by atomic number."""
    from pymatgen.core import Element

    return str(Element.from_Z(number).symbol)


def _parsed(text: str) -> tuple[str, str, float]:
    from pymatgen.core import Element

    pair, equals, length = text.partition("=")
    symbols = sorted(part.strip() for part in pair.split("-"))
    form = f"bond {text!r}: allowed: two non-metals and a length in Å, such as P-S=2.5"
    if not equals or len(symbols) != 2:
        raise AnalysisError(form)
    for symbol in symbols:
        if not Element.is_valid_symbol(symbol):
            raise AnalysisError(f"{form}; {symbol!r} is no element")
        if is_metal(Element(symbol).Z):
            raise AnalysisError(f"{form}; {symbol} is a metal, whose bonds are not looked at")
    try:
        number = float(length)
    except ValueError:
        raise AnalysisError(f"{form}; {length!r} is no number") from None
    if not _SHORTEST <= number <= _LONGEST:
        raise AnalysisError(f"{form}; {number:g} is not between {_SHORTEST} and {_LONGEST}")
    return symbols[0], symbols[1], number
