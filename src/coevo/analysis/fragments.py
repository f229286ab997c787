"""Bond-graph fragments among the non-metals: which anions a structure is made of.

The default StructureMatcher confuses structures whose anions differ (Li4P2S6 with a P-P bond and other Li2PS3 structures); their
signatures differ, and structures with different signatures never match (docs/architecture.md, curate).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from math import gcd
from typing import TYPE_CHECKING

import numpy as np

from coevo.analysis.cell_reduction import Crystal
from coevo.analysis.neighbour_lists import neighbours
from coevo.analysis.radii import covalent_radii

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from pymatgen.core import Structure

BOND_FACTOR = 1.25
"""Atoms closer than this many sums of covalent radii are bonded: 2.65 Å for P-S, between the bond (2.05 Å) and the next
neighbours in an anion (3.3 Å)."""


@dataclass(frozen=True)
class Fragment:
    """A connected piece of the bond graph.

    Attributes
    ----------
    atoms : tuple of int
        Sites, sorted.
    dimension : int
        0 for a molecule or ion, 1 for a chain, 2 for a layer, 3 for a network.
    """

    atoms: tuple[int, ...]
    dimension: int


def nonmetal_bonds(crystal: Crystal) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Bonds between non-metal atoms, each given once in both directions.

    Returns
    -------
    first, second : ndarray of int, shape (b,)
        Sites.
    image : ndarray of int, shape (b, 3)
        Lattice translation of the second site.
    """
    sites = np.flatnonzero([not is_metal(int(z)) for z in crystal.numbers])
    if not len(sites):
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty((0, 3), dtype=np.int64)
    radii = covalent_radii([symbol_of(int(z)) for z in crystal.numbers[sites]])
    nonmetals = Crystal(crystal.cell, crystal.fractional[sites], crystal.numbers[sites])
    first, second, image, distance = neighbours(nonmetals, 2.0 * BOND_FACTOR * float(radii.max()))
    bonded = distance < BOND_FACTOR * (radii[first] + radii[second])
    return sites[first[bonded]], sites[second[bonded]], image[bonded]


@cache
def is_metal(number: int) -> bool:
    """Whether an element is a metal, by atomic number."""
    from pymatgen.core import Element

    return bool(Element.from_Z(number).is_metal)


@cache
def symbol_of(number: int) -> str:
    """Symbol of an element, by atomic number."""
    from pymatgen.core import Element

    return str(Element.from_Z(number).symbol)


def fragments(structure: Structure) -> list[Fragment]:
    """Connected fragments among the non-metal atoms, with their periodicity, in order of their first site."""
    crystal = Crystal.from_structure(structure)
    return _components(crystal.numbers, *nonmetal_bonds(crystal))


def fragment_signature(crystal: Structure | Crystal) -> str:
    """Canonical signature of the bond-graph fragments, per formula unit of the structure.

    Fragments are named by their formula (of the molecule, or reduced with its dimension, as in ``PS3(1D)``) and counted, bonds
    are counted by their pair of elements. The same crystal has the same signature in every cell and setting.

    Returns
    -------
    str
        E.g. ``"P2S6:1/2|P-P:1/2,P-S:3"`` for Li2PS3 with P2S6 ions; ``"|"`` if there is no non-metal.
    """
    if not isinstance(crystal, Crystal):
        crystal = Crystal.from_structure(crystal)
    symbols = [symbol_of(z) for z in crystal.numbers.tolist()]
    units = _formula_units(Counter(symbols))
    first, second, image = nonmetal_bonds(crystal)
    pairs = Counter("-".join(sorted((symbols[i], symbols[j]))) for i, j in zip(first.tolist(), second.tolist(), strict=True))
    amounts: Counter[str] = Counter()
    for fragment in _components(crystal.numbers, first, second, image):
        content = Counter(symbols[atom] for atom in fragment.atoms)
        if fragment.dimension == 0:
            amounts[_formula(content)] += 1
        else:
            # An endless fragment has no size of its own: it is measured in reduced formulas.
            repeats = _formula_units(content)
            reduced = {symbol: count // repeats for symbol, count in content.items()}
            amounts[f"{_formula(reduced)}({fragment.dimension}D)"] += repeats
    pieces = ",".join(f"{name}:{Fraction(count, units)}" for name, count in sorted(amounts.items()))
    bonds = ",".join(f"{pair}:{Fraction(count, 2 * units)}" for pair, count in sorted(pairs.items()))
    return f"{pieces}|{bonds}"


def _components(
    numbers: NDArray[np.int64], first: NDArray[np.int64], second: NDArray[np.int64], image: NDArray[np.int64]
) -> list[Fragment]:
    """Connected components of the periodic bond graph, by walking it and noting where each atom is met again elsewhere."""
    neighbours: dict[int, list[tuple[int, NDArray[np.int64]]]] = {
        index: [] for index, z in enumerate(numbers.tolist()) if not is_metal(z)
    }
    for i, j, shift in zip(first.tolist(), second.tolist(), image, strict=True):
        neighbours[i].append((j, shift))
    found: list[Fragment] = []
    cell_of: dict[int, NDArray[np.int64]] = {}
    for start in neighbours:
        if start in cell_of:
            continue
        cell_of[start] = np.zeros(3, dtype=np.int64)
        stack, members = [start], [start]
        loops: set[tuple[int, ...]] = set()
        while stack:
            atom = stack.pop()
            for other, shift in neighbours[atom]:
                here = cell_of[atom] + shift
                if other in cell_of:
                    loops.add(tuple((here - cell_of[other]).tolist()))
                else:
                    cell_of[other] = here
                    stack.append(other)
                    members.append(other)
        dimension = int(np.linalg.matrix_rank(np.array(sorted(loops)))) if loops else 0
        found.append(Fragment(tuple(sorted(members)), dimension))
    return found


def _formula_units(content: Mapping[str, int]) -> int:
    return gcd(*content.values())


def _formula(content: Mapping[str, int]) -> str:
    return "".join(f"{symbol}{count if count > 1 else ''}" for symbol, count in sorted(content.items()))
