"""Sets of calculations as users have them, written from numbers that a test knows: vasprun.xml and extended XYZ files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from pymatgen.core import Lattice, Structure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

FCC = [[0, 2.86, 2.86], [2.86, 0, 2.86], [2.86, 2.86, 0]]
BCC = [[-1.72, 1.72, 1.72], [1.72, -1.72, 1.72], [1.72, 1.72, -1.72]]
U = 0.20275
CRYSTALS = {
    "Li": Structure(Lattice(BCC), ["Li"], [[0, 0, 0]]),
    "S": Structure(Lattice.cubic(2.6), ["S"], [[0, 0, 0]]),
    "P": Structure(Lattice.cubic(2.4), ["P"], [[0, 0, 0]]),
    "Li2S": Structure(Lattice(FCC), ["S", "Li", "Li"], [[0, 0, 0], [0.25, 0.25, 0.25], [0.75, 0.75, 0.75]]),
    "Li3PS4": Structure(
        Lattice.cubic(5.9),
        ["P", "Li", "Li", "Li", "S", "S", "S", "S"],
        [[0, 0, 0], [0.5, 0, 0], [0, 0.5, 0], [0, 0, 0.5], [U, U, U], [U, -U, -U], [-U, U, -U], [-U, -U, U]],
    ),
}
"""Five crystals so symmetric that forces vanish in all but the last, whose sulphur has one coordinate."""
TITLES = {"Li": "PAW_PBE Li_sv 10Sep2004", "P": "PAW_PBE P 06Sep2000", "S": "PAW_PBE S 06Sep2000", "Cl": "PAW_PBE Cl 06Sep2000"}
VALENCES = {"Li": 3.0, "P": 5.0, "S": 6.0, "Cl": 7.0}
MESHES = {"Li": (12, 12, 12), "S": (10, 10, 10), "P": (10, 10, 10), "Li2S": (6, 6, 6), "Li3PS4": (4, 4, 4)}


@dataclass(frozen=True)
class Calculated:
    """A frame with its numbers: energy of the cell (eV), forces (eV/Å) and stress (eV/Å³, positive = tensile)."""

    structure: Structure
    energy: float
    forces: np.ndarray
    stress: np.ndarray

    def atoms(self) -> Atoms:
        """As ASE has it."""
        s = self.structure
        atoms = Atoms([site.specie.symbol for site in s], cell=s.lattice.matrix, scaled_positions=s.frac_coords, pbc=True)
        atoms.calc = SinglePointCalculator(atoms, energy=self.energy, forces=self.forces, stress=self.stress)
        return atoms


def write_extxyz(path: Path, frames: Sequence[Calculated]) -> Path:
    """Write frames as ASE does."""
    write(path, [frame.atoms() for frame in frames], format="extxyz")
    return path


def _rows(name: str, values: np.ndarray) -> str:
    lines = "\n".join(f"    <v> {' '.join(f'{float(x):.10f}' for x in row)} </v>" for row in np.atleast_2d(values))
    return f'   <varray name="{name}">\n{lines}\n   </varray>\n'


def _crystal(structure: Structure) -> str:
    lattice = structure.lattice
    return (
        f'  <crystal>\n{_rows("basis", lattice.matrix)}   <i name="volume">{lattice.volume:.8f}</i>\n'
        f"{_rows('rec_basis', lattice.reciprocal_lattice_crystallographic.matrix)}  </crystal>\n"
        f"{_rows('positions', structure.frac_coords)}"
    )


def write_vasprun(
    path: Path,
    frames: Sequence[Calculated],
    *,
    mesh: tuple[int, int, int] = (4, 4, 4),
    titles: dict[str, str] | None = None,
    ismear: int = 0,
    version: str = "6.4.2",
    incar: str = "",
) -> Path:
    """Write frames of one composition as the ionic steps of a run, in the form of VASP 6 with only what a reader needs."""
    titles = {**TITLES, **(titles or {})}
    first = frames[0].structure
    symbols = [site.specie.symbol for site in first]
    kinds = list(dict.fromkeys(symbols))
    electrons = sum(VALENCES[symbol] for symbol in symbols)
    ions = "".join(f"<rc><c>{x:2}</c><c>{kinds.index(x) + 1:4}</c></rc>" for x in symbols)
    types = "".join(
        f"<rc><c>{symbols.count(x):4}</c><c>{x:2}</c><c>10.0</c><c>{VALENCES[x]:.1f}</c><c> {titles[x]} </c></rc>" for x in kinds
    )
    steps = ""
    for frame in frames:
        names = ("e_fr_energy", "e_wo_entrp", "e_0_energy")
        energies = "".join(f'<i name="{name}"> {frame.energy:.8f} </i>' for name in names)
        steps += (
            f" <calculation>\n  <scstep><energy>{energies}</energy></scstep>\n  <scstep><energy>{energies}</energy></scstep>\n"
            f"  <structure>\n{_crystal(frame.structure)}  </structure>\n{_rows('forces', frame.forces)}"
            f"{_rows('stress', -frame.stress / 6.241509074460763e-4)}  <energy>{energies}</energy>\n </calculation>\n"
        )
    parameters = (
        '<i type="string" name="PREC">accura</i><i name="ENMAX">520.0</i><i name="ENCUT">520.0</i><i name="EDIFF">1e-06</i>'
        '<i type="int" name="NELM">60</i><i type="int" name="ISPIN">1</i><i type="int" name="NSW">0</i>'
        '<i type="int" name="IBRION">-1</i><i type="int" name="ISIF">2</i><i name="PSTRESS">0.0</i>'
        '<i type="string" name="GGA">PE</i>'
        f'<i name="NELECT">{electrons:.1f}</i><i type="int" name="ISMEAR">{ismear}</i><i name="SIGMA">0.05</i>'
        '<i type="logical" name="LHFCALC">F</i><i type="logical" name="LMETAGGA">F</i><i type="string" name="METAGGA">--</i>'
    )
    path.write_text(
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n <generator><i name="program" type="string">vasp </i>'
        f'<i name="version" type="string">{version} </i></generator>\n'
        ' <incar><i name="ENCUT">520.0</i><i type="string" name="GGA">PE</i>'
        f'<i type="int" name="ISMEAR">{ismear}</i>{incar}</incar>\n'
        f' <kpoints><generation param="Gamma"><v type="int" name="divisions"> {" ".join(map(str, mesh))} </v>'
        '<v name="usershift"> 0 0 0 </v></generation><varray name="kpointlist"><v> 0 0 0 </v></varray>'
        '<varray name="weights"><v> 1 </v></varray></kpoints>\n'
        f' <parameters><separator name="general">{parameters}{incar}</separator></parameters>\n'
        f" <atominfo><atoms> {len(symbols)} </atoms><types> {len(kinds)} </types>"
        '<array name="atoms"><dimension dim="1">ion</dimension><field type="string">element</field>'
        f'<field type="int">atomtype</field><set>{ions}</set></array>'
        '<array name="atomtypes"><dimension dim="1">type</dimension><field type="int">atomspertype</field>'
        '<field type="string">element</field><field>mass</field><field>valence</field>'
        '<field type="string">pseudopotential</field>'
        f"<set>{types}</set></array></atominfo>\n"
        f' <structure name="initialpos">\n{_crystal(first)} </structure>\n{steps}'
        f' <structure name="finalpos">\n{_crystal(frames[-1].structure)} </structure>\n</modeling>\n'
    )
    return path
