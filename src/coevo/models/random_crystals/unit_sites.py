"""Where units go when special positions are preferred: groups of low order, and sites whose symmetry a unit has itself.

Molecules and complex anions mostly lie on an inversion centre, a twofold axis or a mirror plane of a monoclinic or orthorhombic
crystal, or on a general position; few of the 230 groups have more than a handful of crystals with units
(Kitaigorodskii, *Molecular Crystals and Molecules*, 1973; Baur and Kassner, Acta Cryst. B 48, 356 (1992)).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from coevo.models.random_crystals.geometry import RejectedDrawError
from coevo.models.random_crystals.space_groups import (
    centring,
    compatible,
    crystal_family,
    order,
    positions,
    shares,
    smallest,
    turning,
    weighted,
)
from coevo.models.random_crystals.unit_orientation import point_operations

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from coevo.models.random_crystals.context import SamplingContext
    from coevo.models.random_crystals.knowledge import Unit
    from coevo.models.random_crystals.space_groups import Position

HIGHEST_ORDER = 8
"""Operations of a primitive cell, at most: those of mmm."""

GENERAL = 0.1
"""Weight of a general position beside a special one."""

FAMILIES = {
    "triclinic": 0.2,
    "monoclinic": 1.0,
    "orthorhombic": 1.0,
    "tetragonal": 0.3,
    "trigonal": 0.3,
    "hexagonal": 0.3,
    "cubic": 0.1,
}
"""Weights of the groups of a crystal family, over the number of groups that suit."""

ANOTHER_ORBIT = 0.1
"""Weight of each orbit of units of one kind beyond the first: symmetry relates nearly all (Steed and Steed, Chem. Rev. 115, 2895
(2015): nine of ten molecular crystals have one independent molecule, or a part of one)."""

SYMMORPHIC = 0.2
"""Weight of a group that needs no screw axis and no glide plane: with these, packings of units are closer (Kitaigorodskii)."""

LEARNED = 0.3
"""Share of groups drawn by how often the examples have them."""

_TOO_UNEQUAL = 0.45
"""Traces of two operations that differ by more are not of one kind."""


@lru_cache(maxsize=230)
def site_kinds(number: int) -> tuple[tuple[tuple[int, int], ...], ...]:
    """Trace and determinant of the operations of the sites of each position, without the identity; the general one first."""
    general = positions(number)[0]
    found = []
    for position in positions(number):
        # a point without accidental symmetry
        centre = position.project(np.array([[0.1357, 0.2719, 0.4133]]))[0]
        moved = general.rotations @ centre + general.translations - centre
        kept = (np.abs(moved - np.round(moved)).max(axis=1) < 1e-6) & turning(number)
        kinds = [(round(float(np.trace(r))), round(float(np.linalg.det(r)))) for r in general.rotations[kept]]
        found.append(tuple(sorted(kinds)))
    return tuple(found)


@lru_cache(maxsize=65_536)
def suits(unit: Unit, number: int, index: int) -> bool:
    """Whether a unit has as many operations of each kind as a position of a group asks for."""
    own = [(o.trace, o.determinant) for o in point_operations(unit.species, unit.coordinates)]
    kinds = site_kinds(number)[index]
    return all(
        sum(abs(t - trace) < _TOO_UNEQUAL and d * det > 0 for t, d in own) >= kinds.count((trace, det)) for trace, det in kinds
    )


def special_positions(unit: Unit, number: int, copies: int) -> list[int]:
    """Positions with a symmetry that the unit has too, for at most ``copies`` in the conventional cell."""
    found = positions(number)
    return [k for k in range(1, len(found)) if found[k].multiplicity <= copies and suits(unit, number, k)]


def fewest_orbits(unit: Unit, number: int, copies: int) -> int:
    """Orbits that so many copies in the conventional cell need, at least, with special positions first; 0: they do not fit."""
    found = positions(number)
    left, orbits = copies, 0
    while left:
        sizes = [found[k].multiplicity for k in special_positions(unit, number, left)]
        if not sizes and found[0].multiplicity > left:
            return 0
        left -= max(sizes, default=found[0].multiplicity)
        orbits += 1
    return orbits


def draw_position(unit: Unit, number: int, copies: int, rng: np.random.Generator) -> Position | None:
    """A position for an orbit of a unit, mostly a special one that leaves no copy over; None if none is small enough."""
    found = positions(number)
    options = [(found[k], 1.0) for k in special_positions(unit, number, copies)]
    if found[0].multiplicity <= copies:
        options.append((found[0], GENERAL if options else 1.0))
    if not options:
        return None
    weights = np.array([w * (1.0 if p.multiplicity == copies else ANOTHER_ORBIT) for p, w in options])
    return options[weighted(shares(weights), rng)][0]


def draw_group(context: SamplingContext, units: Sequence[Unit], amounts: Mapping[str, int], rng: np.random.Generator) -> int:
    """A group of low order with special positions for all kinds of units, which the other atoms fit as well.

    Raises
    ------
    RejectedDrawError
        If there is none.
    """
    numbers, families = _groups(tuple(sorted(units, key=lambda u: (u.formula, u.source))), tuple(sorted(amounts.items())))
    if not numbers:
        raise RejectedDrawError("no_space_group")
    learned = context.knowledge.space_groups
    known = [n for n in numbers if n in learned]
    if known and rng.random() < LEARNED:
        weights = dict(zip(*context.space_groups, strict=True))
        return known[context.pick([weights[n] for n in known], rng)]
    return numbers[weighted(families, rng)]


@lru_cache(maxsize=1024)
def _groups(units: tuple[Unit, ...], amounts: tuple[tuple[str, int], ...]) -> tuple[list[int], np.ndarray]:
    """Groups that suit, and their cumulative shares."""
    left = dict(amounts)
    for unit in units:
        for symbol in unit.species:
            left[symbol] -= 1
    rest = tuple(n for n in left.values() if n)
    kinds = {unit: units.count(unit) for unit in units}
    numbers = [
        number
        for number in range(2, 231)
        if order(number) <= HIGHEST_ORDER * centring(number)
        and all(special_positions(unit, number, n * centring(number)) for unit, n in kinds.items())
        and all(fewest_orbits(unit, number, n * centring(number)) for unit, n in kinds.items())
        and compatible(number, rest)
    ]
    if not numbers:
        return [], np.zeros(0)
    members = [crystal_family(number) for number in numbers]
    orbits = [sum(fewest_orbits(unit, number, n * centring(number)) - 1 for unit, n in kinds.items()) for number in numbers]
    weights = [
        FAMILIES[m] / members.count(m) * ANOTHER_ORBIT**more * (SYMMORPHIC if smallest(n) == centring(n) else 1.0)
        for n, m, more in zip(numbers, members, orbits, strict=True)
    ]
    return numbers, shares(np.array(weights))
