"""Frames that teach a force field how stiff a crystal is: larger strains and displacements of it, and a step down its forces.

Frames near the minimum say little of the curvature that a modulus or a frequency is: the energies of a cell that is strained by
1 % differ by less than what a fit leaves. They are none of the frames that stiffness is measured with
(:mod:`coevo.analysis.stiffness.frames`), whose strains and displacements are smaller.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray
    from pymatgen.core import Structure

    FloatArray = NDArray[np.float64]

SHARES = (1.0, -1.0, 0.5, -0.5, 0.75, -0.75, 0.25, -0.25)
"""Of the largest strain: one strained frame after another."""
COMPLIANCE = 0.3
"""Strain per eV/Å³ of stress in a step down: right for a bulk modulus of 178 GPa, and nearer to the minimum for any up to 356."""
MOBILITY = 0.05
"""Å per eV/Å of force in a step down: right for a force constant of 20 eV/Å² (P–S bonds), and nearer to the minimum up to 40."""


def amplitude_frames(
    structure: Structure, count: int, *, strain: float, displacement: float, seed: int
) -> Iterator[tuple[str, Structure]]:
    """Yield frames of a crystal, each with its kind: a strained one, a displaced one, and so on.

    The first frames do not depend on how many there are.

    Parameters
    ----------
    structure : Structure
    count : int
        Frames.
    strain : float
        Of the first strained frame, linear, in all directions; the others have -1, 1/2, -1/2, … of it (:data:`SHARES`, again from
        the beginning after the last).
    displacement : float
        Root-mean-square displacement of the atoms of a displaced frame, Å.
    seed : int
    """
    for number in range(count):
        if number % 2 == 0:
            yield "strained", isotropically_strained(structure, strain * SHARES[(number // 2) % len(SHARES)])
        else:
            yield "displaced", displaced(structure, displacement, seed + number)


def isotropically_strained(structure: Structure, strain: float) -> Structure:
    """Copy with all lengths of the cell times 1 + strain; fractional coordinates stay."""
    return _at(structure, structure.lattice.matrix * (1.0 + strain), structure.cart_coords * (1.0 + strain))


def displaced(structure: Structure, rms: float, seed: int) -> Structure:
    """Copy with every atom displaced by normal deviates, scaled so that the displacements have a given root mean square.

    The crystal as a whole stays where it is, so an atom alone in its cell does not move.

    Parameters
    ----------
    structure : Structure
    rms : float
        Root of the mean squared length of the atoms' displacements, Å.
    seed : int
    """
    moves = np.random.default_rng(seed).normal(size=(len(structure), 3))
    moves -= moves.mean(axis=0)
    size = float(np.sqrt((moves**2).sum(axis=1).mean()))
    return _at(structure, structure.lattice.matrix, structure.cart_coords + (moves * (rms / size) if size > 0.0 else 0.0))


def downhill(structure: Structure, forces: ArrayLike, stress: ArrayLike, *, furthest: float, most_strain: float) -> Structure:
    """Copy one step along the forces and the stress of a label: the next frame on the way to the minimum of the labels.

    Atoms move by :data:`MOBILITY` times their force and the cell by :data:`COMPLIANCE` times minus its stress. Both are cut down,
    each as a whole, to the largest that they may be.

    Parameters
    ----------
    structure : Structure
        Of the label.
    forces : array, shape (n_atoms, 3)
        eV/Å.
    stress : array, shape (3, 3)
        eV/Å³, ASE sign: negative for a crystal that would expand.
    furthest : float
        Largest displacement of an atom, Å.
    most_strain : float
        Largest component of the strain.
    """
    moves = MOBILITY * np.asarray(forces, dtype=float)
    moves *= _cut(float(np.linalg.norm(moves, axis=1).max()), furthest)
    tensor = np.asarray(stress, dtype=float)
    strain = -COMPLIANCE * (tensor + tensor.T) / 2.0
    deformation = np.eye(3) + strain * _cut(float(np.abs(strain).max()), most_strain)
    return _at(structure, structure.lattice.matrix @ deformation, (structure.cart_coords + moves) @ deformation)


def _cut(size: float, most: float) -> float:
    return most / size if size > most else 1.0


def _at(structure: Structure, cell: FloatArray, cartesian: FloatArray) -> Structure:
    """Same species at new places, without properties."""
    from pymatgen.core import Lattice, Structure

    return Structure(Lattice(cell), [site.specie for site in structure], cartesian, coords_are_cartesian=True)
