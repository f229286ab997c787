"""How dense a mesh of k-points is, in a form that does not depend on the cell.

A mesh of ``N_i`` points along reciprocal vectors of length ``b_i`` (1/Å, with 2π) has the spacing ``max(b_i / N_i)``. Codes
choose ``N_i = ceil(b_i / spacing)``, so that one spacing gives meshes between about half of it and itself, by cell: the number
that was asked for can be told from a mesh within a range only. What enters the digest of the settings is therefore a step of
:data:`STEPS`, the first that is not below the spacing; the mesh and the range of spacings that give it are recorded beside it.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray
    from pymatgen.core import Structure

STEPS = (0.8, 1.6, 3.2)
"""1/Å. All runs that anybody would fit to are within the first; a mesh of one point in a small cell is in another. Meshes of one
cell that differ are told apart where labels meet (:mod:`coevo.labelling.imported`), by what is recorded."""

LARGEST_MESH = 64
LARGEST_STAR = 48 * 2
"""Points that symmetry makes of one at most, counted with the reversal of time."""
SLACK = 1e-3
COUNTED = 0.05
"""Weights are printed with seven decimals."""


@dataclass(frozen=True)
class Mesh:
    """A mesh and the cell that it is of.

    Attributes
    ----------
    divisions : tuple of int
        Points along each reciprocal vector.
    lengths : tuple of float
        Of the reciprocal vectors, 1/Å with 2π.
    """

    divisions: tuple[int, int, int]
    lengths: tuple[float, float, float]

    @property
    def spacing(self) -> float:
        """Largest distance of neighbouring points, 1/Å."""
        return max(length / number for length, number in zip(self.lengths, self.divisions, strict=True))

    @property
    def limits(self) -> tuple[float, float]:
        """Lowest and highest spacing for which ``ceil(b_i / spacing)`` is this mesh; infinite above if it has one point."""
        highest = [length / (number - 1) for length, number in zip(self.lengths, self.divisions, strict=True) if number > 1]
        return self.spacing, min(highest, default=math.inf)

    def parameters(self) -> dict[str, Any]:
        """What enters the digest."""
        return {"k_spacing": step_of(self.spacing)}

    def recorded(self) -> dict[str, Any]:
        """What is kept beside it."""
        low, high = self.limits
        return {
            "k_mesh": list(self.divisions),
            "k_spacing_range": [round(low, 4), None if math.isinf(high) else round(max(low, high), 4)],
        }


def step_of(spacing: float) -> str:
    """Return the step of a spacing, 1/Å, in words: ``up to 0.8 1/Å``."""
    for step in STEPS:
        if spacing <= step * (1 + SLACK):
            return f"up to {step:g} 1/Å"
    return f"above {STEPS[-1]:g} 1/Å"


def mesh_of(divisions: Sequence[int], structure: Structure) -> Mesh:
    """Return a mesh that is given by its divisions."""
    first, second, third = (max(1, int(number)) for number in divisions)
    return Mesh((first, second, third), structure.lattice.reciprocal_lattice.abc)


def mesh_of_points(points: ArrayLike, weights: Sequence[float], structure: Structure) -> Mesh | None:
    """Find the mesh of which some points are the irreducible ones.

    Parameters
    ----------
    points : sequence, shape (n, 3)
        In units of the reciprocal vectors.
    weights : sequence, shape (n,)
        Of any sum.
    structure : Structure
        Whose symmetry gives the other points, where the points alone do not show the mesh.

    Returns
    -------
    Mesh or None
        None if they are no regular mesh.
    """
    listed = np.asarray(points, dtype=float)
    shares = np.asarray(weights, dtype=float) / np.sum(weights)
    for candidates in (np.vstack([listed, -listed]), _star(listed, structure)):
        first, second, third = (_division(column) for column in candidates.T)
        if first is None or second is None or third is None:
            continue
        counts = shares * first * second * third  # points of the mesh that each listed one stands for
        if counts.min() > 1 - COUNTED and counts.max() <= LARGEST_STAR and np.abs(counts - np.round(counts)).max() < COUNTED:
            return mesh_of((first, second, third), structure)
    return None


def _star(points: NDArray[np.float64], structure: Structure) -> NDArray[np.float64]:
    """All points that symmetry and the reversal of time make of some, in units of the reciprocal vectors."""
    from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # spglib's words about its own handling of errors
        try:
            rotations = SpacegroupAnalyzer(structure, symprec=1e-3).get_symmetry_dataset().rotations  # type: ignore[union-attr]
        except Exception:  # noqa: BLE001 - spglib gives up on a cell in its own way; the points stand for themselves then
            rotations = np.eye(3, dtype=int)[None]
    turned = np.vstack([points @ np.linalg.inv(rotation) for rotation in rotations])
    return np.vstack([turned, -turned])


def _division(values: NDArray[np.float64]) -> int | None:
    """Return the smallest number of equal parts of the axis on which, or half a part beside which, all values lie."""
    for number in range(1, LARGEST_MESH + 1):
        for shift in (0.0, 0.5):
            rest = values * number - shift
            if np.abs(rest - np.round(rest)).max() < 5e-4 * number:
                return number
    return None
