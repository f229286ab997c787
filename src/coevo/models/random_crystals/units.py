"""Building units: finite bonded fragments of non-metal atoms, cut from structures and placed as rigid bodies."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from coevo.models.random_crystals.chemistry import covalent_radius, is_cation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from pymatgen.core import Structure

    FloatArray = NDArray[np.float64]

BOND = 1.2
"""A bond is shorter than this times the sum of covalent radii."""

MAX_UNIT = 16
"""Atoms of a unit, at most."""

_SAME = 0.15
"""Two units of one formula are the same when their sorted distances differ by less, Å (root mean square)."""


@dataclass(frozen=True)
class Fragment:
    """A finite fragment: atom indices in the structure, species, and unwrapped Cartesian coordinates (Å, shape (n, 3))."""

    indices: tuple[int, ...]
    species: tuple[str, ...]
    coordinates: FloatArray


def bond_lengths(a: Sequence[str], b: Sequence[str]) -> FloatArray:
    """Distances below which two atoms are bonded, Å, shape (len(a), len(b))."""
    radii_a, radii_b = (np.array([covalent_radius(s) for s in symbols]) for symbols in (a, b))
    return BOND * (radii_a[:, None] + radii_b[None])


@lru_cache(maxsize=512)
def bonds_within(species: tuple[str, ...], coordinates: tuple[tuple[float, float, float], ...]) -> int:
    """Bonds of a unit, each counted in both directions; coordinates are Cartesian, Å."""
    body = np.array(coordinates)
    lengths = np.linalg.norm(body[:, None] - body[None], axis=-1)
    return int((lengths < bond_lengths(species, species)).sum()) - len(body)


def bonds(structure: Structure) -> list[tuple[int, int, tuple[int, int, int]]]:
    """Bonds (i, j, image of j) between non-metal atoms, each in both directions."""
    symbols = [site.specie.symbol for site in structure]
    longest = 2 * BOND * max(covalent_radius(s) for s in symbols)
    i, j, images, distances = structure.get_neighbor_list(longest)
    found = []
    for a, b, image, d in zip(i.tolist(), j.tolist(), images.tolist(), distances.tolist(), strict=True):
        if is_cation(symbols[a]) or is_cation(symbols[b]):
            continue
        if d < BOND * (covalent_radius(symbols[a]) + covalent_radius(symbols[b])):
            found.append((a, b, (int(image[0]), int(image[1]), int(image[2]))))
    return sorted(found)


def fragments(structure: Structure) -> list[Fragment]:
    """Finite fragments of two atoms or more; chains, layers and frameworks are left out."""
    neighbours: dict[int, list[tuple[int, tuple[int, int, int]]]] = {}
    for a, b, image in bonds(structure):
        neighbours.setdefault(a, []).append((b, image))
    seen: set[int] = set()
    found = []
    for start in sorted(neighbours):
        if start in seen:
            continue
        places = {start: np.zeros(3)}
        stack, finite = [start], True
        while stack:
            a = stack.pop()
            for b, image in neighbours[a]:
                place = places[a] + np.array(image)
                if b not in places:
                    places[b] = place
                    stack.append(b)
                elif not np.array_equal(places[b], place):
                    finite = False
        seen |= set(places)
        if not finite:
            continue
        order = sorted(places, key=lambda k: (structure[k].specie.symbol, k))
        cart = structure.lattice.get_cartesian_coords([structure.frac_coords[k] + places[k] for k in order])
        found.append(Fragment(tuple(order), tuple(structure[k].specie.symbol for k in order), cart - cart.mean(axis=0)))
    return found


def same_unit(species: tuple[str, ...], a: FloatArray, b: FloatArray) -> bool:
    """Whether two fragments of the same sorted species have the same shape (mirror images count as the same)."""
    return bool(np.sqrt(np.mean((shape_vector(species, a) - shape_vector(species, b)) ** 2)) < _SAME)


def shape_vector(species: tuple[str, ...], coordinates: FloatArray) -> FloatArray:
    """Sorted distances within each pair of species, Å."""
    distances = np.linalg.norm(coordinates[:, None] - coordinates[None], axis=-1)
    upper = np.triu_indices(len(species), 1)
    pairs = [(species[i], species[j]) for i, j in zip(*upper, strict=True)]
    order = sorted(range(len(pairs)), key=lambda k: (pairs[k], distances[upper][k]))
    return distances[upper][order]
