"""An exact canonical form of finite coloured graphs: two graphs have the same form if and only if they are isomorphic.

The search is the usual one (individualisation and refinement, McKay and Piperno, J. Symb. Comput. 60, 94 (2014)): colours are
refined by those of the neighbours; where that ends with several vertices of one colour, each of them is singled out in turn, and
the smallest adjacency list of all leaves is the form. Leaves that are equal show automorphisms, by which branches are left out,
so that molecules with many equal substituents cost little.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

Edge = tuple[int, int]
Form = tuple[tuple[int, ...], tuple[Edge, ...]]


def canonical_form(colours: Sequence[int], edges: Sequence[Edge]) -> Form:
    """Canonical form of a simple graph.

    Parameters
    ----------
    colours : sequence of int, length n
        Of the vertices, e.g. atomic numbers.
    edges : sequence of (int, int)
        Each once.

    Returns
    -------
    colours : tuple of int
        In canonical order.
    edges : tuple of (int, int)
        Between canonical positions, smaller first, sorted.
    """
    around = _neighbours(len(colours), edges)
    cells = _refined(_ranked(list(colours)), around)
    # Numbered by refined colours first, so that most copies of a small molecule are looked up and not searched for again.
    order = sorted(range(len(colours)), key=lambda vertex: cells[vertex])
    position = {vertex: number for number, vertex in enumerate(order)}
    pairs = sorted((min(position[a], position[b]), max(position[a], position[b])) for a, b in edges)
    return _form(tuple(colours[vertex] for vertex in order), tuple(pairs))


@lru_cache(maxsize=4096)
def _form(colours: tuple[int, ...], edges: tuple[Edge, ...]) -> Form:
    search = _Search(_neighbours(len(colours), edges), edges)
    search.visit(_refined(_ranked(list(colours)), search.around), [])
    assert search.best is not None
    place = search.best[1]
    ordered = sorted(range(len(colours)), key=lambda vertex: place[vertex])
    return tuple(colours[vertex] for vertex in ordered), search.best[0]


class _Search:
    def __init__(self, around: list[list[int]], edges: tuple[Edge, ...]) -> None:
        self.around = around
        self.edges = edges
        self.best: tuple[tuple[Edge, ...], list[int]] | None = None
        self.best_path: list[int] = []
        self.return_to: int | None = None
        self.automorphisms: list[list[int]] = []

    def visit(self, cells: list[int], path: list[int]) -> None:
        """Look at all orders of the vertices below a node of the search tree."""
        target = _target_cell(cells)
        if not target:
            self._leaf(cells, path)
            return
        tried: list[int] = []
        for vertex in target:
            if not self._is_image_of(vertex, tried, path):
                single = [2 * colour + (v != vertex and colour == cells[vertex]) for v, colour in enumerate(cells)]
                self.visit(_refined(_ranked(single), self.around), [*path, vertex])
                if self.return_to is not None:
                    if self.return_to < len(path):
                        return
                    self.return_to = None
            tried.append(vertex)

    def _leaf(self, place: list[int], path: list[int]) -> None:
        form = tuple(sorted((min(place[a], place[b]), max(place[a], place[b])) for a, b in self.edges))
        if self.best is None or form < self.best[0]:
            self.best, self.best_path = (form, place), path
        elif form == self.best[0]:
            back = {number: vertex for vertex, number in enumerate(self.best[1])}
            self.automorphisms.append([back[number] for number in place])
            # The branch is the image of one that has been searched: go back to where the two part.
            parts = (depth for depth, (a, b) in enumerate(zip(path, self.best_path, strict=False)) if a != b)
            self.return_to = next(parts, len(path))

    def _is_image_of(self, vertex: int, tried: list[int], path: list[int]) -> bool:
        """Whether an automorphism that keeps the path takes a vertex that was tried before to this one."""
        if not tried:
            return False
        reached, stack = {vertex}, [vertex]
        kept = [moves for moves in self.automorphisms if all(moves[fixed] == fixed for fixed in path)]
        while stack:
            now = stack.pop()
            for moves in kept:
                if moves[now] not in reached:
                    reached.add(moves[now])
                    stack.append(moves[now])
        return any(other in reached for other in tried)


def _neighbours(count: int, edges: Sequence[Edge]) -> list[list[int]]:
    around: list[list[int]] = [[] for _ in range(count)]
    for a, b in edges:
        around[a].append(b)
        around[b].append(a)
    return around


def _refined(colours: list[int], around: list[list[int]]) -> list[int]:
    """Refine until no neighbour tells two vertices of a colour apart; the numbering does not depend on the vertices' order."""
    kinds = len(set(colours))
    while True:
        colours = _ranked([(colour, sorted(colours[w] for w in around[v])) for v, colour in enumerate(colours)])
        found = len(set(colours))
        if found == kinds:
            return colours
        kinds = found


def _ranked(keys: list) -> list[int]:  # type: ignore[type-arg]
    """Replace keys by their rank among the different ones, counting those below: a discrete colouring is a permutation."""
    rank: dict[object, int] = {}
    ordered = sorted(range(len(keys)), key=lambda v: keys[v])
    ranks = [0] * len(keys)
    for below, vertex in enumerate(ordered):
        key = keys[vertex] if isinstance(keys[vertex], int) else (keys[vertex][0], tuple(keys[vertex][1]))
        ranks[vertex] = rank.setdefault(key, below)
    return ranks


def _target_cell(cells: list[int]) -> list[int]:
    """Vertices of the first smallest colour that several share; none if all differ."""
    members: dict[int, list[int]] = {}
    for vertex, colour in enumerate(cells):
        members.setdefault(colour, []).append(vertex)
    shared = [(len(found), colour) for colour, found in members.items() if len(found) > 1]
    return members[min(shared)[1]] if shared else []
