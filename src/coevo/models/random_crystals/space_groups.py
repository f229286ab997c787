"""Space groups as the draws need them: lattices, centrings and Wyckoff positions, from PyXtal's and spglib's tables.

Also here, drawing by weight: what ``Generator.choice`` draws, without its checks of the weights at each draw.
"""

from __future__ import annotations

from ast import literal_eval
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]


def shares(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cumulative shares of weights, which are not negative and not all zero, shape (n,)."""
    cumulative: NDArray[np.float64] = (weights / weights.sum()).cumsum()
    cumulative /= cumulative[-1]
    return cumulative


def weighted(cumulative: NDArray[np.float64], rng: np.random.Generator) -> int:
    """An index drawn by :func:`shares`: that of ``rng.choice(n, p=weights / weights.sum())``, with the same random number."""
    return int(cumulative.searchsorted(rng.random(), side="right"))


@dataclass(frozen=True)
class Position:
    """A Wyckoff position: label such as ``4a``, freedom, and its operations on a generating point (fractional)."""

    label: str
    multiplicity: int
    freedom: int
    rotations: FloatArray
    translations: FloatArray

    def images(self, points: FloatArray) -> FloatArray:
        """Orbits of points, shape (n_points, multiplicity, 3)."""
        return np.einsum("mij,nj->nmi", self.rotations, points) + self.translations[None]

    def project(self, points: FloatArray) -> FloatArray:
        """Points moved onto the position, shape (n, 3)."""
        return points @ self.rotations[0].T + self.translations[0]


def crystal_family(number: int) -> str:
    """PyXtal's name of the lattices of a space group."""
    from pyxtal.symmetry import get_pbc_and_lattice

    return str(get_pbc_and_lattice(number, 3)[1])


@lru_cache(maxsize=230)
def _rotations(number: int) -> NDArray[np.int32]:
    """Rotations of the operations in the conventional cell, from spglib's table, shape (n, 3, 3)."""
    import spglib
    from pyxtal.symmetry import pyxtal_hall_numbers

    operations = spglib.get_symmetry_from_database(pyxtal_hall_numbers[number - 1])
    assert operations is not None
    return np.asarray(operations["rotations"])


def order(number: int) -> int:
    """Atoms of the general position."""
    return len(_rotations(number))


@lru_cache(maxsize=230)
def centring(number: int) -> int:
    """Primitive cells in the conventional cell: operations that only shift."""
    return int((_rotations(number) == np.eye(3)).all(axis=(1, 2)).sum())


@lru_cache(maxsize=230)
def _wyckoff_operations(number: int) -> tuple[tuple[str, ...], ...]:
    """Operations of the Wyckoff positions as in the International Tables (``x,0,-x``), from PyXtal's table."""
    from pyxtal.symmetry import SYMDATA

    return tuple(tuple(operations) for operations in literal_eval(SYMDATA.get_wyckoff_sg()["0"][number]))


@lru_cache(maxsize=8192)
def _parsed(operation: str) -> tuple[FloatArray, FloatArray]:
    """Rotation and translation; the 230 groups share most of their operations."""
    from pymatgen.core import SymmOp

    found = SymmOp.from_xyz_str(operation)
    return found.rotation_matrix, found.translation_vector


@lru_cache(maxsize=230)
def smallest(number: int) -> int:
    """Multiplicity of the smallest position."""
    return min(map(len, _wyckoff_operations(number)))


@lru_cache(maxsize=230)
def positions(number: int) -> tuple[Position, ...]:
    """Wyckoff positions of a space group, the general one first."""
    from pyxtal.symmetry import letter_from_index

    found = _wyckoff_operations(number)
    return tuple(
        Position(
            label=f"{len(operations)}{letter_from_index(index, found)}",
            multiplicity=len(operations),
            freedom=int(np.linalg.matrix_rank(_parsed(operations[0])[0])),
            rotations=np.array([_parsed(operation)[0] for operation in operations]),
            translations=np.array([_parsed(operation)[1] for operation in operations]),
        )
        for index, operations in enumerate(found)
    )


@lru_cache(maxsize=4096)
def rooms(number: int, count: int) -> tuple[tuple[Position, ...], FloatArray]:
    """Positions of a space group that ``count`` atoms can fill, and their cumulative shares: freer ones are drawn more often."""
    options = tuple(p for p in positions(number) if p.multiplicity <= count)
    return options, shares(np.array([1.0 + p.freedom for p in options])) if options else np.zeros(0)


@lru_cache(maxsize=230)
def turning(number: int) -> NDArray[np.bool_]:
    """Which operations of the general position do more than shift."""
    return np.abs(positions(number)[0].rotations - np.eye(3)).max(axis=(1, 2)) > 1e-6


@lru_cache(maxsize=4096)
def compatible(number: int, counts: tuple[int, ...]) -> bool:
    """Whether atoms of these counts per primitive cell fit the Wyckoff positions of a space group (PyXtal's rule)."""
    from pyxtal.util import get_wyc_from_comp

    room: dict[int, int | None] = {}
    for position in positions(number):
        left = room.get(position.multiplicity, 0)
        # a position without freedom is taken once, others as often as one likes
        room[position.multiplicity] = None if position.freedom or left is None else left + 1
    wanted = [n * centring(number) for n in counts]
    return bool(get_wyc_from_comp(wanted, list(room), list(room.values()), max_wyc=1))
