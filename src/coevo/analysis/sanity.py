"""Whether a structure is fit to be relaxed, or which countable reason speaks against it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from coevo.analysis.neighbour_lists import covalent_radii

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray
    from pymatgen.core import Structure

REASONS = (
    "empty",
    "disordered",
    "off_system",
    "too_many_atoms",
    "not_finite",
    "volume_too_small",
    "volume_too_large",
    "cell_too_long",
    "atoms_too_close",
)
"""Every reason, in the order in which they are looked for."""

_WORST_CONDITION = 1e10


def check_structure(
    structure: Structure,
    elements: Collection[str],
    *,
    min_distance: float,
    min_volume_per_atom: float,
    max_volume_per_atom: float,
    max_length_ratio: float,
    max_atoms: int | None = None,
) -> str | None:
    """Look for the first thing that makes a structure useless; malformed structures are answered, never raised on.

    Parameters
    ----------
    structure : Structure
    elements : collection of str
        The only elements allowed.
    min_distance : float
        Shortest distance allowed between two atoms, periodic images of one atom included, in sums of their covalent radii.
    min_volume_per_atom, max_volume_per_atom : float
        Å³.
    max_length_ratio : float
        Longest over shortest vector of the reduced cell, so that the answer does not depend on the choice of cell.
    max_atoms : int, optional
        Atoms in the cell, at most.

    Returns
    -------
    str or None
        One of :data:`REASONS`, or None when the structure is fine.
    """
    composition_reason, symbols = _check_sites(structure, elements, max_atoms)
    if composition_reason is not None:
        return composition_reason
    cell = np.asarray(structure.lattice.matrix, dtype=float)
    fractional = np.asarray(structure.frac_coords, dtype=float)
    if not (np.isfinite(cell).all() and np.isfinite(fractional).all()):
        return "not_finite"
    # The determinant is taken here because a singular cell must not reach code that inverts it. Huge cells overflow to inf.
    with np.errstate(over="ignore", invalid="ignore"):
        volume_per_atom = abs(float(np.linalg.det(cell))) / len(symbols)
    if not volume_per_atom >= min_volume_per_atom:
        return "volume_too_small"
    if not volume_per_atom <= max_volume_per_atom:
        return "volume_too_large"
    return _check_distances(cell, fractional @ cell, symbols, min_distance, max_length_ratio)


def _check_sites(structure: Structure, elements: Collection[str], max_atoms: int | None) -> tuple[str | None, list[str]]:
    """Reason that lies in the list of sites, and the element of each site."""
    if len(structure) == 0:
        return "empty", []
    if not structure.is_ordered:
        return "disordered", []
    symbols = [getattr(getattr(site.specie, "element", site.specie), "symbol", "") for site in structure]
    if not set(symbols) <= set(elements):
        return "off_system", symbols
    if max_atoms is not None and len(symbols) > max_atoms:
        return "too_many_atoms", symbols
    return None, symbols


def _check_distances(
    cell: NDArray[np.float64],
    cartesian: NDArray[np.float64],
    symbols: Sequence[str],
    min_distance: float,
    max_length_ratio: float,
) -> str | None:
    """Reasons that need the reduced cell: a skewed one would hide its short vectors and cost a neighbour search without end."""
    from pymatgen.core import Lattice, Structure

    # Beyond this double precision can neither reduce the cell nor place its atoms.
    if np.linalg.cond(cell) > _WORST_CONDITION:
        return "cell_too_long"
    reduced = Lattice(cell).get_lll_reduced_lattice()
    lengths = np.asarray(reduced.abc)
    if lengths.max() > max_length_ratio * lengths.min():
        return "cell_too_long"
    radii = covalent_radii(symbols)
    reach = 2.0 * min_distance * float(radii.max())
    packed = Structure(reduced, list(symbols), cartesian, coords_are_cartesian=True, to_unit_cell=True)
    first, second, _, distance = packed.get_neighbor_list(reach)
    if np.any(distance < min_distance * (radii[first] + radii[second])):
        return "atoms_too_close"
    return None
