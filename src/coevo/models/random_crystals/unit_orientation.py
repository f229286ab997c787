"""How a unit can be turned on a special position: its own symmetry must contain that of the site."""

from __future__ import annotations

from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from coevo.models.random_crystals.geometry import random_rotation, rotation_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

_ORIENTATIONS = 24
"""Orientations tried on one site."""

_SYMMETRY_TOLERANCE = 0.3
"""Displacement up to which an operation counts as a symmetry of a unit, Å; packing averages it away."""

_ALIKE = 0.15
"""Matrices of which no element differs by more are one operation."""


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

    def may_be(self, other: Operation) -> bool:
        """Whether a turn may make both alike: the trace and the determinant are those of the turned operation too."""
        return abs(self.trace - other.trace) < 3.1 * _ALIKE and self.determinant * other.determinant > 0


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


class Site:
    """The symmetry of a site, and what it asks of the units that have been tried there.

    Parameters
    ----------
    operations : sequence of ndarray, shape (3, 3)
        Symmetry operations of the site (Cartesian) without the identity.
    """

    def __init__(self, operations: Sequence[FloatArray]):
        self.operations = tuple(Operation(h) for h in operations)
        self.matrices = np.array(operations).reshape(-1, 3, 3)
        self._pairings: dict[tuple[Operation, ...], Pairing] = {}

    def pairing(self, unit: Sequence[Operation]) -> Pairing:
        """What of a unit's symmetry goes with what of the site's."""
        key = tuple(unit)
        if key not in self._pairings:
            self._pairings[key] = Pairing(self, key)
        return self._pairings[key]

    def second(self, first: int) -> Operation | None:
        """The first operation that turns about another axis than operation number ``first``."""
        axis = self.operations[first].axis
        assert axis is not None
        return next((h for h in self.operations if h.axis is not None and abs(h.axis @ axis) < 0.99), None)


NO_SYMMETRY = Site(())
"""A site on a general position."""


class _Choice(NamedTuple):
    """An axis of a unit that an axis of a site may become; ``same``: axes of the unit that the second of the site may become."""

    source: FloatArray
    same: list[FloatArray]


class Pairing:
    """A site and a unit: which axes can become which, worked out when it is asked for and kept."""

    def __init__(self, site: Site, unit: tuple[Operation, ...]):
        self._site = site
        self._unit = unit
        self._found = np.array([g.matrix for g in unit])
        self._choices: dict[int, list[_Choice]] = {}
        self._seconds: dict[int, Operation | None] = {}
        self._turned: dict[tuple[int, int, float, int], FloatArray | None] = {}

    @cached_property
    def hopeful(self) -> bool:
        """Whether the unit has enough operations of every kind that the site has.

        Different operations of a site are too different to be alike to one of the unit, so each needs one of its own.
        """
        needed = self._site.operations
        return all(sum(g.may_be(h) for g in self._unit) >= sum(h.same_kind(other) for other in needed) for h in needed)

    def second(self, first: int) -> Operation | None:
        """As :meth:`Site.second`, kept."""
        if first not in self._seconds:
            self._seconds[first] = self._site.second(first)
        return self._seconds[first]

    def choices(self, first: int) -> list[_Choice]:
        """Axes of the unit for the axis of operation number ``first`` of the site."""
        if first not in self._choices:
            second = self.second(first)
            self._choices[first] = []
            for g in self._unit:
                if not g.same_kind(self._site.operations[first]):
                    continue
                source = g.axis
                assert source is not None
                same = (
                    []
                    if second is None
                    else [
                        o.axis
                        for o in self._unit
                        if abs(o.trace - second.trace) < 0.05 and o.axis is not None and abs(o.axis @ source) < 0.99
                    ]
                )
                self._choices[first].append(_Choice(source, same))
        return self._choices[first]

    def contains(self, rotation: FloatArray) -> bool:
        """Whether the turned unit has all the symmetry of the site."""
        wanted = rotation.T @ self._site.matrices @ rotation
        differences = np.abs(wanted[:, None] - self._found[None]).max(axis=(2, 3))
        return bool((differences < _ALIKE).any(axis=1).all())

    def aligned(self, first: int, chosen: int, sign: float, other: int) -> FloatArray | None:
        """The rotation that takes two axes of the unit to the two of the site; None if the unit does not fit then.

        Parameters
        ----------
        first, chosen : int
            Operation of the site, and which of :meth:`choices`.
        sign : float
            1 or -1: end of the axis.
        other : int
            Which of the choice's axes for the second; -1 if it has none.
        """
        key = first, chosen, sign, other
        if key not in self._turned:
            choice = self.choices(first)[chosen]
            axis, second = self._site.operations[first].axis, self.second(first)
            assert axis is not None
            assert second is not None
            assert second.axis is not None
            rotation = _to_axis(sign * choice.source, axis, 0.0)
            if other >= 0:
                turned = rotation @ choice.same[other]
                flat_a, flat_b = turned - (turned @ axis) * axis, second.axis - (second.axis @ axis) * axis
                angle = np.arctan2(np.cross(flat_a, flat_b) @ axis, flat_a @ flat_b)
                rotation = _to_axis(axis, axis, float(angle)) @ rotation
            self._turned[key] = rotation if self.contains(rotation) else None
        return self._turned[key]


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


def orientation(site: Site, unit: Sequence[Operation], rng: np.random.Generator) -> FloatArray | None:
    """A random orientation of a unit on a site.

    The random numbers are drawn whether they are needed or not: a seed gives the crystals that it always gave.

    Returns
    -------
    ndarray, shape (3, 3), or None
        The rotation R such that every site operation is R g Rᵀ for a symmetry g of the unit; None if none was found.
    """
    if not site.operations:
        return random_rotation(rng)
    pairing = site.pairing(unit)
    for _ in range(_ORIENTATIONS):
        first = int(rng.integers(len(site.operations)))
        quaternion = rng.normal(size=4)
        axis = site.operations[first].axis
        rotation: FloatArray | None = None
        if axis is None:
            if pairing.hopeful:
                rotation = rotation_of(quaternion)
                rotation = rotation if pairing.contains(rotation) else None
        else:
            choices = pairing.choices(first)
            if not choices:
                return None
            chosen = int(rng.integers(len(choices)))
            sign = 1.0 if rng.random() < 0.5 else -1.0
            if pairing.second(first) is None:
                angle = float(rng.uniform(0, 2 * np.pi))
                if pairing.hopeful:
                    rotation = _to_axis(sign * choices[chosen].source, axis, angle)
                    rotation = rotation if pairing.contains(rotation) else None
            else:
                same = choices[chosen].same
                other = int(rng.integers(len(same))) if same else -1
                rotation = pairing.aligned(first, chosen, sign, other) if pairing.hopeful else None
        if rotation is not None:
            return rotation
    return None
