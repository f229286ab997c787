"""Draws of DiffCSP as they are judged, by the process that draws them and by the runner: what is no crystal is counted."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

_LONGEST = 100.0
"""Å; the first denoising step multiplies an error of the cell by up to 100."""
_LARGEST_VOLUME = 500.0
"""Å³ per atom."""
_SMALLEST_VOLUME = 1.0
_NEAREST = 0.5
"""Å; the published criterion of validity."""
_IMAGES = np.array(list(itertools.product((-1, 0, 1), repeat=3)), dtype=float)


def fault_of(drawn: Any, numbers: list[int]) -> str:
    """Why a draw is dropped; empty if it is not.

    Parameters
    ----------
    drawn : object
        What the sampler wrote: ``lattice`` (3 rows, Å), ``positions`` (fractional), ``numbers`` (atomic).
    numbers : list of int
        Those that were asked for.
    """
    try:
        lattice = np.array(drawn["lattice"], dtype=float)
        positions = np.array(drawn["positions"], dtype=float)
        found = [int(z) for z in drawn["numbers"]]
    except (KeyError, TypeError, ValueError, OverflowError):
        return "malformed"
    if found != numbers:
        return "wrong_elements"
    if lattice.shape != (3, 3) or positions.shape != (len(numbers), 3):
        return "malformed"
    if not (np.isfinite(lattice).all() and np.isfinite(positions).all()):
        return "not_finite"
    volume = abs(float(np.linalg.det(lattice))) / len(numbers)
    if np.linalg.norm(lattice, axis=1).max() > _LONGEST or volume > _LARGEST_VOLUME:
        return "huge_cell"
    if volume < _SMALLEST_VOLUME:
        return "flat_cell"
    return "overlapping" if nearest(lattice, positions) < _NEAREST else ""


def nearest(lattice: np.ndarray, positions: np.ndarray) -> float:
    """The shortest distance between atoms, those of the neighbouring cells included, Å."""
    shortest = np.inf
    for index in range(len(positions)):
        apart = positions[index:] - positions[index]
        vectors = ((apart - np.round(apart))[:, None, :] + _IMAGES) @ lattice
        distances = np.linalg.norm(vectors, axis=2)
        distances[0, len(_IMAGES) // 2] = np.inf  # the atom itself
        shortest = min(shortest, float(distances.min()))
    return shortest
