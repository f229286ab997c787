"""Which draws are no crystals, by one rule and with the same words for the generators that diffuse cells and positions.

It needs Python 3.8 or newer and NumPy, and is copied beside the runners that use it.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

LONGEST = 100.0
"""Of a cell vector, Å; a draw beyond is a huge cell. Denoising multiplies an error of the cell by up to 100."""
EMPTIEST, DENSEST = 200.0, 1.0
"""Volume per atom, Å³."""
FLATTEST = 1.0
"""Å between opposite faces of a cell, at least; with it the neighbouring cells suffice to find atoms closer than ``NEAREST``."""
NEAREST = 0.5
"""Å. Atoms that are closer overlap: the published criterion of validity, of CDVAE and of ADiT's and DiffCSP's evaluations."""

_IMAGES = np.array(list(itertools.product((-1, 0, 1), repeat=3)), dtype=float)


def fault_of(lattice: Any, positions: Any) -> str:
    """Why a draw is dropped; empty if it is not.

    Parameters
    ----------
    lattice : array, shape (3, 3)
        Rows are the cell vectors, Å.
    positions : array, shape (atoms, 3)
        Fractional.

    Returns
    -------
    str
        ``not_finite``, ``huge_cell``, ``flat_cell`` or ``overlapping``.
    """
    cell, places = np.asarray(lattice, dtype=float), np.asarray(positions, dtype=float)
    if not (np.isfinite(cell).all() and np.isfinite(places).all()):
        return "not_finite"
    volume = abs(float(np.linalg.det(cell)))
    if np.linalg.norm(cell, axis=1).max() > LONGEST or volume / len(places) > EMPTIEST:
        return "huge_cell"
    if volume / len(places) < DENSEST or heights(cell).min() < FLATTEST:
        return "flat_cell"
    return "overlapping" if nearest(cell, places) < NEAREST else ""


def heights(cell: Any) -> Any:
    """Distances between opposite faces of a cell that has a volume, Å."""
    return 1 / np.linalg.norm(np.linalg.inv(cell), axis=0)


def nearest(cell: Any, positions: Any) -> float:
    """Shortest distance of two atoms of the crystal, Å, if it is below half the smallest height; else something above that."""
    shortest = np.inf
    for index in range(len(positions)):
        apart = positions[index:] - positions[index]
        vectors = ((apart - np.round(apart))[:, None, :] + _IMAGES) @ cell
        distances = np.linalg.norm(vectors, axis=2)
        distances[0, len(_IMAGES) // 2] = np.inf  # the atom itself
        shortest = min(shortest, float(distances.min()))
    return shortest
