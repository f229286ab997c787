"""Distances in periodic cells, whether atoms are too near, and the checks that every draw passes before it is returned."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from pymatgen.core import Lattice, Structure

    FloatArray = NDArray[np.float64]


class RejectedDrawError(Exception):
    """A draw that is not returned; ``reason`` is a short fixed word that is counted. Never leaves the generator."""

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason


@lru_cache(maxsize=1)
def shifts() -> FloatArray:
    """The 27 cells around, in cell vectors, the home cell first, shape (27, 3)."""
    grid = np.array([-1.0, 0.0, 1.0])
    shifts = np.stack(np.meshgrid(grid, grid, grid, indexing="ij"), axis=-1).reshape(-1, 3)
    return shifts[np.argsort(np.abs(shifts).sum(axis=1), kind="stable")]


def nearest_distances(lattice: FloatArray, a: FloatArray, b: FloatArray, *, same: bool = False) -> FloatArray:
    """Shortest distance between each point of ``a`` and each of ``b`` over the 27 cells around, Å.

    Parameters
    ----------
    lattice : ndarray, shape (3, 3)
        Rows are cell vectors, Å; reduced, or the 27 cells would not hold the nearest image.
    a, b : ndarray, shape (n, 3) and (m, 3)
        Fractional coordinates.
    same : bool
        ``a`` and ``b`` are the same atoms: an atom's distance to itself is that to its own image.

    Returns
    -------
    ndarray, shape (n, m)
    """
    delta = a[:, None, :] - b[None, :, :]
    delta -= np.round(delta)
    vectors = (delta[:, :, None, :] + shifts()[None, None, :, :]) @ lattice
    squares = squared_lengths(vectors)
    if same:
        index = np.arange(len(a))
        squares[index, index, 0] = np.inf
    return np.sqrt(squares.min(axis=-1))


def squared_lengths(vectors: FloatArray) -> FloatArray:
    """Squared lengths of vectors along the last axis: the three terms are added in the order of ``sum``, in less time."""
    squares = vectors * vectors
    return squares[..., 0] + squares[..., 1] + squares[..., 2]


def reduced(structure: Structure) -> Structure:
    """The same crystal in an LLL-reduced cell, wrapped."""
    from pymatgen.core import Structure

    lattice = _reduced_lattice(structure.lattice.matrix.tobytes())
    coords = lattice.get_fractional_coords(structure.cart_coords) % 1.0
    return Structure(lattice, [site.specie for site in structure], coords)


@lru_cache(maxsize=256)
def _reduced_lattice(matrix: bytes) -> Lattice:
    """The LLL-reduced lattice of a matrix; the ways of filling one cell have one in common."""
    from pymatgen.core import Lattice

    return Lattice(np.frombuffer(matrix).reshape(3, 3)).get_lll_reduced_lattice()


def primitive(structure: Structure) -> Structure:
    """A primitive cell of the crystal, reduced, found by spglib at a tolerance of 1e-3 Å."""
    import spglib
    from pymatgen.core import Element, Structure

    cell: Any = (structure.lattice.matrix, structure.frac_coords, [site.specie.Z for site in structure])
    found = spglib.find_primitive(cell, symprec=1e-3)
    if found is None:
        return reduced(structure)
    lattice, coords, numbers = found
    return reduced(Structure(lattice, [Element.from_Z(int(z)) for z in numbers], coords))


@dataclass(frozen=True)
class PrimitiveCell:
    """A crystal in a primitive cell, reduced and wrapped, before pymatgen makes sites of it.

    ``coords`` are fractional, shape (n, 3).
    """

    lattice: Lattice
    symbols: list[str]
    coords: FloatArray

    @classmethod
    def of(cls, matrix: FloatArray, symbols: Sequence[str], coords: FloatArray) -> PrimitiveCell:
        """Of a cell with rows ``matrix`` (Å) and fractional coordinates: that of :func:`primitive`, float by float."""
        import spglib
        from ase.data import atomic_numbers, chemical_symbols

        cell: Any = (matrix, coords, [atomic_numbers[s] for s in symbols])
        found = spglib.find_primitive(cell, symprec=1e-3)
        if found is not None:
            matrix, coords = np.asarray(found[0]), np.asarray(found[1])
            symbols = [chemical_symbols[int(z)] for z in found[2]]
        lattice = _reduced_lattice(matrix.tobytes())
        # one atom after the other, as pymatgen does for its sites: a product of all at once may round differently
        places = np.array([np.dot(place, matrix) for place in coords])
        return cls(lattice, list(symbols), lattice.get_fractional_coords(places) % 1.0)

    @cached_property
    def structure(self) -> Structure:
        """The crystal as pymatgen's structure."""
        from pymatgen.core import Structure

        return Structure(self.lattice, self.symbols, self.coords)


def minimum_matrix(symbols: Sequence[str], minima: dict[tuple[str, str], float]) -> FloatArray:
    """Shortest distances allowed between atoms, Å, shape (n, n)."""
    return np.array([[minima[a, b] for b in symbols] for a in symbols])


def random_rotation(rng: np.random.Generator) -> FloatArray:
    """A rotation drawn uniformly, shape (3, 3)."""
    return rotation_of(rng.normal(size=4))


def rotation_of(quaternion: FloatArray) -> FloatArray:
    """The rotation of a quaternion of any length, shape (3, 3)."""
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


class Separations:
    """The distances of :func:`nearest_distances`, to be compared with limits: the same answers in a fraction of the time.

    Few of the 27 images can be within reach of a point, and squares of distances that are computed from inner products decide all
    comparisons but those within rounding; these are decided by :func:`nearest_distances` itself.

    Parameters
    ----------
    lattice, a, b, same
        As for :func:`nearest_distances`.
    reach : float
        The largest limit that will be asked for, Å.
    """

    def __init__(self, lattice: FloatArray, a: FloatArray, b: FloatArray, reach: float, *, same: bool = False):
        self._lattice = lattice
        self._same = same
        self._delta = a[:, None, :] - b[None, :, :]
        self._delta -= np.round(self._delta)
        images, self._tolerance = images_within(lattice, reach)
        self._squares = image_squares(self._delta.reshape(-1, 3), lattice, images).reshape(self._delta.shape[:2])
        if same:
            index = np.arange(len(a))
            self._squares[index, index] = images.nearest

    def below(self, limits: FloatArray | float, *, ratio: bool = False) -> NDArray[np.bool_]:
        """Where distances are smaller than limits (Å), shape (n, m); ``ratio``: where distance over limit is smaller than 1."""
        limits = np.broadcast_to(limits, self._squares.shape)
        margin = self._squares - limits * limits
        below = margin < 0.0
        unsure = np.flatnonzero(np.abs(margin).ravel() < self._tolerance)
        if len(unsure):
            rows, columns = np.unravel_index(unsure, margin.shape)
            home = (rows == columns) if self._same else np.zeros(len(rows), dtype=bool)
            distances = exact_distances(self._lattice, self._delta[rows, columns], home)
            at = limits[rows, columns]
            below[rows, columns] = distances / at < 1.0 if ratio else distances < at
        return below


@dataclass(frozen=True)
class Images:
    """Cells around that can be within reach: half of their vectors (the others are opposite), Å, shape (3, n), and their squares.

    ``nearest`` is the square of the shortest, infinite if there is none.
    """

    vectors: FloatArray
    squares: FloatArray
    nearest: float


def images_within(lattice: FloatArray, reach: float) -> tuple[Images, float]:
    """The cells around that can hold an image nearer than ``reach`` (Å), and how far squares of distances may be off, Å²."""
    key = lattice.tobytes()
    heights, tolerance = _heights(key)
    # an image that is not in the nearest cell along an axis is at least half the distance of the lattice planes away
    axes = tuple(bool(0.5 * height < reach * 1.000001) for height in heights)
    return _images(key, axes), tolerance


@lru_cache(maxsize=512)
def _heights(lattice: bytes) -> tuple[list[float], float]:
    """Distances of the lattice planes along the three axes, Å, and the tolerance of squares, Å²."""
    matrix = np.frombuffer(lattice).reshape(3, 3)
    heights = (1.0 / np.linalg.norm(np.linalg.inv(matrix), axis=0)).tolist()
    return heights, 1e-9 + 1e-11 * float((matrix * matrix).sum())


@lru_cache(maxsize=512)
def _images(lattice: bytes, axes: tuple[bool, bool, bool]) -> Images:
    half = shifts()[1:][[tuple(s) > (0.0, 0.0, 0.0) for s in shifts()[1:].tolist()]]
    vectors = half[(half[:, [not axis for axis in axes]] == 0.0).all(axis=1)] @ np.frombuffer(lattice).reshape(3, 3)
    squares = squared_lengths(vectors)
    return Images(np.ascontiguousarray(vectors.T), squares, float(squares.min(initial=np.inf)))


def image_squares(delta: FloatArray, lattice: FloatArray, images: Images) -> FloatArray:
    """Squares of the shortest distances, Å², of differences of fractional coordinates to the nearest cell, shape (n, 3) to (n,).

    But for rounding those that :func:`exact_distances` gives, as far as they are within the reach of the images.
    """
    vectors = delta @ lattice
    found = squared_lengths(vectors)
    if len(images.squares):
        inner = vectors @ images.vectors
        np.abs(inner, out=inner)
        inner *= -2.0
        inner += images.squares
        found += np.minimum(inner.min(axis=1), 0.0)
    return found


def exact_distances(lattice: FloatArray, delta: FloatArray, home: NDArray[np.bool_]) -> FloatArray:
    """Shortest distances over the 27 cells, Å, shape (n,), float by float those of :func:`nearest_distances`.

    Parameters
    ----------
    delta : ndarray, shape (n, 3)
        Differences of fractional coordinates to the nearest cell.
    home : ndarray, shape (n,)
        Which are an atom and itself: the home cell is left out.
    """
    squares = squared_lengths((delta[:, None, :] + shifts()[None]) @ lattice)
    squares[home, 0] = np.inf
    return np.sqrt(squares.min(axis=-1))


def too_close(lattice: FloatArray, coords: FloatArray, symbols: Sequence[str], minima: dict[tuple[str, str], float]) -> bool:
    """Whether two atoms, or an atom and its own image, are nearer than the shortest distance allowed for their pair."""
    limits = minimum_matrix(symbols, minima)
    return bool(Separations(lattice, coords, coords, float(limits.max()), same=True).below(limits, ratio=True).any())
