"""Validity: whether generated structures are possible at all, by the criteria of published tables and by stricter ones.

Published tables (CDVAE, Xie et al., ICLR 2022; MatterGen, Zeni et al., Nature 2025) count a structure as valid when all its
interatomic distances are above 0.5 Å and its cell has at least 0.1 Å³, and its composition as valid when SMACT finds it charge
neutral with the anions more electronegative than the cations. Nearly every structure passes the former; the criterion that this
program screens with (:mod:`coevo.analysis.sanity`: distances in sums of covalent radii) is given beside it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.analysis.composition import is_charge_neutral, smact_version
from coevo.analysis.neighbour_lists import covalent_radii

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray
    from pymatgen.core import Structure

PROBLEMS = ("empty", "disordered", "unknown_element", "not_finite", "no_volume", "cell_too_long")
"""What keeps a structure from being measured, in the order in which it is looked for."""

PUBLISHED_MIN_DISTANCE = 0.5
"""Å; of CDVAE and MatterGen."""

PUBLISHED_MIN_VOLUME = 0.1
"""Å³, of the whole cell; of CDVAE and MatterGen."""

_WORST_CONDITION = 1e10


@dataclass(frozen=True)
class ValidityLimits:
    """Our own limits, those of screening; the published ones are fixed.

    Attributes
    ----------
    min_distance : float
        Shortest distance allowed, in sums of covalent radii.
    min_volume_per_atom, max_volume_per_atom : float
        Å³.
    """

    min_distance: float = 0.6
    min_volume_per_atom: float = 4.0
    max_volume_per_atom: float = 120.0


@dataclass(frozen=True)
class Validity:
    """What can be said of one structure.

    Attributes
    ----------
    problem : str or None
        One of :data:`PROBLEMS`: the structure cannot be measured and is valid in no sense.
    shortest_distance : float or None
        Å; None if it is beyond what the criteria ask for. Distances to periodic images of the same atom count (MatterGen and
        CDVAE look at pairs of different atoms only).
    shortest_ratio : float or None
        Smallest distance in sums of covalent radii; None likewise.
    volume_per_atom : float or None
        Å³.
    distances_valid : bool
        All distances are at least 0.5 Å.
    radii_valid : bool
        All distances are at least ``min_distance`` sums of covalent radii.
    volume_valid : bool
        The volume per atom is within the limits.
    structure_valid : bool
        As in published tables: ``distances_valid`` and a cell of at least 0.1 Å³.
    composition_valid : bool or None
        By SMACT (:func:`coevo.analysis.composition.is_charge_neutral`); None if it was not checked.
    """

    problem: str | None
    shortest_distance: float | None = None
    shortest_ratio: float | None = None
    volume_per_atom: float | None = None
    distances_valid: bool = False
    radii_valid: bool = False
    volume_valid: bool = False
    structure_valid: bool = False
    composition_valid: bool | None = None

    @property
    def valid(self) -> bool:
        """Structure and, where it was checked, composition are valid as in published tables."""
        return self.structure_valid and self.composition_valid is not False

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


def validity(structure: Structure, limits: ValidityLimits | None = None, *, check_composition: bool = True) -> Validity:
    """Measure one structure; malformed ones are answered, never raised on.

    Parameters
    ----------
    structure : Structure
    limits : ValidityLimits, optional
    check_composition : bool
        Ask SMACT. Without SMACT installed ``composition_valid`` is None; :func:`summarise_validity` says so.
    """
    limits = limits or ValidityLimits()
    problem, symbols = _problem_of_sites(structure)
    if problem is not None:
        return Validity(problem)
    neutral = is_charge_neutral(Counter(symbols)) if check_composition and smact_version() is not None else None
    cell = np.asarray(structure.lattice.matrix, dtype=float)
    fractional = np.asarray(structure.frac_coords, dtype=float)
    problem, volume = _problem_of_cell(cell, fractional)
    if problem is not None:
        return Validity(problem, composition_valid=neutral)
    radii = covalent_radii(symbols)
    reach = max(PUBLISHED_MIN_DISTANCE, 2.0 * limits.min_distance * float(radii.max()))
    distance, ratio = _closest(cell, fractional @ cell, radii, reach)
    distances_valid = distance is None or distance >= PUBLISHED_MIN_DISTANCE
    per_atom = volume / len(symbols)
    return Validity(
        problem=None,
        shortest_distance=distance,
        shortest_ratio=ratio,
        volume_per_atom=per_atom,
        distances_valid=distances_valid,
        radii_valid=ratio is None or ratio >= limits.min_distance,
        volume_valid=limits.min_volume_per_atom <= per_atom <= limits.max_volume_per_atom,
        structure_valid=distances_valid and volume >= PUBLISHED_MIN_VOLUME,
        composition_valid=neutral,
    )


def _problem_of_sites(structure: Structure) -> tuple[str | None, list[str]]:
    """Reason that lies in the list of sites, and the element of each site."""
    from ase.data import atomic_numbers

    if len(structure) == 0:
        return "empty", []
    symbols = []
    for site in structure.sites:
        species = site.species
        if len(species) != 1 or species.num_atoms != 1:
            return "disordered", []
        symbols += [specie.symbol for specie in species]
    return (None if all(atomic_numbers.get(symbol, 0) > 0 for symbol in symbols) else "unknown_element"), symbols


def _problem_of_cell(cell: NDArray[np.float64], fractional: NDArray[np.float64]) -> tuple[str | None, float]:
    """Reason that lies in the numbers, and the volume of the cell, Å³."""
    if not (np.isfinite(cell).all() and np.isfinite(fractional).all()):
        return "not_finite", 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        volume = abs(float(np.linalg.det(cell)))
    if not volume > 0.0:
        return "no_volume", 0.0
    # Beyond this double precision can neither reduce the cell nor place its atoms.
    if not (np.isfinite(volume) and np.linalg.cond(cell) <= _WORST_CONDITION):
        return "cell_too_long", volume
    return None, volume


def _closest(
    cell: NDArray[np.float64], cartesian: NDArray[np.float64], radii: NDArray[np.float64], reach: float
) -> tuple[float | None, float | None]:
    """Shortest distance, Å, and smallest distance in sums of covalent radii, up to a distance; None if there is none."""
    from pymatgen.core import Lattice
    from pymatgen.optimization.neighbors import find_points_in_spheres

    # A skewed cell would cost a neighbour search without end.
    reduced = np.ascontiguousarray(Lattice(cell).get_lll_reduced_lattice().matrix)
    fractional = np.linalg.solve(reduced.T, cartesian.T).T
    inside = np.ascontiguousarray((fractional - np.floor(fractional)) @ reduced)
    first, second, image, distance = find_points_in_spheres(inside, inside, reach, np.ones(3, dtype=np.int64), reduced)
    # An atom is no neighbour of itself, though another at the same place is.
    other = (first != second) | (image != 0).any(axis=1)
    if not other.any():
        return None, None
    distance = distance[other]
    return float(distance.min()), float((distance / (radii[first] + radii[second])[other]).min())


@dataclass(frozen=True)
class ValiditySummary:
    """How many of a set of structures are valid; every rate is a share of all ``n``, malformed ones included.

    Attributes
    ----------
    n : int
    problems : dict of str to int
        Structures that could not be measured, by reason.
    distances_valid, radii_valid, volume_valid, structure_valid : int
    composition_valid, valid : int or None
        None if compositions were not checked; ``valid`` means structure and composition.
    composition_note : str
        How compositions were checked, or why not.
    """

    n: int
    problems: dict[str, int]
    distances_valid: int
    radii_valid: int
    volume_valid: int
    structure_valid: int
    composition_valid: int | None
    valid: int | None
    composition_note: str

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, with the rates."""
        counts = ("distances_valid", "radii_valid", "volume_valid", "structure_valid", "composition_valid", "valid")
        shares = {name: getattr(self, name) for name in counts}
        rates = {name: None if count is None or not self.n else count / self.n for name, count in shares.items()}
        return {**asdict(self), "rates": rates}


def summarise_validity(found: Iterable[Validity]) -> ValiditySummary:
    """Count the valid structures of a set."""
    every = list(found)
    version = smact_version()
    # A structure without readable sites has no composition to check, and is valid in no sense.
    known = version is not None and all(v.composition_valid is not None or v.problem in PROBLEMS[:3] for v in every)
    if version is None:
        note = "not checked: SMACT is not installed; pip install 'coevo[analyse]'"
    elif known:
        note = f"smact_validity of SMACT {version} with its 2014 oxidation states, Pauling test, alloys and elements valid"
    else:
        note = "not checked"
    return ValiditySummary(
        n=len(every),
        problems=dict(sorted(Counter(v.problem for v in every if v.problem is not None).items())),
        distances_valid=sum(v.distances_valid for v in every),
        radii_valid=sum(v.radii_valid for v in every),
        volume_valid=sum(v.volume_valid for v in every),
        structure_valid=sum(v.structure_valid for v in every),
        composition_valid=sum(v.composition_valid is True for v in every) if known else None,
        valid=sum(v.structure_valid and v.composition_valid is True for v in every) if known else None,
        composition_note=note,
    )
