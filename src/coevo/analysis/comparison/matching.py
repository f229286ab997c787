"""Whether crystals match: the test of pymatgen's StructureMatcher, of one crystal against many, on cells reduced once.

``StructureMatcher.fit`` spends most of a comparison on copying and rescaling structures and on building lattices. Here each
crystal is reduced and scaled to unit volume per atom once. A crystal is compared with all representatives of its formula
together: whether a lattice has a cell like another's is an array operation over many lattices (nine pairs in ten end there), and
all ways to lay a crystal on another's cells are tried as one. The answers are those of
``fit(representative, crystal, skip_structure_reduction=True)`` with primitive cells and scaling, except that oxidation states are
not looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from coevo.analysis.comparison.mean_lattices import MeanLattices

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from coevo.analysis.cell_reduction import Crystal

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]

DISTANCE_CUTOFF = 0.6
"""Units of (V/n)^(1/3); crystals of which an average minimum distance differs by more are not compared. Twice the largest
difference between matching relaxed crystals of Li-P-S (docs/benchmarks.md)."""


@dataclass(frozen=True)
class Matching:
    """What counts as the same crystal.

    Attributes
    ----------
    ltol, stol, angle_tol : float
        Of pymatgen's StructureMatcher: fractional length, site (in units of (V/n)^(1/3)) and angle (degrees) tolerances.
    fragment_veto : bool
        Structures whose bond-graph fragments differ never match (:mod:`coevo.analysis.motifs.bond_graphs`).
    kind : str
        ``"ordered"``, or ``"disordered"``: structures that match after elements that could replace each other are mixed match too
        (:mod:`coevo.analysis.comparison.disordered_matching`).
    distance_cutoff : float or None
        Crystals further apart in their average minimum distances are taken as different without a comparison; None compares all.
    """

    ltol: float = 0.2
    stol: float = 0.3
    angle_tol: float = 5.0
    fragment_veto: bool = True
    kind: Literal["ordered", "disordered"] = "ordered"
    distance_cutoff: float | None = DISTANCE_CUTOFF


_BLOCK = 256
_FIRST_TRIALS, _TRIALS, _PAIRS = 6, 400, 200_000


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


class ScaledCrystal:
    """A crystal in its primitive Niggli cell, scaled to unit volume per atom.

    Parameters
    ----------
    reduced : Crystal
        As :func:`coevo.analysis.cell_reduction.reduced` gives it.
    """

    __slots__ = ("anchor", "angles", "cartesian", "cell", "fractional", "lengths", "numbers")

    def __init__(self, reduced: Crystal) -> None:
        numbers = np.asarray(reduced.numbers, dtype=np.int64)
        # Atoms by element, so that all crystals of one composition have their elements in the same places.
        order = np.argsort(numbers, kind="stable")
        self.numbers: IntArray = numbers[order]
        counts = (numbers[:, None] == numbers[None, :]).sum(axis=1)
        # The first atom of the rarest element, in the order given: the one that is laid on each of its kind.
        self.anchor = int(np.flatnonzero(order == counts.argmin())[0])
        self.cell: FloatArray = reduced.cell * (len(numbers) / abs(float(np.linalg.det(reduced.cell)))) ** (1 / 3)
        self.fractional: FloatArray = reduced.fractional[order]
        self.cartesian: FloatArray = self.fractional @ self.cell
        lengths, angles = _parameters(self.cell[None])
        self.lengths: FloatArray = lengths[0]
        self.angles: FloatArray = angles[0]

    def __len__(self) -> int:
        """Atoms in the cell."""
        return len(self.numbers)

    def lattice_points(self, radius: float) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Lattice points within a radius, the origin left out: multiples (p, 3), vectors (p, 3) and lengths (p,), by length."""
        heights = 1.0 / np.linalg.norm(np.linalg.inv(self.cell), axis=0)
        axes = [np.arange(-count, count + 1, dtype=float) for count in np.floor(radius / heights).astype(int)]
        multiples = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
        vectors = multiples @ self.cell
        lengths = np.sqrt(np.einsum("pc,pc->p", vectors, vectors))
        near = np.flatnonzero((lengths <= radius) & (lengths > 0))
        near = near[np.argsort(lengths[near], kind="stable")]
        return multiples[near], vectors[near], lengths[near]


class Shelf:
    """Crystals of one composition, and the search for the first one that another crystal matches.

    Parameters
    ----------
    tolerances : Tolerances
    longest : float
        Longest cell vector of any crystal that will be looked for, in scaled units; a longer one is allowed and costs a rebuild.
    """

    def __init__(self, tolerances: Tolerances, longest: float) -> None:
        self._tolerances = tolerances
        self._crystals: list[ScaledCrystal] = []
        self._radius = longest * (1.0 + tolerances.ltol)
        self._multiples = np.empty((0, 0, 3))
        self._vectors = np.empty((0, 0, 3))
        # Lattice points of the crystals that were compared so far; beyond a crystal's last point no length is like infinity.
        self._known = np.zeros(0, dtype=bool)
        self._lengths = np.empty((0, 0))

    def __len__(self) -> int:
        """Crystals on the shelf."""
        return len(self._crystals)

    def add(self, crystal: ScaledCrystal) -> None:
        """Put a crystal behind the others."""
        self._crystals.append(crystal)

    def first_match(self, crystal: ScaledCrystal, among: IntArray) -> int | None:
        """Position of the first crystal of ``among`` (positions, rising) on which this one fits, None if there is none.

        The test is not quite symmetric, nor transitive: the crystal on the shelf comes first, as a representative does.
        """
        longest = float(crystal.lengths.max()) * (1.0 + self._tolerances.ltol)
        if longest > self._radius:
            self._radius = longest
            self._known[:] = False
        for start in range(0, len(among), _BLOCK):
            rows = among[start : start + _BLOCK]
            self._find_points(rows)
            found = self._similar_cells(crystal, rows)
            if found:
                owners = np.repeat([row for row, _ in found], [len(cells) for _, cells in found])
                match = self._first_on_sites(crystal, owners, np.concatenate([cells for _, cells in found]))
                if match is not None:
                    return match
        return None

    def _first_on_sites(self, crystal: ScaledCrystal, owners: IntArray, cells: FloatArray) -> int | None:
        """Position of the first crystal whose atoms, in one of its cells, lie on those of this one.

        Parameters
        ----------
        crystal : ScaledCrystal
        owners : ndarray of int, shape (m,)
            Position of the crystal that each cell is of, rising.
        cells : ndarray, shape (m, 3, 3)
        """
        lattices = MeanLattices(*_parameters(cells), crystal.lengths, crystal.angles, len(crystal), self._tolerances.stol)
        fractional = np.stack([self._crystals[row].cartesian for row in owners.tolist()]) @ np.linalg.inv(cells)
        fractional -= np.floor(fractional)
        partners = np.flatnonzero(crystal.numbers == crystal.numbers[crystal.anchor])
        # One trial for each cell and partner.
        cell_of = np.repeat(np.arange(len(cells)), len(partners))
        shifts = (fractional[:, partners] - crystal.fractional[crystal.anchor]).reshape(-1, 3)
        for trials in _trials_with_near_sites(fractional, crystal, cell_of, shifts, lattices):
            owned = cell_of[trials]
            laid = crystal.fractional[None] + shifts[trials][:, None]
            match = lattices.first_within(owned, fractional[owned], laid, crystal.numbers)
            if match is not None:
                return int(owners[owned[match]])
        return None

    def _find_points(self, rows: IntArray) -> None:
        """Fill in the lattice points of those of the rows that were not looked at yet."""
        self._make_room(len(self._crystals), 0)
        for row in rows[~self._known[rows]].tolist():
            multiples, vectors, lengths = self._crystals[row].lattice_points(self._radius)
            self._make_room(len(self._crystals), len(lengths))
            self._lengths[row] = np.inf
            count = slice(0, len(lengths))
            self._multiples[row, count], self._vectors[row, count], self._lengths[row, count] = multiples, vectors, lengths
            self._known[row] = True

    def _make_room(self, rows: int, points: int) -> None:
        have = self._lengths.shape
        if rows <= have[0] and points <= have[1]:
            return
        shape = (2 * rows if rows > have[0] else have[0], max(have[1], points))
        for name, fill, tail in (("_multiples", 0.0, (3,)), ("_vectors", 0.0, (3,)), ("_lengths", np.inf, ())):
            wider = np.full(shape + tail, fill)
            wider[: have[0], : have[1]] = getattr(self, name)
            setattr(self, name, wider)
        known = np.zeros(shape[0], dtype=bool)
        known[: have[0]] = self._known
        self._known = known

    def _similar_cells(self, crystal: ScaledCrystal, rows: IntArray) -> list[tuple[int, FloatArray]]:
        """Those of the rows whose lattice has primitive cells like the crystal's (``Lattice.find_all_mappings``).

        Returns
        -------
        list of (int, ndarray of shape (m, 3, 3))
        """
        t = self._tolerances
        lengths = self._lengths[rows]
        stretch = 1.0 + t.ltol
        vectors, multiples = [], []
        for wanted in crystal.lengths:
            # Points are sorted by length: those of about the wanted one follow each other.
            start = (lengths <= wanted / stretch).sum(axis=1)
            stop = (lengths < wanted * stretch).sum(axis=1)
            most = int((stop - start).max(initial=0))
            if most <= 0:
                return []
            columns = start[:, None] + np.arange(most)[None, :]
            inside = columns < stop[:, None]
            columns = np.where(inside, columns, 0)
            chosen = (
                self._vectors[rows[:, None], columns]
                / np.where(inside, lengths[np.arange(len(rows))[:, None], columns], 1.0)[..., None]
            )
            # A vector of NaN makes no angle with any other.
            chosen[~inside] = np.nan
            vectors.append(chosen)
            multiples.append(columns)
        a, b, c = vectors
        gamma = _angles_near(a, b, crystal.angles[2], t.angle_tol)
        beta = _angles_near(a, c, crystal.angles[1], t.angle_tol)
        alpha = _angles_near(b, c, crystal.angles[0], t.angle_tol)
        # Some b makes the right angles with both a and c.
        both = (gamma.astype(np.float32) @ alpha.astype(np.float32) > 0) & beta
        found = []
        for position in np.flatnonzero(both.any(axis=(1, 2))):
            i, j, k = np.nonzero(gamma[position][:, :, None] & beta[position][:, None, :] & alpha[position][None, :, :])
            row = int(rows[position])
            points = np.stack([columns[position][index] for columns, index in zip(multiples, (i, j, k), strict=True)], axis=1)
            determinant = np.linalg.det(self._multiples[row][points])
            primitive = np.abs(np.abs(determinant) - 1.0) < 0.5
            if primitive.any():
                found.append((row, self._vectors[row][points[primitive]]))
        return found


def fits(first: ScaledCrystal, second: ScaledCrystal, tolerances: Tolerances) -> bool:
    """Whether some cell of the first crystal, with its atoms, lies on the second within the tolerances."""
    if len(first) != len(second) or not np.array_equal(np.sort(first.numbers), np.sort(second.numbers)):
        return False
    shelf = Shelf(tolerances, float(second.lengths.max()))
    shelf.add(first)
    return shelf.first_match(second, np.zeros(1, dtype=np.int64)) is not None


def _trials_with_near_sites(
    fractional: FloatArray,
    second: ScaledCrystal,
    cell_of: IntArray,
    shifts: FloatArray,
    lattices: MeanLattices,
) -> Iterator[IntArray]:
    """Trials in which every atom of the second crystal has one of its kind near by (``is_coord_subset_pbc``), in portions.

    Where the lattice is reduced, pairs that are not near in this sense are none in the assignment of sites either, so that every
    atom of the first crystal needs one near by, too.
    """
    # Elements follow each other, in the same places in all crystals.
    borders = np.flatnonzero(np.diff(second.numbers)) + 1
    sites = sorted(map(slice, [0, *borders], [*borders, len(second)]), key=lambda part: part.stop - part.start)
    # A symmetric crystal has hundreds of trials, and the first few decide when it matches.
    start, stop = 0, _FIRST_TRIALS
    while start < len(shifts):
        trials = np.arange(start, min(stop, len(shifts)))
        for part in sites:
            cells = cell_of[trials]
            gap = (second.fractional[part][None] + shifts[trials][:, None])[:, :, None, :] - fractional[cells, None, part]
            gap -= np.round(gap)
            near = np.all(np.abs(gap) <= lattices.tolerances[cells][:, None, None, :], axis=3)
            covered = np.all(np.any(near, axis=1), axis=1) | ~lattices.is_reduced[cells]
            trials = trials[np.all(np.any(near, axis=2), axis=1) & covered]
            if not len(trials):
                break
        if len(trials):
            yield trials
        start, stop = stop, stop + max(1, min(_TRIALS, _PAIRS // len(second) ** 2))


def _angles_near(u: FloatArray, v: FloatArray, angle: float, tolerance: float) -> NDArray[np.bool_]:
    """Pairs of unit vectors, (r, i, 3) and (r, j, 3), whose angle is within a tolerance of another, degrees; (r, i, j)."""
    cosines = u @ v.transpose(0, 2, 1)
    # Rounding may leave parallel vectors with a cosine beyond one.
    low = np.cos(np.deg2rad(angle + tolerance)) if angle + tolerance < 180.0 else -np.inf
    high = np.cos(np.deg2rad(angle - tolerance)) if angle - tolerance > 0.0 else np.inf
    return (cosines >= low) & (cosines <= high)


def _parameters(cells: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Lengths (m, 3) and angles (m, 3) in degrees of cells (m, 3, 3)."""
    lengths = np.linalg.norm(cells, axis=2)
    unit = cells / lengths[:, :, None]
    cosines = np.stack([(unit[:, i] * unit[:, j]).sum(axis=1) for i, j in ((1, 2), (0, 2), (0, 1))], axis=1)
    return lengths, np.rad2deg(np.arccos(np.clip(cosines, -1.0, 1.0)))
