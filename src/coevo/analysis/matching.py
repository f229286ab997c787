"""Whether two crystals match: the test of pymatgen's StructureMatcher, on cells that are reduced and laid out once.

``StructureMatcher.fit`` spends most of a comparison on copying and rescaling structures and on building lattices. Here each
crystal is reduced and scaled to unit volume per atom once, the maps between two lattices are found with arrays, and
pymatgen's own compiled functions decide on the sites. The answers are those of
``fit(first, second, skip_structure_reduction=True)`` with primitive cells and scaling, except that oxidation states are not
looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from pymatgen.core import Structure

    FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Tolerances:
    """Tolerances of the comparison, as in StructureMatcher.

    Attributes
    ----------
    ltol : float
        Of lengths, fractional.
    stol : float
        Of sites, in units of (V/n)^(1/3).
    angle_tol : float
        Of angles, degrees.
    """

    ltol: float
    stol: float
    angle_tol: float


class ReducedCrystal:
    """A crystal in its primitive Niggli cell, scaled to unit volume per atom.

    Parameters
    ----------
    reduced : Structure
        As :func:`reduce_cell` gives it.
    """

    __slots__ = ("_points", "_radius", "angles", "cartesian", "cell", "fractional", "lengths", "numbers")

    def __init__(self, reduced: Structure) -> None:
        matrix = np.array(reduced.lattice.matrix, dtype=float)
        self.cell: FloatArray = matrix * (len(reduced) / abs(float(np.linalg.det(matrix)))) ** (1 / 3)
        self.fractional: FloatArray = np.array(reduced.frac_coords, dtype=float)
        self.cartesian: FloatArray = self.fractional @ self.cell
        self.numbers = np.array([site.specie.Z for site in reduced], dtype=np.int64)
        lengths, angles = _parameters(self.cell[None])
        self.lengths: FloatArray = lengths[0]
        self.angles: FloatArray = angles[0]
        self._radius = 0.0
        self._points: tuple[FloatArray, FloatArray, FloatArray] | None = None

    def __len__(self) -> int:
        """Atoms in the cell."""
        return len(self.numbers)

    def lattice_points(self, radius: float) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Lattice points within at least a radius: multiples (p, 3), vectors (p, 3), lengths (p,); kept for the next call."""
        if self._points is None or radius > self._radius:
            # A little more than asked for: the next crystal of the same formula has a similar cell.
            self._radius = 1.2 * radius
            heights = 1.0 / np.linalg.norm(np.linalg.inv(self.cell), axis=0)
            counts = np.floor(self._radius / heights).astype(int)
            axes = [np.arange(-count, count + 1, dtype=float) for count in counts]
            multiples = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
            vectors = multiples @ self.cell
            lengths = np.linalg.norm(vectors, axis=1)
            near = (lengths <= self._radius) & (lengths > 0)
            self._points = multiples[near], vectors[near], lengths[near]
        return self._points


def reduce_cell(structure: Structure) -> Structure:
    """Niggli-reduced, then primitive, as StructureMatcher does it, but without its cache.

    The cache may answer with the cell of a structure that is only nearly the same, so that results would depend on what was
    compared before.
    """
    from pymatgen.core import Structure

    bare = Structure(structure.lattice, [site.specie for site in structure], structure.frac_coords)
    try:
        niggli = bare.get_reduced_structure(reduction_algo="niggli")
    except ValueError:
        # Niggli reduction gives up on some strained cells. LLL is as good here: the test tries all equivalent cells itself.
        niggli = bare.get_reduced_structure(reduction_algo="LLL")
    return niggli.get_primitive_structure()


def fits(first: ReducedCrystal, second: ReducedCrystal, tolerances: Tolerances) -> bool:
    """Whether some cell of the first crystal, with its atoms, lies on the second within the tolerances.

    The test is not quite symmetric, nor transitive: callers keep the representative first.
    """
    from pymatgen.util.coord_cython import is_coord_subset_pbc

    if len(first) != len(second) or not np.array_equal(np.sort(first.numbers), np.sort(second.numbers)):
        return False
    mask = (second.numbers[:, None] != first.numbers[None, :]).astype(np.int64)
    # One atom of the rarest species is laid on each of its kind.
    anchor = int(mask.sum(axis=1).argmax())
    partners = np.flatnonzero(mask[anchor] == 0)
    for fractional, lengths, angles, site_tolerance in _aligned(first, second, tolerances):
        for partner in partners:
            shifted = second.fractional + (fractional[partner] - second.fractional[anchor])
            if is_coord_subset_pbc(shifted, fractional, site_tolerance, mask) and (
                _largest_distance(fractional, shifted, mask, lengths, angles, tolerances.stol) < tolerances.stol
            ):
                return True
    return False


def _aligned(
    first: ReducedCrystal, second: ReducedCrystal, tolerances: Tolerances
) -> Iterator[tuple[FloatArray, FloatArray, FloatArray, FloatArray]]:
    """Cells of the first lattice that resemble the second's cell (``Lattice.find_all_mappings``).

    Yields
    ------
    fractional : ndarray, shape (n, 3)
        Sites of the first crystal in that cell.
    lengths, angles : ndarray, shape (3,)
        Mean parameters of the two cells (degrees).
    site_tolerance : ndarray, shape (3,)
        Fractional.
    """
    cells = _similar_cells(first, second, tolerances)
    if not len(cells):
        return
    lengths, angles = _parameters(cells)
    lengths, angles = 0.5 * (lengths + second.lengths), 0.5 * (angles + second.angles)
    volumes, reciprocal = _volume_and_reciprocal(lengths, angles)
    site_tolerances = reciprocal * (tolerances.stol * (volumes / len(first)) ** (1 / 3))[:, None]
    fractional = first.cartesian @ np.linalg.inv(cells)
    fractional -= np.floor(fractional)
    yield from zip(fractional, lengths, angles, site_tolerances, strict=True)


def _similar_cells(first: ReducedCrystal, second: ReducedCrystal, tolerances: Tolerances) -> FloatArray:
    """Primitive cells, shape (m, 3, 3), of the first lattice whose lengths and angles are those of the second's cell."""
    stretch = 1.0 + tolerances.ltol
    multiples, vectors, lengths = first.lattice_points(float(second.lengths.max()) * stretch)
    ratio = lengths[None, :] / second.lengths[:, None]
    a, b, c = (np.flatnonzero((row < stretch) & (row > 1.0 / stretch)) for row in ratio)
    unit = vectors / lengths[:, None]
    alpha, beta, gamma = second.angles
    right_alpha = _angles_near(unit[b], unit[c], alpha, tolerances.angle_tol)
    right_beta = _angles_near(unit[a], unit[c], beta, tolerances.angle_tol)
    right_gamma = _angles_near(unit[a], unit[b], gamma, tolerances.angle_tol)
    i, j, k = np.nonzero(right_gamma[:, :, None] & right_beta[:, None, :] & right_alpha[None, :, :])
    chosen = np.stack([a[i], b[j], c[k]], axis=1)
    determinant = np.linalg.det(multiples[chosen])
    return vectors[chosen[np.abs(np.abs(determinant) - 1.0) < 0.5]]


def _angles_near(u: FloatArray, v: FloatArray, angle: float, tolerance: float) -> NDArray[np.bool_]:
    """Pairs of unit vectors whose angle is within a tolerance of another, degrees."""
    return np.abs(np.rad2deg(np.arccos(np.clip(u @ v.T, -1.0, 1.0))) - angle) <= tolerance


def _largest_distance(
    first: FloatArray, second: FloatArray, mask: NDArray[np.int64], lengths: FloatArray, angles: FloatArray, stol: float
) -> float:
    """Largest distance between paired sites on the mean lattice after the best translation, in units of (V/n)^(1/3)."""
    from pymatgen.core import Lattice
    from pymatgen.util.coord_cython import pbc_shortest_vectors
    from scipy.optimize import linear_sum_assignment

    lattice = Lattice.from_parameters(*lengths, *angles)
    free_length = (lattice.volume / len(first)) ** (1 / 3)
    tolerance = np.array(lattice.get_lll_reduced_lattice().reciprocal_lattice.abc) * stol * free_length / np.pi
    vectors, squares = pbc_shortest_vectors(lattice, second, first, mask, return_d2=True, lll_frac_tol=tolerance)
    rows, columns = linear_sum_assignment(squares)
    paired = vectors[rows, columns]
    return float(np.linalg.norm(paired - paired.mean(axis=0), axis=1).max()) / free_length


def _parameters(cells: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Lengths (m, 3) and angles (m, 3) in degrees of cells (m, 3, 3)."""
    lengths = np.linalg.norm(cells, axis=2)
    unit = cells / lengths[:, :, None]
    cosines = np.stack([(unit[:, i] * unit[:, j]).sum(axis=1) for i, j in ((1, 2), (0, 2), (0, 1))], axis=1)
    return lengths, np.rad2deg(np.arccos(np.clip(cosines, -1.0, 1.0)))


def _volume_and_reciprocal(lengths: FloatArray, angles: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Volumes (m,), and reciprocal lengths over pi (m, 3), i.e. 2/d of the lattice planes, of cells given by their parameters."""
    cosines, sines = np.cos(np.deg2rad(angles)), np.sin(np.deg2rad(angles))
    solid = 1.0 + 2.0 * cosines.prod(axis=1) - (cosines**2).sum(axis=1)
    edges = lengths.prod(axis=1)
    # Means of the parameters of two cells may belong to no cell; such a one is taken as flat.
    volumes = edges * np.sqrt(np.maximum(solid, 1e-12))
    return volumes, 2.0 * edges[:, None] * sines / (lengths * volumes[:, None])
