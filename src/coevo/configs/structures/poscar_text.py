"""Structures in VASP's own files, POSCAR and CONTCAR, as pymatgen reads them, but for what it would have to guess."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING

import numpy as np

from coevo.configs.structures.bounds import MAX_ATOMS, check_count

if TYPE_CHECKING:
    from pymatgen.core import Structure

_FIRST_COUNTS, _LAST_COUNTS = 5, 26
"""Lines (from 0) between which the numbers of atoms stand; both symbols and numbers may take ten lines."""
_ERRORS = (ValueError, LookupError, TypeError, ArithmeticError, AttributeError, RuntimeError, AssertionError, Warning)


def structure_from_poscar(text: str, max_atoms: int = MAX_ATOMS) -> Structure:
    """Read a POSCAR or CONTCAR; velocities and selective dynamics are left out.

    Parameters
    ----------
    text : str
    max_atoms : int

    Raises
    ------
    ValueError
        If it cannot be read, or names no elements (the format of VASP 4); :class:`BoundsError` if its cell is beyond the bounds.
    """
    from pymatgen.core import Structure
    from pymatgen.io.vasp import Poscar

    text = text.replace("\r\n", "\n").replace("\r", "\n")
    _check_counts(text, max_atoms)
    text = _with_factor(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", message="Elements in POSCAR cannot be determined")
        try:
            read = Poscar.from_str(text, read_velocities=False).structure
        except _ERRORS as err:
            if "cannot be determined" in str(err):
                raise ValueError(
                    "not a readable POSCAR: it names no elements (VASP 4); write them on a line before the numbers of atoms"
                ) from None
            raise ValueError(f"not a readable POSCAR: {_explained(err)}") from err
    return Structure(read.lattice.matrix, [site.specie.symbol for site in read], read.frac_coords)


def _check_counts(text: str, max_atoms: int) -> None:
    """Refuse numbers of atoms before a list of so many is made."""
    for line in text.splitlines()[_FIRST_COUNTS:_LAST_COUNTS]:
        words = line.split()
        if words and all(re.fullmatch(r"\+?[0-9_]+", word) for word in words):
            if any(len(word) > 12 for word in words):
                raise ValueError(f"not a readable POSCAR: got {line.strip()[:40]!r}, allowed: numbers of atoms")
            check_count(sum(int(word) for word in words), max_atoms)


def _with_factor(text: str) -> str:
    """Write the volume that a negative second line is as a factor: pymatgen does so for the cell, and not for positions."""
    lines = text.split("\n")
    try:
        given = float(lines[1])
        if given < 0:
            cell = np.array([[float(word) for word in line.split()[:3]] for line in lines[2:5]])
            lines[1] = repr(float((-given / abs(np.linalg.det(cell))) ** (1 / 3)))
    except (ValueError, IndexError, ArithmeticError):
        return text  # pymatgen says what is wrong with it
    return "\n".join(lines)


def _explained(err: BaseException) -> str:
    if isinstance(err, LookupError):
        return "it ends too early, or its numbers of atoms do not fit its lines"
    return " ".join(str(err).split())[:200] or type(err).__name__
