"""Extended XYZ files, and frames that ASE read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from coevo.labelling.imported.contract import FileContents, ImportedFrame, LabelKeys, as_array

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms


def read_extended_xyz(path: Path, keys: LabelKeys) -> FileContents:  # noqa: ARG001
    """Return the frames of a file, which says nothing of functional and settings."""
    from ase.io import read

    images = read(path, index=":", format="extxyz")
    return FileContents([frame_of_atoms(atoms) for atoms in images])


def frame_of_atoms(atoms: Atoms, *, converged: bool = True) -> ImportedFrame:
    """Return atoms with the results of their calculator as a frame."""
    from pymatgen.core import Structure

    results = atoms.calc.results if atoms.calc else {}
    energy = results.get("energy")
    stress = results.get("stress")
    if stress is not None and np.shape(stress) == (6,):
        from ase.stress import voigt_6_to_full_3x3_stress

        stress = voigt_6_to_full_3x3_stress(stress)
    structure = Structure(atoms.cell.array, atoms.get_chemical_symbols(), atoms.get_scaled_positions(wrap=False))
    return ImportedFrame(
        structure,
        None if energy is None else float(energy) / len(atoms),
        as_array(results.get("forces")),
        as_array(stress),
        converged,
    )
