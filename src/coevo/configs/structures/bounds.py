"""What a structure in a file may be at most, looked at before anything expensive is computed with it.

The numbers of a file are a stranger's: a cell of 1e300 Å, a frame that announces a billion atoms or a cell that is too small for
its atoms must be answered at once, and by a reason.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray
    from pymatgen.core import Structure

MAX_ATOMS = 1000
"""Atoms in the cell of a known structure; the largest published phases of a phase diagram have a few hundred."""
MAX_LENGTH = 1000.0
"""Å; longest cell vector."""
MIN_VOLUME_PER_ATOM = 1.0
"""Å³; hydrogen at 500 GPa has 1.3 Å³ an atom. It also bounds the number of neighbours that an atom can have."""
MIN_DISTANCE = 0.5
"""Å; atoms nearer than this are an error of the file (the shortest bond there is, H-H, has 0.74 Å)."""
MAX_DISTANCE = 6.0
"""Å; an atom without another within this is alone (neighbours in caesium are 5.3 Å apart), and what holds it is no crystal."""
MAX_COORDINATE = 1e6
"""Cells; further out a double no longer places an atom to 1e-9 of the cell."""
_MESHES = 1000
_FLAT = 1e-10
"""Volume of the cell's unit vectors; below this double precision can neither reduce the cell nor place its atoms."""


class BoundsError(ValueError):
    """A cell beyond what can be computed with.

    Attributes
    ----------
    reason : str
        The word by which a pile of crystals counts it (:data:`coevo.analysis.sanity.REASONS`).
    """

    def __init__(self, message: str, reason: str):
        super().__init__(message)
        self.reason = reason


def check_count(atoms: int, allowed: int = MAX_ATOMS) -> None:
    """Refuse a number of atoms.

    Raises
    ------
    BoundsError
    """
    if atoms > allowed:
        raise BoundsError(f"{atoms} atoms in the cell, allowed: at most {allowed}", "too_many_atoms")


def check_lengths(lengths: Sequence[float]) -> None:
    """Refuse lengths of cell vectors, Å, that are no numbers, not positive, or beyond :data:`MAX_LENGTH`.

    Raises
    ------
    BoundsError
    """
    for length in lengths:
        if not 0.0 < length <= MAX_LENGTH:
            finite = "volume_too_small" if length <= 0 else "volume_too_large"
            reason = finite if math.isfinite(length) else "not_finite"
            raise BoundsError(f"a cell vector of {length:g} Å, allowed: above 0 and at most {MAX_LENGTH:g} Å", reason)


def check_cell(matrix: ArrayLike) -> None:
    """Refuse a cell, shape (3, 3), Å, that cannot be computed with.

    Raises
    ------
    BoundsError
    """
    cell = np.asarray(matrix, dtype=float)
    if cell.shape != (3, 3) or not np.isfinite(cell).all():
        raise BoundsError("the cell is not three vectors of three finite numbers", "not_finite")
    with np.errstate(over="ignore"):
        lengths = np.linalg.norm(cell, axis=1)
    check_lengths(lengths.tolist())
    if abs(np.linalg.det(cell / lengths[:, None])) < _FLAT:
        raise BoundsError("the cell vectors lie in a plane; allowed: a cell with a volume", "volume_too_small")


def check_coordinates(fractional: ArrayLike) -> None:
    """Refuse fractional coordinates that are no finite numbers, or so large that they place no atom.

    Raises
    ------
    BoundsError
    """
    values = np.asarray(fractional, dtype=float)
    if values.size and not np.abs(values).max() <= MAX_COORDINATE:
        raise BoundsError(
            f"coordinates that are no finite numbers, or beyond {MAX_COORDINATE:g} cells; allowed: positions in the cell",
            "not_finite",
        )


def check_expansion(sites: ArrayLike, operations: Sequence[NDArray[np.float64]], allowed: int = MAX_ATOMS) -> None:
    """Refuse sites of which symmetry makes too many atoms, without making them: places are counted on a grid.

    Parameters
    ----------
    sites : array, shape (n, 3)
        Fractional coordinates.
    operations : sequence of ndarray, shape (4, 4)
        Affine matrices.
    allowed : int

    Raises
    ------
    BoundsError
        From eight times ``allowed`` on, since places on the border of two meshes are counted twice: a cell near the limit is left
        to the exact count.
    """
    positions = np.asarray(sites, dtype=float)
    if len(positions) * len(operations) <= allowed:
        return
    count = 0
    for site in positions:
        places = np.array([matrix[:3, :3] @ site + matrix[:3, 3] for matrix in operations])
        count += len(np.unique(np.round(places * _MESHES).astype(np.int64) % _MESHES, axis=0))
        check_count(count, 8 * allowed)


def why_no_crystal(structure: Structure) -> str | None:
    """Say what makes an ordered structure no physical crystal.

    Parameters
    ----------
    structure : Structure
        Whatever a file gave.

    Returns
    -------
    str or None
        What is wrong, and what is allowed; None if nothing is.
    """
    atoms = len(structure)
    if not atoms:
        return "no atoms; allowed: a crystal"
    matrix, fractional = np.asarray(structure.lattice.matrix, dtype=float), np.asarray(structure.frac_coords, dtype=float)
    try:
        check_count(atoms)
        check_cell(matrix)
        check_coordinates(fractional)
    except BoundsError as err:
        return str(err)
    volume = abs(float(np.linalg.det(matrix)))
    if not volume >= MIN_VOLUME_PER_ATOM * atoms:
        return (
            f"{atoms} atoms in {volume:.3g} Å³: two atoms are nearer than {MIN_DISTANCE} Å, or the cell is flat; "
            f"allowed: at least {MIN_VOLUME_PER_ATOM:g} Å³ an atom"
        )
    return _distances(structure)


def _distances(structure: Structure) -> str | None:
    """What is wrong with the distances between atoms, periodic images included."""
    shortest_vector = min(structure.lattice.get_lll_reduced_lattice().abc)
    distances = np.array(structure.distance_matrix)
    np.fill_diagonal(distances, shortest_vector)
    nearest = distances.min(axis=1)
    if nearest.min() <= MIN_DISTANCE:
        return f"two atoms are nearer than {MIN_DISTANCE} Å ({nearest.min():.2g} Å); allowed: a physical structure"
    if nearest.max() > MAX_DISTANCE:
        alone = structure[int(nearest.argmax())]
        return (
            f"an isolated atom ({alone.species_string}, the nearest other is {nearest.max():.3g} Å away); allowed: a crystal, "
            f"whose atoms have neighbours within {MAX_DISTANCE:g} Å"
        )
    return None
