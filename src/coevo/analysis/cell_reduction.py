"""Primitive Niggli cells of many crystals: pymatgen's reduction without its cost for the crystals that need little of it.

StructureMatcher reduces a structure to its Niggli cell and then looks for a smaller one. Most generated crystals are primitive
already, and pymatgen spends milliseconds on finding that out. Here the Niggli cell is found on plain floats, and translations are
looked for with one array operation per species; only where there is a translation pymatgen's own search runs.
"""

from __future__ import annotations

from functools import reduce as fold
from math import gcd
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core import Structure

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]

NIGGLI_TOLERANCE = 1e-5
"""Of lengths, in cube roots of the volume, as in pymatgen."""

PRIMITIVE_TOLERANCE = 0.25
"""Å; pymatgen's default for translations."""

_MAPPING_ANGLE = 1.001
_SAME_ANGLE = 1e-3
_NEAR = np.array([row for row in np.ndindex(3, 3, 3) if row != (1, 1, 1)], dtype=float) - 1.0
_MAX_STEPS = 100
_MAX_CONDITION = 50.0


class Crystal(NamedTuple):
    """Atoms in a cell, as arrays.

    Attributes
    ----------
    cell : ndarray, shape (3, 3)
        Lattice vectors as rows, Å.
    fractional : ndarray, shape (n, 3)
    numbers : ndarray of int, shape (n,)
        Atomic numbers.
    """

    cell: FloatArray
    fractional: FloatArray
    numbers: IntArray

    @classmethod
    def from_structure(cls, structure: Structure) -> Crystal:
        """Drop oxidation states, properties and labels."""
        sites = structure.sites
        return cls(
            np.array(structure.lattice.matrix, dtype=float),
            np.array([site.frac_coords for site in sites], dtype=float),
            np.array([site.specie.Z for site in sites], dtype=np.int64),
        )

    def to_structure(self) -> Structure:
        """As a pymatgen structure."""
        from pymatgen.core import Element, Structure

        return Structure(self.cell, [Element.from_Z(int(z)) for z in self.numbers], self.fractional)


def reduced(crystal: Crystal) -> Crystal:
    """Niggli-reduced, then primitive, as StructureMatcher does it.

    The lattice parameters are those that pymatgen finds, except where a reduced cell is on the border of two choices; equal
    lattices may be given by other axes of the same lengths and angles.

    Raises
    ------
    ValueError
        If the cell cannot be reduced at all (no volume).
    """
    niggli = _in_cell(crystal, _niggli_cell(crystal.cell))
    if _is_primitive(niggli):
        return niggli
    return Crystal.from_structure(niggli.to_structure().get_primitive_structure(PRIMITIVE_TOLERANCE))


def _niggli_cell(cell: FloatArray) -> FloatArray:
    """Right-handed Niggli basis; pymatgen's where there are several to choose from, or where the plain steps do not end."""
    if np.linalg.cond(cell) < _MAX_CONDITION:
        transformation = _niggli_transformation(cell)
        if transformation is not None:
            found = transformation @ cell
            if np.linalg.det(found) < 0:
                found = -found
            if not _is_ambiguous(found):
                return found
    from pymatgen.core import Lattice

    lattice = Lattice(cell)
    try:
        return np.array(lattice.get_niggli_reduced_lattice().matrix, dtype=float)
    except ValueError:
        # Niggli reduction gives up on some strained cells. LLL is as good here: matching tries all equivalent cells itself.
        return np.array(lattice.get_lll_reduced_lattice().matrix, dtype=float)


def _in_cell(crystal: Crystal, cell: FloatArray) -> Crystal:
    """The crystal in another cell of its lattice, atoms inside."""
    fractional = crystal.fractional @ crystal.cell @ np.linalg.inv(cell)
    fractional -= np.floor(fractional)
    fractional[fractional >= 1.0] = 0.0
    return Crystal(cell, fractional, crystal.numbers)


def _is_ambiguous(cell: FloatArray) -> bool:
    """Whether the lattice has other axes of nearly the same lengths and angles, which pymatgen might take instead.

    It accepts any right-handed axes with the Niggli lengths whose angles are within a degree of the Niggli angles. Axes that are
    the same by symmetry do not count.
    """
    vectors = _NEAR @ cell
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors))
    axes = np.sqrt(np.einsum("ij,ij->i", cell, cell))
    e = 2.0 * NIGGLI_TOLERANCE * abs(float(np.linalg.det(cell))) ** (1 / 3)
    a, b, c = (np.flatnonzero(np.abs(lengths / length - 1.0) < e) for length in axes)
    unit = vectors / lengths[:, None]
    angles = np.rad2deg(np.arccos(np.clip(unit @ unit.T, -1.0, 1.0)))
    i, j, k = (index.ravel() for index in np.meshgrid(a, b, c, indexing="ij"))
    own = np.rad2deg(np.arccos([(cell[p] @ cell[q]) / (axes[p] * axes[q]) for p, q in ((1, 2), (0, 2), (0, 1))]))
    gap = np.abs(np.stack([angles[j, k], angles[i, k], angles[i, j]], axis=1) - own).max(axis=1)
    close = (gap <= _MAPPING_ANGLE) & (gap > _SAME_ANGLE)
    if not close.any():
        return False
    # Left-handed ones are not taken while there is a right-handed one, and there is: the Niggli cell itself.
    return bool((np.linalg.det(_NEAR[np.stack([i, j, k], axis=1)[close]]) > 0.5).any())


def _niggli_transformation(cell: FloatArray) -> FloatArray | None:
    """Integer matrix T, rows of ``T @ cell`` being the Niggli basis; None if a hundred steps do not suffice.

    Grosse-Kunstleve, Sauter and Adams, Acta Cryst. A 60, 1 (2004).
    """
    g = cell @ cell.T
    A, B, C = float(g[0, 0]), float(g[1, 1]), float(g[2, 2])
    xi, eta, zeta = 2.0 * float(g[1, 2]), 2.0 * float(g[0, 2]), 2.0 * float(g[0, 1])
    a, b, c = (1, 0, 0), (0, 1, 0), (0, 0, 1)
    e = NIGGLI_TOLERANCE * abs(float(np.linalg.det(cell))) ** (1 / 3)
    for _ in range(_MAX_STEPS):
        if B + e < A or (abs(A - B) < e and abs(xi) > abs(eta) + e):
            A, B, xi, eta, a, b = B, A, eta, xi, b, a
        if C + e < B or (abs(B - C) < e and abs(eta) > abs(zeta) + e):
            B, C, eta, zeta, b, c = C, B, zeta, eta, c, b
            continue
        i, j, k = _signs(_sign(xi, e), _sign(eta, e), _sign(zeta, e))
        a, b, c = _times(i, a), _times(j, b), _times(k, c)
        xi, eta, zeta = j * k * xi, i * k * eta, i * j * zeta
        if abs(xi) > B + e or (abs(xi - B) < e and zeta - e > 2 * eta) or (abs(xi + B) < e and -e > zeta):
            s = 1 if xi > 0 else -1
            c = _plus(c, b, -s)
            C, xi, eta = B + C - s * xi, xi - 2 * s * B, eta - s * zeta
        elif abs(eta) > A + e or (abs(A - eta) < e and zeta - e > 2 * xi) or (abs(A + eta) < e and -e > zeta):
            s = 1 if eta > 0 else -1
            c = _plus(c, a, -s)
            C, xi, eta = A + C - s * eta, xi - s * zeta, eta - 2 * s * A
        elif abs(zeta) > A + e or (abs(A - zeta) < e and eta - e > 2 * xi) or (abs(A + zeta) < e and -e > eta):
            s = 1 if zeta > 0 else -1
            b = _plus(b, a, -s)
            B, xi, zeta = A + B - s * zeta, xi - s * eta, zeta - 2 * s * A
        elif -e > xi + eta + zeta + A + B or (abs(xi + eta + zeta + A + B) < e < zeta + (A + eta) * 2):
            c = _plus(_plus(c, a, 1), b, 1)
            C, xi, eta = A + B + C + xi + eta + zeta, 2 * B + xi + zeta, 2 * A + eta + zeta
        else:
            return np.array([a, b, c], dtype=float)
    return None


def _sign(value: float, tolerance: float) -> int:
    return 0 if abs(value) < tolerance else (1 if value > 0 else -1)


def _signs(ll: int, m: int, n: int) -> tuple[int, int, int]:
    """Signs of the axes that make the angles all acute or all obtuse (steps A3 and A4)."""
    if ll * m * n == 1:
        return ll, m, n
    i, j, k = (-1 if ll == 1 else 1), (-1 if m == 1 else 1), (-1 if n == 1 else 1)
    if i * j * k == -1:
        if n == 0:
            k = -1
        elif m == 0:
            j = -1
        elif ll == 0:
            i = -1
    return i, j, k


def _times(s: int, v: tuple[int, int, int]) -> tuple[int, int, int]:
    return (s * v[0], s * v[1], s * v[2])


def _plus(v: tuple[int, int, int], w: tuple[int, int, int], s: int) -> tuple[int, int, int]:
    return (v[0] + s * w[0], v[1] + s * w[1], v[2] + s * w[2])


def _is_primitive(crystal: Crystal) -> bool:
    """Whether no translation but those of the lattice maps each atom near one of its kind; False may still be primitive.

    The same test, within the same tolerances, as the first stage of ``Structure.get_primitive_structure``.
    """
    species, counts = np.unique(crystal.numbers, return_counts=True)
    units = fold(gcd, counts.tolist())
    if units == 1:
        return True
    tolerance = PRIMITIVE_TOLERANCE / np.linalg.norm(crystal.cell, axis=1)
    if tolerance.max() >= 1.0 / units:
        return False
    order = np.argsort(counts, kind="stable")
    rarest = crystal.fractional[crystal.numbers == species[order[0]]]
    translations = rarest[1:] - rarest[0]
    for index in order:
        sites = crystal.fractional[crystal.numbers == species[index]]
        between = sites[None, :, :] - sites[:, None, :]
        gap = translations[:, None, None, :] - between[None]
        gap -= np.round(gap)
        near = (np.abs(gap) <= 2.0 * tolerance).all(axis=3)
        translations = translations[near.any(axis=2).all(axis=1)]
        if not len(translations):
            return True
    return False
