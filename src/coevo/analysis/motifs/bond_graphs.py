"""Connected pieces of a periodic bond graph: their atoms, bonds, and in how many directions they are endless.

Also here, bond-graph fragments among the non-metals: which anions a structure is made of.

The default StructureMatcher confuses structures whose anions differ (Li4P2S6 with a P-P bond and other Li2PS3 structures); their
signatures differ, and structures with different signatures never match (docs/architecture.md, curate).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from fractions import Fraction
from math import gcd
from typing import TYPE_CHECKING

import numpy as np

from coevo.analysis.cell_reduction import Crystal
from coevo.analysis.motifs.bonds import DEFAULT_RULE, bonds_of, is_metal, symbol_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pymatgen.core import Structure

    from coevo.analysis.motifs.bonds import BondRule, Bonds


Cell = tuple[int, int, int]
Bond = tuple[int, int, Cell]
HOME: Cell = (0, 0, 0)


@dataclass(frozen=True)
class Piece:
    """A connected piece of the bond graph, laid out so that its atoms hang together.

    Attributes
    ----------
    atoms : tuple of int
        Sites of the crystal, sorted.
    cells : tuple of (int, int, int)
        Lattice translation of each atom in the layout.
    bonds : tuple of (int, int, (int, int, int))
        Each bond once: two positions in ``atoms`` and the translation of the second atom against its place in the layout. It is
        zero for all bonds of a molecule.
    dimension : int
        0 for a molecule or ion, 1 for a chain, 2 for a layer, 3 for a framework.
    """

    atoms: tuple[int, ...]
    cells: tuple[Cell, ...]
    bonds: tuple[Bond, ...]
    dimension: int


def pieces(crystal: Crystal, rule: BondRule = DEFAULT_RULE) -> list[Piece]:
    """Pieces of a crystal's bond graph, in order of their first site."""
    return pieces_of(crystal.numbers.tolist(), bonds_of(crystal, rule))


def pieces_of(numbers: Sequence[int], bonds: Bonds) -> list[Piece]:
    """Pieces by walking the graph and noting where each atom is met again elsewhere.

    Parameters
    ----------
    numbers : sequence of int
        Atomic numbers of all sites; metals belong to no piece.
    bonds : Bonds
    """
    around: dict[int, list[tuple[int, Cell]]] = {site: [] for site, z in enumerate(numbers) if not is_metal(z)}
    for i, j, shift in zip(bonds.first.tolist(), bonds.second.tolist(), bonds.image.tolist(), strict=True):
        around[i].append((j, (shift[0], shift[1], shift[2])))
    place: dict[int, Cell] = {}
    return [_walk(start, around, place) for start in around if start not in place]


def _walk(start: int, around: dict[int, list[tuple[int, Cell]]], place: dict[int, Cell]) -> Piece:
    place[start] = HOME
    stack, members = [start], [start]
    while stack:
        atom = stack.pop()
        x, y, z = place[atom]
        for other, (a, b, c) in around[atom]:
            if other not in place:
                place[other] = (x + a, y + b, z + c)
                stack.append(other)
                members.append(other)
    members.sort()
    position = {site: number for number, site in enumerate(members)}
    bonds: list[Bond] = []
    for site in members:
        here = place[site]
        for other, shift in around[site]:
            there = place[other]
            offset = (here[0] + shift[0] - there[0], here[1] + shift[1] - there[1], here[2] + shift[2] - there[2])
            # each bond is listed from both of its ends
            if site < other or (site == other and offset > HOME):
                bonds.append((position[site], position[other], offset))
    loops = {offset for _, _, offset in bonds if offset != HOME}
    dimension = int(np.linalg.matrix_rank(np.array(sorted(loops)))) if loops else 0
    return Piece(tuple(members), tuple(place[site] for site in members), tuple(sorted(bonds)), dimension)


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


def fragments(structure: Structure) -> list[Fragment]:
    """Connected fragments among the non-metal atoms, with their periodicity, in order of their first site."""
    return [Fragment(piece.atoms, piece.dimension) for piece in pieces(Crystal.from_structure(structure))]


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
    pairs: Counter[str] = Counter()
    amounts: Counter[str] = Counter()
    for fragment in pieces(crystal):
        pairs.update("-".join(sorted((symbols[fragment.atoms[i]], symbols[fragment.atoms[j]]))) for i, j, _ in fragment.bonds)
        content = Counter(symbols[atom] for atom in fragment.atoms)
        if fragment.dimension == 0:
            amounts[_formula(content)] += 1
        else:
            # An endless fragment has no size of its own: it is measured in reduced formulas.
            repeats = _formula_units(content)
            reduced = {symbol: count // repeats for symbol, count in content.items()}
            amounts[f"{_formula(reduced)}({fragment.dimension}D)"] += repeats
    parts = ",".join(f"{name}:{Fraction(count, units)}" for name, count in sorted(amounts.items()))
    bonds = ",".join(f"{pair}:{Fraction(count, units)}" for pair, count in sorted(pairs.items()))
    return f"{parts}|{bonds}"


def _formula_units(content: Mapping[str, int]) -> int:
    return gcd(*content.values())


def _formula(content: Mapping[str, int]) -> str:
    return "".join(f"{symbol}{count if count > 1 else ''}" for symbol, count in sorted(content.items()))
