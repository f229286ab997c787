"""Files with piles of crystals, good ones and bad ones, made from the bundled known phases."""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.configs.references import load_references

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pymatgen.core import Structure


def known_phases(max_atoms: int = 32) -> dict[str, Structure]:
    """The bundled Li-P-S phases with small cells, by name."""
    return {
        known.name: known.structure for known in load_references("li-p-s", ["Li", "P", "S"]) if len(known.structure) <= max_atoms
    }


def displaced(structure: Structure, stdev: float, seed: int) -> Structure:
    """A copy with every atom displaced on its own (``Structure.perturb`` with a seed moves all of them alike), Å."""
    copy = structure.copy()
    moves = np.random.default_rng(seed).normal(scale=stdev, size=(len(copy), 3))
    for index, move in enumerate(moves):
        copy.translate_sites([index], move, frac_coords=False)
    return copy


def cif_text(structure: Structure) -> str:
    from pymatgen.io.cif import CifWriter

    return str(CifWriter(structure))


def write_zip(path: Path, members: Mapping[str, str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return path


def write_extxyz(path: Path, structures: Sequence[Structure], energies: Sequence[float] | None = None) -> Path:
    """Write frames, with total energies as a calculator gives them."""
    from ase.calculators.singlepoint import SinglePointCalculator
    from ase.io import write
    from pymatgen.io.ase import AseAtomsAdaptor

    frames = [AseAtomsAdaptor.get_atoms(structure, msonable=False) for structure in structures]
    for frame, energy in zip(frames, energies or [], strict=False):
        frame.calc = SinglePointCalculator(frame, energy=energy)
    write(path, frames, format="extxyz")
    return path


def write_json(path: Path, items: Sequence[Any]) -> Path:
    path.write_text(json.dumps(list(items)))
    return path
