"""Free atoms of the pseudopotentials of a run, where their files can be found: the zero that its energies are judged from.

pw.x gives energies of valence electrons and cores, −200 eV/atom for lithium, on a scale of the potentials. An output names the
file and MD5 sum of each; a file of that sum, where the output says or beside it, states the energy of the free atom.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from coevo.labelling.espresso.labeller import RYDBERG
from coevo.labelling.espresso.pseudopotentials import atom_energy_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path


def find_potential(candidates: Iterable[Path], md5: str | None) -> Path | None:
    """Return the first of some places that has a potential of that MD5 sum (of any, if None)."""
    for path in candidates:
        try:
            if path.is_file() and (md5 is None or md5_of(path) == md5):
                return path
        except OSError:
            continue
    return None


def md5_of(path: Path) -> str:
    """MD5 sum of a file, as pw.x prints it."""
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def free_atoms(elements: Sequence[str], files: dict[str, Path | None]) -> float | None:
    """Return the mean energy of the free atoms of a frame, eV/atom.

    Parameters
    ----------
    elements : sequence of str
        Of the atoms of the frame.
    files : dict of str to Path or None
        Element to the file of its potential.

    Returns
    -------
    float or None
        None if a file was not found, or does not state the energy.
    """
    by_element: dict[str, float] = {}
    for element in set(elements):
        path = files.get(element)
        energy = None if path is None else atom_energy_of(path)
        if energy is None:
            return None
        by_element[element] = energy * RYDBERG
    return sum(by_element[element] for element in elements) / len(elements) if elements else None
