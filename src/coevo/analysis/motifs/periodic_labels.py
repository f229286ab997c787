"""Labels of periodic bond graphs that do not depend on how the graph is cut into cells.

A chain, layer or framework is an endless graph; the cell of the crystal that carries it only says which translations were used
to write it down. A label that started from the cell would have to find the smallest one, which a graph need not have (ladders
have several). So the label looks at the endless graph itself: around each atom its surroundings are laid out (whole shells, up
to 400 atoms and twelve bonds, but no less than three bonds), the atoms in them are coloured by element and distance from the
centre and refined by their neighbours' colours; the colour of the surroundings is that of their centre with the sum over all
atoms. These colours are refined once more over the whole graph, and the label is made of which colours there are, in which
proportion.

It is a hash: two graphs that differ only in rings larger than the surroundings would share a label. The tests look for collisions
among thousands of graphs.

Also here, canonical labels of bond graphs: the same motif has the same label in every cell, setting and order of atoms.
"""

from __future__ import annotations

from collections import Counter
from functools import cache, reduce
from hashlib import sha256
from math import gcd, inf, isnan
from typing import TYPE_CHECKING

import numpy as np

from coevo.analysis.motifs.canonical_graphs import canonical_form

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from coevo.analysis.motifs.bond_graphs import Bond, Cell

    Words = NDArray[np.uint64]

_MOST_ATOMS, _MOST_SHELLS, _LEAST_SHELLS = 400, 12, 3
_ROUNDS = 16
_ODD, _FIRST, _SECOND = np.uint64(0x9E3779B97F4A7C15), np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_ROW = 1 << 16
"""Cells in a row: more than any walk of a few bonds crosses."""


def periodic_colours(numbers: Sequence[int], bonds: Sequence[Bond]) -> list[tuple[int, int]]:
    """Colours of the atoms of an endless graph, each with its share.

    Parameters
    ----------
    numbers : sequence of int, length n
        Atomic numbers of one cell.
    bonds : sequence of (int, int, (int, int, int))
        Each once: atoms, and the translation of the second.

    Returns
    -------
    list of (int, int)
        Colour (64 bits) and number of atoms in the smallest whole proportion, sorted.
    """
    around = neighbours_in(len(numbers), bonds)
    seeds = _colours_of_surroundings(numbers, around)
    first = np.array([atom for atom, found in enumerate(around) for _ in found], dtype=np.int64)
    second = np.array([other for found in around for other, _ in found], dtype=np.int64)
    counts = Counter(_refined(seeds, first, second).tolist())
    share = reduce(gcd, counts.values())
    return sorted((colour, count // share) for colour, count in counts.items())


def neighbours_in(count: int, bonds: Sequence[Bond]) -> list[list[tuple[int, Cell]]]:
    """Neighbours of each atom of the cell, with their translations."""
    around: list[list[tuple[int, Cell]]] = [[] for _ in range(count)]
    for a, b, (x, y, z) in bonds:
        around[a].append((b, (x, y, z)))
        around[b].append((a, (-x, -y, -z)))
    return around


def _colours_of_surroundings(numbers: Sequence[int], around: list[list[tuple[int, Cell]]]) -> Words:
    """One colour for each atom of the cell, of its surroundings in the endless graph."""
    count = len(numbers)
    steps = _steps(count, around)
    elements: list[int] = []
    shells: list[int] = []
    first: list[int] = []
    second: list[int] = []
    starts = []
    for root in range(count):
        start = len(elements)
        starts.append(start)
        found = _surroundings(root, count, steps)
        index = {vertex: start + number for number, vertex in enumerate(found)}
        shells += found.values()
        for vertex, here in index.items():
            atom = vertex % count
            elements.append(numbers[atom])
            for step in steps[atom]:
                there = index.get(vertex + step)
                if there is not None:
                    first.append(here)
                    second.append(there)
    initial = _mixed(np.array(elements, dtype=np.uint64) * np.uint64(256) + np.array(shells, dtype=np.uint64))
    colours = _refined(initial, np.array(first, dtype=np.int64), np.array(second, dtype=np.int64))
    whole: Words = np.add.reduceat(_mixed(colours), starts)
    centres: Words = colours[starts]
    return _mixed(centres + _ODD * whole)


def _steps(count: int, around: list[list[tuple[int, Cell]]]) -> list[list[int]]:
    """Neighbours as differences of one number for atom and cell, ``atom + count * cell``: a walk is a sum of whole numbers."""
    return [
        [other - atom + count * (x + _ROW * (y + _ROW * z)) for other, (x, y, z) in found] for atom, found in enumerate(around)
    ]


def _surroundings(root: int, count: int, steps: list[list[int]]) -> dict[int, int]:
    """Atoms of the endless graph around one of them, with their distance in bonds; whole shells only."""
    found = {root: 0}
    edge = [root]
    for shell in range(1, _MOST_SHELLS + 1):
        following = {vertex + step: shell for vertex in edge for step in steps[vertex % count] if vertex + step not in found}
        # The first shells are kept however large they are: a crowded graph has nothing smaller to be told by.
        if len(found) + len(following) > _MOST_ATOMS and shell > _LEAST_SHELLS:
            break
        found.update(following)
        edge = list(following)
    return found


def _refined(colours: Words, first: NDArray[np.int64], second: NDArray[np.int64]) -> Words:
    """Colours after rounds of taking in those of the neighbours, as sums, which do not depend on the order."""
    for _ in range(_ROUNDS):
        sums = np.zeros(len(colours), dtype=np.uint64)
        np.add.at(sums, first, _mixed(colours)[second])
        colours = _mixed(colours * _ODD + sums)
    return colours


def _mixed(words: Words) -> Words:
    """Scatter 64-bit words (the finaliser of SplitMix64); arithmetic wraps around."""
    words = words + _ODD
    words = (words ^ (words >> np.uint64(30))) * _FIRST
    words = (words ^ (words >> np.uint64(27))) * _SECOND
    return words ^ (words >> np.uint64(31))


KINDS = ("molecule", "chain", "layer", "framework")
"""By dimension; single atoms and ions count as molecules."""

_DIGITS = 16


def graph_label(symbols: Sequence[str], bonds: Sequence[Bond], dimension: int) -> str:
    """Label of a connected bond graph.

    For a molecule it is the hash of an exact canonical form (:mod:`coevo.analysis.motifs.canonical_graphs`), for an endless graph
    that of the surroundings of its atoms (:mod:`coevo.analysis.motifs.periodic_labels`).

    Parameters
    ----------
    symbols : sequence of str
        Elements of the molecule, or of one cell.
    bonds : sequence of (int, int, (int, int, int))
        Each once: atoms, and the translation of the second (zero in a molecule).
    dimension : int

    Returns
    -------
    str
        E.g. ``"PS4-molecule-5f0c…"``: formula, kind, 16 hexadecimal digits.
    """
    numbers = [_number(symbol) for symbol in symbols]
    if dimension == 0:
        text = repr(canonical_form(numbers, [(a, b) for a, b, _ in bonds]))
    else:
        text = repr(periodic_colours(numbers, bonds))
    content, _ = formula_content(symbols, dimension)
    return f"{formula_text(content)}-{KINDS[dimension]}-{sha256(text.encode()).hexdigest()[:_DIGITS]}"


def formula_content(symbols: Sequence[str], dimension: int) -> tuple[dict[str, int], int]:
    """Atoms of a molecule or of a reduced formula of an endless motif, and how many of these units there are."""
    counts = Counter(symbols)
    units = gcd(*counts.values()) if dimension else 1
    return {symbol: count // units for symbol, count in counts.items()}, units


def formula_text(content: Mapping[str, int]) -> str:
    """Formula, elements by rising electronegativity (Pauling): PS4, P2S7, SO4."""
    ordered = sorted(content.items(), key=lambda pair: (electronegativity(pair[0]), pair[0]))
    return "".join(f"{symbol}{count if count > 1 else ''}" for symbol, count in ordered)


@cache
def electronegativity(symbol: str) -> float:
    """Of Pauling's scale; infinite where there is none."""
    import warnings

    from pymatgen.core import Element

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = float(Element(symbol).X)
    return inf if isnan(value) else value


@cache
def _number(symbol: str) -> int:
    from pymatgen.core import Element

    return int(Element(symbol).Z)
