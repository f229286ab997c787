"""Neighbours in periodic crystals, by pymatgen's compiled search, on arrays.

Also here, covalent radii: the one length scale of distance checks and of bonds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from coevo.analysis.cell_reduction import Crystal


def covalent_radii(symbols: Sequence[str]) -> NDArray[np.float64]:
    """Covalent radii of elements (Cordero et al., Dalton Trans. 2008, 2832, as tabulated by ASE).

    Parameters
    ----------
    symbols : sequence of str, length n

    Returns
    -------
    ndarray, shape (n,)
        Å.
    """
    from ase.data import atomic_numbers
    from ase.data import covalent_radii as table

    return np.array([table[atomic_numbers[symbol]] for symbol in symbols], dtype=float)


_TOUCHING = 1e-8


class Neighbours(NamedTuple):
    """Pairs of atoms within a cutoff, each in both directions; the atom itself is left out, its images are not.

    Attributes
    ----------
    first, second : ndarray of int, shape (p,)
        Sites.
    image : ndarray of int, shape (p, 3)
        Lattice translation of the second site.
    distance : ndarray, shape (p,)
        Å.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    image: NDArray[np.int64]
    distance: NDArray[np.float64]


def neighbours(crystal: Crystal, cutoff: float) -> Neighbours:
    """All pairs within a cutoff (Å), as ``Structure.get_neighbor_list`` gives them."""
    from pymatgen.optimization.neighbors import find_points_in_spheres

    cell = np.ascontiguousarray(crystal.cell, dtype=float)
    places = np.ascontiguousarray(crystal.fractional @ cell)
    first, second, image, distance = find_points_in_spheres(
        places, places, r=float(cutoff), pbc=np.ones(3, dtype=np.int64), lattice=cell, tol=_TOUCHING
    )
    other = (first != second) | (distance > _TOUCHING)
    return Neighbours(first[other], second[other], np.rint(image[other]).astype(np.int64), distance[other])
