"""Displaced supercells of a crystal: its conventional cell repeated until images are 10 Å apart, and atoms moved by 0.1 Å.

The displacement is larger than is usual with first principles (0.01 Å), because learned force fields are smooth in energy and
rough in curvature: of CHGNet's vibrational free energy of Li2S at 300 K over eight volumes, what is left beside a parabola is
3.8, 3.3, 1.3 and 1.3 meV/atom at displacements of 0.01, 0.03, 0.06 and 0.10 Å (docs/stability.md has other phases).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.errors import AnalysisError, ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core import Structure

    FloatArray = NDArray[np.float64]

LENGTH = 10.0
"""Å; shortest distance of periodic images in a supercell, at least."""
DISPLACEMENT = 0.1
"""Å."""
SYMPREC = 0.01
"""Å; within which a relaxed crystal has a symmetry, which is then made exact."""
EXACT = 1e-4
"""Å; for phonopy, of a crystal whose symmetry was made exact."""
ROUNDING = 1e-3
"""Å; a supercell that is too short by less is long enough, so that lengths equal by symmetry are repeated equally."""


def require_phonopy() -> None:
    """Make sure that phonopy is here.

    Raises
    ------
    ConfigError
        With what installs them.
    """
    try:
        import phonopy
    except ImportError as error:
        raise ConfigError(f"phonons need phonopy ({error}): pip install 'coevo[phonons]'") from None
    _ = phonopy


@dataclass(frozen=True)
class DisplacedCells:
    """Supercells whose forces make the force constants of a crystal.

    Attributes
    ----------
    phonopy : Phonopy
        Of the conventional cell, with its displacements.
    structures : list of Structure
        The supercell as it is, whose forces are subtracted, and then the displaced ones.
    repeats : tuple of int, length 3
        Of the conventional cell.
    """

    phonopy: Any
    structures: list[Structure]
    repeats: tuple[int, int, int]


@dataclass(frozen=True)
class Symmetrised:
    """A conventional cell with its symmetry made exact.

    Attributes
    ----------
    cell : Structure
        In spglib's standard setting.
    number : int
        Of the space group.
    symbol : str
        Of Hermann and Mauguin; its first letter is the centring of the cell.
    """

    cell: Structure
    number: int
    symbol: str


def symmetrised(structure: Structure, symprec: float = SYMPREC) -> Symmetrised:
    """Return the conventional cell of a crystal with its symmetry made exact.

    Raises
    ------
    AnalysisError
        If spglib finds no symmetry, not even the identity.
    """
    import spglib
    from pymatgen.core import Element, Structure

    described: Any = (structure.lattice.matrix, structure.frac_coords, [site.specie.Z for site in structure])
    found: Any = spglib.get_symmetry_dataset(described, symprec=symprec)
    cell: Any = spglib.standardize_cell(described, to_primitive=False, no_idealize=False, symprec=symprec)
    if found is None or cell is None:
        raise AnalysisError(f"no symmetry of {structure.formula} was found (spglib, {symprec} Å)")
    matrix, places, numbers = cell
    bare = Structure(matrix, [Element.from_Z(int(z)) for z in numbers], places)
    return Symmetrised(bare, int(found.number), str(found.international))


def repeats_of(matrix: FloatArray, length: float = LENGTH) -> tuple[int, int, int]:
    """How often a cell is repeated along each axis so that no two periodic images are nearer than a length.

    Parameters
    ----------
    matrix : ndarray, shape (3, 3)
        Lattice vectors in rows, Å.
    length : float
        Å.
    """
    lengths = np.linalg.norm(matrix, axis=1)
    repeats = np.maximum(1, np.ceil((length - ROUNDING) / lengths)).astype(int)
    while shortest_translation(matrix * repeats[:, None]) < length - ROUNDING:
        shortest = lengths[np.argmin(repeats * lengths)]
        repeats[np.abs(lengths - shortest) < ROUNDING] += 1
    a, b, c = (int(count) for count in repeats)
    return a, b, c


def shortest_translation(matrix: FloatArray) -> float:
    """Shortest lattice vector, Å, among those with coefficients of at most 2."""
    steps = np.array([step for step in itertools.product(range(-2, 3), repeat=3) if any(step)])
    return float(np.linalg.norm(steps @ matrix, axis=1).min())


def displaced_cells(structure: Structure, *, length: float = LENGTH, displacement: float = DISPLACEMENT) -> DisplacedCells:
    """Return the displaced supercells of a relaxed crystal.

    In each one atom is displaced, as often as symmetry asks for, and against it where no operation brings the one to the other:
    so forces of the second order in the displacement cancel.

    Parameters
    ----------
    structure : Structure
        In any cell; relaxed.
    length : float
        Å; shortest distance of periodic images, at least.
    displacement : float
        Å.

    Raises
    ------
    ConfigError
        If phonopy is not here.
    AnalysisError
        If no symmetry is found.
    """
    require_phonopy()
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms

    found = symmetrised(structure)
    cell = found.cell
    centring: Any = found.symbol[0]  # phonopy's types name the letters
    repeats = repeats_of(cell.lattice.matrix, length)
    atoms = PhonopyAtoms(
        symbols=[site.specie.symbol for site in cell], cell=cell.lattice.matrix, scaled_positions=cell.frac_coords
    )
    phonopy = Phonopy(atoms, np.diag(repeats), primitive_matrix=centring, symprec=EXACT)
    phonopy.generate_displacements(distance=displacement)
    moved = phonopy.supercells_with_displacements or []
    return DisplacedCells(phonopy, [_structure(one) for one in (phonopy.supercell, *moved)], repeats)


def _structure(cell: Any) -> Structure:
    from pymatgen.core import Structure

    return Structure(cell.cell, cell.symbols, cell.scaled_positions)
