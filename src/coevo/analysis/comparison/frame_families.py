"""Which frames of a file are one crystal on its way: steps of a relaxation, of molecular dynamics, rattled copies.

Such frames differ too much for the uniqueness test, and must not be apart in training and test all the same. Frames with the same
atoms in the same order whose positions differ little are linked; what is linked, directly or through others, is one trajectory.
Whether two trajectories are one crystal is left to the uniqueness test (:mod:`coevo.analysis.comparison.uniqueness`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from pymatgen.core import Structure

    FloatArray = NDArray[np.float64]

SAME_CELL = 0.3
"""Displacement (root mean square, in units of (V/n)^(1/3)) up to which frames of one and the same cell are linked: the site
tolerance of the uniqueness test. Thermal motion below melting stays below it."""
OTHER_CELL = 0.15
"""The same for frames of cells that differ."""
STRAIN = 0.1
"""Largest component of the strain between linked cells."""


def trajectories(frames: Sequence[Structure]) -> list[int]:
    """Link the frames of a file.

    Parameters
    ----------
    frames : sequence of Structure
        In the order of the file; finite lattices and positions.

    Returns
    -------
    list of int
        For each frame the index of the first frame of its trajectory.

    Notes
    -----
    A frame is compared with the first and the last frame of each trajectory of the same atoms so far: a walk is followed, and
    shuffled copies of one crystal meet.
    """
    found: list[int] = []
    ends: dict[tuple[str, ...], dict[int, list[int]]] = {}
    for number, frame in enumerate(frames):
        known = ends.setdefault(tuple(site.species_string for site in frame), {})
        linked = [first for first, seen in known.items() if any(is_near(frames[index], frame) for index in seen)]
        first = linked[0] if linked else number
        for other in linked[1:]:  # the frame joins what was apart so far
            found = [first if index == other else index for index in found]
            known[first] = [*known[first], *known.pop(other)]
        known[first] = [*known.get(first, [])[:1], number] if len(linked) < 2 else [*known[first], number]
        found.append(first)
    return found


def is_near(one: Structure, other: Structure) -> bool:
    """Whether two frames with the same atoms in the same order are steps of one trajectory."""
    strain = np.linalg.solve(one.lattice.matrix, other.lattice.matrix) - np.eye(3)
    size = float(np.abs(strain).max())
    if not size <= STRAIN:
        return False
    difference = other.frac_coords - one.frac_coords
    difference -= np.round(difference)
    difference -= _mean_of_periodic(difference)
    difference -= np.round(difference)
    moved = difference @ ((one.lattice.matrix + other.lattice.matrix) / 2.0)
    limit = SAME_CELL if size < 1e-4 else OTHER_CELL
    return bool(np.sqrt((moved**2).sum(axis=1).mean()) <= limit * (one.volume / len(one)) ** (1.0 / 3.0))


def _mean_of_periodic(values: FloatArray) -> FloatArray:
    """Mean of fractional shifts on the circle, so that 0.49 and −0.49 have the mean 0.5."""
    mean: FloatArray = np.angle(np.exp(2j * np.pi * values).mean(axis=0)) / (2.0 * np.pi)
    return mean
