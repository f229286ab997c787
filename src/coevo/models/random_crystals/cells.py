"""Conventional cells of a space group that are filled with orbits of atoms.

Space groups, Wyckoff positions and random lattices come from PyXtal. Placing is done here on whole arrays of points: PyXtal's own
loop takes 0.3 CPU-s for a crystal of 12 atoms, most of it in tables that it builds again at each try.
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING

import numpy as np

from coevo.models.random_crystals.electrostatics import Placement, lowest
from coevo.models.random_crystals.geometry import (
    PrimitiveCell,
    RejectedDrawError,
    Separations,
    image_squares,
    images_within,
    nearest_distances,
    shifts,
    squared_lengths,
)
from coevo.models.random_crystals.space_groups import crystal_family, positions, rooms, turning, weighted
from coevo.models.random_crystals.unit_orientation import Site

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from coevo.models.random_crystals.context import SamplingContext
    from coevo.models.random_crystals.space_groups import Position

    FloatArray = NDArray[np.float64]


_ORBIT_TRIES = 12
_ORBIT_POINTS = 6

MERGE = 0.45
"""Images of one atom of a unit closer than this are one atom on a special position, Å."""


class Cell:
    """A conventional cell that is being filled.

    Parameters
    ----------
    context : SamplingContext
    number : int
        Space group.
    matrix : ndarray, shape (3, 3)
        Rows are the conventional cell vectors, Å.
    """

    def __init__(self, context: SamplingContext, number: int, matrix: FloatArray):
        self.context = context
        self.number = number
        self.positions = positions(number)
        self.matrix = matrix
        self.symbols: list[str] = []
        self.coords = np.zeros((0, 3))
        self.fixed: set[str] = set()
        self._sites: dict[bytes, Site] = {}

    @classmethod
    def random(cls, context: SamplingContext, number: int, volume: float, rng: np.random.Generator) -> Cell:
        """A cell with a random lattice (PyXtal) of the group's crystal family.

        Raises
        ------
        RejectedDrawError
            If PyXtal finds no lattice of this volume (Å³).
        """
        from pyxtal.lattice import Lattice
        from pyxtal.msg import VolumeError

        try:
            lattice = Lattice(crystal_family(number), volume, random_state=rng)
        except VolumeError:
            raise RejectedDrawError("no_lattice") from None
        return cls(context, number, np.array(lattice.matrix))

    def duplicate(self) -> Cell:
        """A cell with the same atoms, to be filled differently."""
        other = copy(self)
        other.symbols = list(self.symbols)
        other.fixed = set(self.fixed)
        return other

    def structure(self) -> Structure:
        """The crystal, in a primitive cell."""
        return self.primitive().structure

    def primitive(self) -> PrimitiveCell:
        """The crystal, in a primitive cell, without sites."""
        return PrimitiveCell.of(self.matrix, self.symbols, self.coords)

    def site(self, centre: FloatArray) -> Site:
        """The symmetry of a point (fractional, shape (3,)): the operations that keep it, modulo lattice vectors."""
        general = self.positions[0]
        moved = general.rotations @ centre + general.translations - centre
        kept = (np.abs(moved - np.round(moved)).max(axis=1) < 1e-4) & turning(self.number)
        key = kept.tobytes()
        if key not in self._sites:
            transform = self.matrix.T
            inverse = np.linalg.inv(transform)
            self._sites[key] = Site([transform @ rotation @ inverse for rotation in general.rotations[kept]])
        return self._sites[key]

    def add(self, symbols: Sequence[str], coords: FloatArray) -> None:
        """Place atoms."""
        self.symbols += list(symbols)
        self.coords = np.vstack([self.coords, coords % 1.0])

    def room(self, symbol: str, images: FloatArray) -> FloatArray:
        """Smallest distance over the shortest allowed, for orbits of one atom against themselves and all placed, shape (n,).

        Parameters
        ----------
        images : ndarray, shape (n, multiplicity, 3)
            Candidate orbits; each is seen from its first atom, which stands for all.
        """
        delta = images[:, :1] - images
        delta -= np.round(delta)
        vectors = (delta[:, :, None, :] + shifts()[None, None]) @ self.matrix
        squares = squared_lengths(vectors)
        squares[:, 0, 0] = np.inf
        ratios = np.sqrt(squares.min(axis=(1, 2))) / self.context.minima[symbol, symbol]
        if self.symbols:
            others = (nearest_distances(self.matrix, images[:, 0], self.coords) / self._minima(symbol)).min(axis=1)
            ratios = np.minimum(ratios, others)
        return ratios

    def _minima(self, symbol: str) -> FloatArray:
        """Shortest distances allowed of an element to the atoms placed, Å."""
        of = {s: self.context.minima[symbol, s] for s in set(self.symbols)}
        return np.array([of[s] for s in self.symbols])

    def roomiest(self, symbol: str, images: FloatArray) -> int | None:
        """The orbit of the most :meth:`room`, the first of equal ones; None if all are too close.

        Rooms are computed from inner products with half of the images; :meth:`room` decides where they differ by rounding only.

        Parameters
        ----------
        images : ndarray, shape (n, multiplicity, 3)
        """
        n, multiplicity = images.shape[:2]
        least = self.context.minima[symbol, symbol]
        delta = images[:, :1] - images
        limits = np.full(multiplicity, least)
        if self.symbols:
            delta = np.concatenate([delta, images[:, :1] - self.coords], axis=1)
            limits = np.concatenate([limits, self._minima(symbol)])
        delta -= np.round(delta)
        around, tolerance = images_within(self.matrix, np.inf)
        squares = image_squares(delta.reshape(-1, 3), self.matrix, around).reshape(n, -1)
        squares[:, 0] = around.nearest
        squares /= limits * limits
        rooms = squares.min(axis=1)
        margin = tolerance / float(limits.min()) ** 2
        best = float(rooms.max())
        if best < 1.0 - margin:
            return None
        near = np.flatnonzero(rooms >= best - 2 * margin)
        if len(near) > 1 and (rooms[near] == squares[near, 0]).all() and best > 1.0 + margin:
            others = squares[near, 1:].min(axis=1, initial=np.inf)
            if (others > best + 2 * margin).all():
                return int(near[0])  # all are nearest to their own images, which are equally far
        if len(near) == 1 and best > 1.0 + margin:
            return int(near[0])
        exact = self.room(symbol, images[near])
        first = int(np.argmax(exact))
        return int(near[first]) if exact[first] >= 1.0 else None

    def place(self, symbol: str, position: Position, points: int, rng: np.random.Generator) -> bool:
        """Place one orbit at the roomiest of some random points; whether it was placed, which it is not if it is too close."""
        if position.freedom == 0 and position.label in self.fixed:
            return False
        images = position.images(rng.random((points if position.freedom else 1, 3)))
        best = self.roomiest(symbol, images)
        if best is None:
            return False
        self.add([symbol] * position.multiplicity, images[best])
        if position.freedom == 0:
            self.fixed.add(position.label)
        return True

    def place_atoms(self, symbol: str, count: int, rng: np.random.Generator, *, points: int, tries: int = 6) -> None:
        """Place atoms on randomly drawn Wyckoff positions.

        Parameters
        ----------
        points : int
            Random points per orbit, of which the roomiest is taken: 1 gives random crystals, many fill the voids.

        Raises
        ------
        RejectedDrawError
            If no point is far enough from the other atoms.
        """
        while count > 0:
            options, cumulative = rooms(self.number, count)
            if not options:
                raise RejectedDrawError("no_wyckoff")
            for _ in range(tries):
                position = options[weighted(cumulative, rng)]
                if self.place(symbol, position, points, rng):
                    count -= position.multiplicity
                    break
            else:
                raise RejectedDrawError("no_placement")

    def place_orbits(
        self, symbol: str, count: int, rotations: FloatArray, translations: FloatArray, rng: np.random.Generator
    ) -> None:
        """Place atoms in orbits of given operations; images of a point that nearly touch become one atom on a special position.

        Raises
        ------
        RejectedDrawError
            If no orbit of the atoms left to place is far enough from the others.
        """
        radius = 0.6 * self.context.minima[symbol, symbol]
        tries = _ORBIT_TRIES
        while count > 0:
            if tries == 0:
                raise RejectedDrawError("no_placement")
            tries -= 1
            points = rng.random((_ORBIT_POINTS, 3))
            best: tuple[float, FloatArray] | None = None
            for point in points:
                images = (rotations @ point + translations)[:, None, :]
                _, orbit = merged(self.matrix, [symbol], images, radius)
                if len(orbit) > count:
                    continue
                room = float(self.room(symbol, orbit[None])[0])
                if room >= 1.0 and (best is None or room > best[0]):
                    best = (room, orbit)
            if best is not None:
                self.add([symbol] * len(best[1]), best[1])
                count -= len(best[1])


def merged(lattice: FloatArray, symbols: Sequence[str], images: FloatArray, radius: float) -> tuple[list[str], FloatArray]:
    """Merge images of the same atom that coincide; symbols and mean coordinates of the distinct atoms.

    Parameters
    ----------
    images : ndarray, shape (operations, n, 3)
    radius : float
        Images nearer than this are one atom, Å.
    """
    kept_symbols: list[str] = []
    kept: list[FloatArray] = []
    for symbol in sorted(set(symbols)):
        points = images[:, [i for i, s in enumerate(symbols) if s == symbol]].reshape(-1, 3)
        near = Separations(lattice, points, points, radius).below(radius)
        left = np.ones(len(points), dtype=bool)
        for i in range(len(points)):
            if not left[i]:
                continue
            members = np.flatnonzero(near[i] & left)
            left[members] = False
            delta = points[members] - points[i]
            kept.append(points[i] + (delta - np.round(delta)).mean(axis=0))
            kept_symbols.append(symbol)
    return kept_symbols, np.array(kept)


def best_filling(cell: Cell, fill: Callable[[Cell], None], ways: int) -> Placement:
    """Fill copies of a cell: the crystal of lowest electrostatic energy, or the first where charges are unknown.

    Raises
    ------
    RejectedDrawError
        If no copy could be filled.
    """
    found: list[Placement] = []
    failure = RejectedDrawError("no_placement")
    for _ in range(ways):
        trial = cell.duplicate()
        try:
            fill(trial)
        except RejectedDrawError as err:
            failure = err
            continue
        found.append(Placement(trial.primitive()))
        if not found[0].charges_known:
            break
    if not found:
        raise failure
    return lowest(found)
