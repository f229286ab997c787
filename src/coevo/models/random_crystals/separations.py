"""Whether atoms of a periodic cell are nearer to each other than they may be: the questions that most draws end with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from coevo.models.random_crystals.geometry import minimum_matrix, shifts, squared_lengths

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]


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
