"""Rings and bridges of motifs."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coevo.analysis.motifs.bond_graphs import Bond, Cell

LARGEST_RING = 24
"""Atoms of the largest ring that is looked for in chains, layers and frameworks."""

_ELECTRONEGATIVE_FIRST = 1e-9
_SHARING = {1: "corner", 2: "edge", 3: "face"}

Vertex = tuple[int, int, int, int]
Around = list[list[tuple[int, "Cell"]]]


def molecule_rings(count: int, bonds: Sequence[Bond]) -> tuple[int, ...]:
    """Sizes of the rings of a minimum cycle basis of a molecule, smallest first.

    Parameters
    ----------
    count : int
        Atoms.
    bonds : sequence of (int, int, (0, 0, 0))
    """
    loops = len(bonds) - count + 1
    if not loops:
        return ()
    if loops == 1:
        return (_two_core(count, bonds),)
    import networkx as nx

    graph = nx.Graph()
    graph.add_edges_from((a, b) for a, b, _ in bonds)
    return tuple(sorted(len(ring) for ring in nx.minimum_cycle_basis(graph)))


def endless_rings(around: Around) -> tuple[int, ...]:
    """Sizes of the rings of a chain, layer or framework: of the smallest one through each bond, each size once.

    Rings are closed in space: a walk that ends at an image of its start is none. Rings of more than :data:`LARGEST_RING` atoms
    are not looked for.

    Parameters
    ----------
    around : list of list of (int, (int, int, int))
        Neighbours of each atom of the cell, with their translations.
    """
    sizes = set()
    for atom, found in enumerate(around):
        for other, shift in found:
            if (atom, (0, 0, 0)) <= (other, shift) and len(around[atom]) > 1 and len(around[other]) > 1:
                size = _ring_through(around, (atom, 0, 0, 0), (other, *shift))
                if size is not None:
                    sizes.add(size)
    return tuple(sorted(sizes))


def bridges(symbols: Sequence[str], electronegativities: Sequence[float], around: Around, units: int) -> dict[str, float]:
    """How atoms are bridged.

    Parameters
    ----------
    symbols, electronegativities : sequences, length n
        Of the atoms of the cell.
    around : list of list of (int, (int, int, int))
    units : int
        Formula units in the cell, by which counts are divided.

    Returns
    -------
    dict of str to float
        ``"P-P bond"`` and the like: bonds between equal elements; ``"corner"``, ``"edge"``, ``"face"``: pairs of atoms that share
        one, two, three more electronegative neighbours; ``"S-S bridge"``: such bonds with another atom at each end.
    """
    counts: Counter[str] = Counter()
    for atom, found in enumerate(around):
        for other, _ in found:
            if symbols[atom] == symbols[other]:
                # met from both ends
                counts[f"{symbols[atom]}-{symbols[atom]} bond"] += 1
                if _bridges_others(symbols, around, atom, other):
                    counts[f"{symbols[atom]}-{symbols[atom]} bridge"] += 1
        for number in _shared_with(electronegativities, around, atom).values():
            counts[_SHARING.get(number, f"{number} shared")] += 1
    return {name: float(Fraction(count, 2 * units)) for name, count in sorted(counts.items())}


def _shared_with(negative: Sequence[float], around: Around, atom: int) -> Counter[Vertex]:
    """Other atoms that share more electronegative neighbours with this one, and how many."""
    shared: Counter[Vertex] = Counter()
    for middle, (x, y, z) in around[atom]:
        if negative[middle] <= negative[atom] + _ELECTRONEGATIVE_FIRST:
            continue
        for end, (a, b, c) in around[middle]:
            vertex = (end, x + a, y + b, z + c)
            if vertex != (atom, 0, 0, 0) and negative[end] + _ELECTRONEGATIVE_FIRST < negative[middle]:
                shared[vertex] += 1
    return shared


def _bridges_others(symbols: Sequence[str], around: Around, first: int, second: int) -> bool:
    """Whether two bonded atoms of one element each hold an atom of another element and nothing else."""
    return all(
        len(around[atom]) == 2 and any(symbols[other] != symbols[atom] for other, _ in around[atom]) for atom in (first, second)
    )


def _two_core(count: int, bonds: Sequence[Bond]) -> int:
    """Size of the only ring: what is left after all ends are taken away, again and again."""
    around: list[set[int]] = [set() for _ in range(count)]
    for a, b, _ in bonds:
        around[a].add(b)
        around[b].add(a)
    ends = [atom for atom in range(count) if len(around[atom]) == 1]
    while ends:
        atom = ends.pop()
        for other in around[atom]:
            around[other].discard(atom)
            if len(around[other]) == 1:
                ends.append(other)
        around[atom].clear()
    return sum(1 for found in around if found)


def _ring_through(around: Around, start: Vertex, end: Vertex) -> int | None:
    """Atoms of the smallest ring that has the bond between two atoms, by walking from one to the other without it."""
    seen = {start}
    edge = [start]
    for size in range(2, LARGEST_RING + 1):
        following = []
        for here in edge:
            for other, (a, b, c) in around[here[0]]:
                vertex = (other, here[1] + a, here[2] + b, here[3] + c)
                if vertex in seen or (here == start and vertex == end):
                    continue
                if vertex == end:
                    return size
                seen.add(vertex)
                following.append(vertex)
        if not following:
            return None
        edge = following
    return None
