"""Building units: finite bonded fragments of non-metal atoms, cut from structures and placed as rigid bodies."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from coevo.models.random_crystals.chemistry import covalent_radius, is_cation
from coevo.models.random_crystals.geometry import random_rotation, rotation_of

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

_ORIENTATIONS = 24
"""Orientations tried on one site."""

_SYMMETRY_TOLERANCE = 0.3
"""Displacement up to which an operation counts as a symmetry of a unit, Å; packing averages it away."""


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


class Operation:
    """A rotation or rotoinversion: matrix (Cartesian), trace, determinant, and the axis (None for the inversion)."""

    def __init__(self, matrix: FloatArray):
        self.matrix = matrix
        self.trace = float(np.trace(matrix))

    @cached_property
    def determinant(self) -> float:
        """1 or -1, but for rounding."""
        return float(np.linalg.det(self.matrix))

    @cached_property
    def axis(self) -> FloatArray | None:
        """The axis that it turns about, found when it is asked for: that of few operations is."""
        proper = self.matrix * np.sign(self.determinant)
        if np.abs(proper - np.eye(3)).max() < 1e-3:
            return None
        values, vectors = np.linalg.eig(proper)
        return np.real(vectors[:, int(np.argmin(np.abs(values - 1.0)))])

    def same_kind(self, other: Operation) -> bool:
        """Whether both turn by the same angle, and both or neither invert."""
        return abs(self.trace - other.trace) < 0.05 and self.determinant * other.determinant > 0


@lru_cache(maxsize=512)
def point_operations(species: tuple[str, ...], coordinates: tuple[tuple[float, float, float], ...]) -> tuple[Operation, ...]:
    """Operations that map a unit onto itself within 0.3 Å, without the identity."""
    from pymatgen.core import Molecule
    from pymatgen.symmetry.analyzer import PointGroupAnalyzer

    if len(species) < 3:
        # A linear unit has infinitely many; it goes on general positions.
        return ()
    molecule = Molecule(list(species), np.array(coordinates))
    operations = PointGroupAnalyzer(molecule, tolerance=_SYMMETRY_TOLERANCE).get_symmetry_operations()
    matrices = [np.array(op.rotation_matrix) for op in operations]
    kept = [m for m in matrices if np.abs(m - np.eye(3)).max() > 1e-3]
    return tuple(Operation(m) for m in sorted(kept, key=lambda m: tuple(np.round(m, 6).ravel())))


def _to_axis(source: FloatArray, target: FloatArray, angle: float) -> FloatArray:
    """Rotation that takes a unit vector to another, followed by a turn about the target."""
    from scipy.spatial.transform import Rotation

    cross = np.cross(source, target)
    sine, cosine = float(np.linalg.norm(cross)), float(source @ target)
    if sine > 1e-8:
        turn = Rotation.from_rotvec(cross / sine * np.arctan2(sine, cosine))
    elif cosine > 0:
        turn = Rotation.identity()
    else:
        other = np.cross(source, [1.0, 0.0, 0.0] if abs(source[0]) < 0.9 else [0.0, 1.0, 0.0])
        turn = Rotation.from_rotvec(other / np.linalg.norm(other) * np.pi)
    return (Rotation.from_rotvec(target * angle) * turn).as_matrix()


def orientation(site: Sequence[FloatArray], unit: Sequence[Operation], rng: np.random.Generator) -> FloatArray | None:
    """A random orientation of a unit on a site whose symmetry operations (Cartesian, without identity) are given.

    Returns
    -------
    ndarray, shape (3, 3), or None
        The rotation R such that every site operation is R g Rᵀ for a symmetry g of the unit; None if none was found.
    """
    if not site:
        return random_rotation(rng)
    operations = [Operation(h) for h in site]
    wanted, found = np.array(site), np.array([g.matrix for g in unit])
    for _ in range(_ORIENTATIONS):
        chosen = operations[int(rng.integers(len(site)))]
        quaternion = rng.normal(size=4)  # drawn whether it is needed or not: a seed gives the crystals that it always gave
        if chosen.axis is None:
            rotation = rotation_of(quaternion)
        else:
            options = [g for g in unit if g.same_kind(chosen)]
            if not options:
                return None
            source = options[int(rng.integers(len(options)))].axis
            assert source is not None
            sign = 1.0 if rng.random() < 0.5 else -1.0
            second = next((h for h in operations if h.axis is not None and abs(h.axis @ chosen.axis) < 0.99), None)
            if second is None:
                rotation = _to_axis(sign * source, chosen.axis, float(rng.uniform(0, 2 * np.pi)))
            else:
                rotation = _aligned(unit, second, sign * source, chosen.axis, rng)
        if len(unit) and _contains(found, wanted, rotation):
            return rotation
    return None


def _contains(unit: FloatArray, site: FloatArray, rotation: FloatArray) -> bool:
    """Whether the turned unit has all the symmetry of the site (matrices, shapes (n, 3, 3) and (m, 3, 3))."""
    wanted = rotation.T @ site @ rotation
    return bool((np.abs(wanted[:, None] - unit[None]).max(axis=(2, 3)) < 0.15).any(axis=1).all())


def _aligned(
    unit: Sequence[Operation], second: Operation, source: FloatArray, axis: FloatArray, rng: np.random.Generator
) -> FloatArray:
    """Rotation that takes ``source`` to ``axis`` and the axis of an operation of the unit like ``second`` to the axis of that."""
    base = _to_axis(source, axis, 0.0)
    same = [g.axis for g in unit if abs(g.trace - second.trace) < 0.05 and g.axis is not None and abs(g.axis @ source) < 0.99]
    if not same or second.axis is None:
        return base
    other = base @ same[int(rng.integers(len(same)))]
    flat_a, flat_b = other - (other @ axis) * axis, second.axis - (second.axis @ axis) * axis
    angle = np.arctan2(np.cross(flat_a, flat_b) @ axis, flat_a @ flat_b)
    return _to_axis(axis, axis, float(angle)) @ base
