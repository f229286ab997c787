"""What the head of a ``pw.x`` output says of a run: what changes its numbers, and what is kept beside them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.errors import LabellingError
from coevo.labelling.espresso.parsing import parse_output
from coevo.labelling.imported.k_points import STEPS, Mesh, mesh_of_points, step_of
from coevo.labelling.imported.pwscf.functional import name_of, printed_dispersion, printed_hubbard, untold_hubbard, with_additions

if TYPE_CHECKING:
    from pymatgen.core import Structure

NUMBER = r"([-+]?[\d.]+(?:[EeDd][-+]?\d+)?)"
REFUSALS = (
    (r"Berry phase electric field|Adding external electric field|[Ee]lectric field and gates", "an electric field"),
    (r"Gate field|Charged plate|Effective Screening Medium|Solvent|Environ Module", "a field or a medium outside the crystal"),
    (r"Assuming isolated|Martyna-Tuckerman|Makov-Payne|truncated in 2D|2D Coulomb", "a molecule or a slab, not a crystal"),
)
"""What makes a run one of something else than a crystal."""


@dataclass(frozen=True)
class Head:
    """Settings of a run.

    Attributes
    ----------
    text : str
        The head itself.
    version : str
    functional : str or None
        In our words.
    printed_functional : str
    n_atoms : int
    threshold : float
        Of the SCF cycle, Ry.
    ecutwfc, ecutrho : float
        Ry.
    spin : int or str
        1, 2, ``noncollinear`` or ``spin-orbit``.
    charge : float
        Of the cell, e; positive if electrons are missing.
    hubbard, exchange : dict
        U by element and shell, eV, and what stands beside it (:mod:`.hubbard`); share of exact exchange (the screening is not
        printed: the functional's name stands for it).
    damping : dict
        Form of D3 where it is not the usual one; only the document says it.
    fixed_moment : bool
        Whether the magnetisation of the cell was kept.
    mesh : Mesh or None
    k_spacing : str
        Step of the spacing.
    smearing : dict
    potential_files : dict of str to tuple
        Element to the file read and its MD5 sum (None where it is not printed).
    """

    text: str
    version: str
    functional: str | None
    printed_functional: str
    n_atoms: int
    threshold: float
    ecutwfc: float | None
    ecutrho: float | None
    spin: int | str
    charge: float
    mesh: Mesh | None
    k_spacing: str
    smearing: dict[str, Any]
    potential_files: dict[str, tuple[str, str | None]]
    hubbard: dict[str, Any] = field(default_factory=dict)
    exchange: dict[str, Any] = field(default_factory=dict)
    dispersion: str = ""
    damping: dict[str, Any] = field(default_factory=dict)
    fixed_moment: bool = False
    constrained: bool = False

    def parameters(self) -> dict[str, Any]:
        """What enters the digest; what has its default is left out."""
        found: dict[str, Any] = {
            "program": "pw.x",
            "ecutwfc_ry": self.ecutwfc,
            "ecutrho_ry": self.ecutrho,
            "spin": self.spin,
            "k_spacing": self.k_spacing,
            "charge": self.charge,
            "hubbard": self.hubbard,
            "hybrid": self.exchange,
            "dispersion": self.damping,
            "fixed_moment": self.fixed_moment,
            "constrained_moments": self.constrained,
        }
        return {name: value for name, value in found.items() if value not in (None, 0.0, False, {})}

    def potentials(self) -> dict[str, str]:
        """Element to the MD5 sum of its potential, or its name where there is no sum."""
        return {element: md5 or printed.rpartition("/")[2] for element, (printed, md5) in sorted(self.potential_files.items())}

    def recorded(self) -> dict[str, Any]:
        """What is kept with the labels and does not enter the digest."""
        return {
            "version": self.version,
            "smearing": self.smearing,
            "conv_thr_ry": self.threshold,
            "potential_files": {element: file.rpartition("/")[2] for element, (file, _) in sorted(self.potential_files.items())},
            **(self.mesh.recorded() if self.mesh else {}),
        }


def read_head(text: str, name: str) -> Head:
    """Read the head of a run: all that stands before its first cycle.

    Raises
    ------
    LabellingError
        If it was a run of something else than a crystal, or its atoms cannot be read.
    """
    from ase.io.espresso import label_to_symbol
    from pymatgen.core import Structure

    from coevo.labelling.espresso.parsing import last_atoms

    for pattern, sentence in REFUSALS:
        if re.search(pattern, text):
            raise LabellingError(f"{name}: no run of a crystal by itself: {sentence}")
    if not_told := untold_hubbard(text):
        raise LabellingError(f"{name}: {not_told}; give runs with U of elements")
    atoms = last_atoms(text, results_required=False)
    if atoms is None:
        raise LabellingError(f"{name}: the cell and the atoms of the run cannot be read")
    structure = Structure(atoms.cell.array, atoms.get_chemical_symbols(), atoms.get_scaled_positions(wrap=False))
    parsed = parse_output(text)
    printed = " and ".join(parsed.functionals)
    bases = {name_of(functional) for functional in parsed.functionals}
    dispersion = printed_dispersion(text)
    hubbard = printed_hubbard(text)
    version = re.search(r"Program PWSCF v\.?\s*(\S+)", text)
    mesh, spacing = _k_points(text, structure)
    smearing = re.search(r"number of k points=\s*\d+[ \t]+(\S[^\n]*)", text)
    electrons = re.search(r"number of electrons\s*=\s*[\d.]+\s*\(up:", text)
    return Head(
        text=text,
        version=version[1] if version else "",
        functional=with_additions(bases.pop(), dispersion, bool(hubbard)) if len(bases) == 1 else None,
        printed_functional=printed,
        n_atoms=len(structure),
        threshold=_number(rf"convergence threshold\s*=\s*{NUMBER}", text) or 1e-6,
        ecutwfc=_number(rf"kinetic-energy cutoff\s*=\s*{NUMBER}", text),
        ecutrho=_number(rf"charge density cutoff\s*=\s*{NUMBER}", text),
        spin=_spin(text),
        charge=_charge(text, structure),
        mesh=mesh,
        k_spacing=spacing,
        smearing=_smearing(smearing[1] if smearing else ""),
        potential_files={label_to_symbol(label): found for label, found in parsed.potentials.items()},
        hubbard=hubbard,
        exchange=_exchange(text),
        dispersion=dispersion,
        fixed_moment=electrons is not None,
        constrained=bool(re.search(r"constrained? magnetization|constraint energy", text, flags=re.IGNORECASE)),
    )


def _number(pattern: str, text: str) -> float | None:
    found = re.search(pattern, text)
    return float(found[1].upper().replace("D", "E")) if found else None


def _spin(text: str) -> int | str:
    if re.search(r"calculation with spin-orbit", text, flags=re.IGNORECASE):
        return "spin-orbit"
    if re.search(r"Non-?collinear calculation", text, flags=re.IGNORECASE):
        return "noncollinear"
    return 2 if re.search(r"Starting magnetic structure|SPIN UP|number of electrons\s*=\s*[\d.]+\s*\(up:", text) else 1


def _charge(text: str, structure: Structure) -> float:
    """Valence electrons of the atoms less electrons of the run; both are printed with two decimals."""
    from ase.io.espresso import label_to_symbol

    electrons = _number(rf"number of electrons\s*=\s*{NUMBER}", text)
    table = re.search(r"atomic species\s+valence\s+mass\s+pseudopotential\s*\n((?:[^\n]*\S[^\n]*\n)+)", text)
    if electrons is None or table is None:
        return 0.0
    rows = [line.split() for line in table[1].splitlines()]
    valence = {label_to_symbol(row[0]): float(row[1]) for row in rows if len(row) > 2}
    symbols = [site.specie.symbol for site in structure]
    if not set(symbols) <= set(valence):
        return 0.0
    charge = round(sum(valence[symbol] for symbol in symbols) - electrons, 2)
    return charge if abs(charge) > 0.005 else 0.0


def _exchange(text: str) -> dict[str, Any]:
    share = _number(rf"EXX-fraction\s*=\s*{NUMBER}", text)
    return {"exact_exchange": share} if share else {}


def _smearing(words: str) -> dict[str, Any]:
    width = re.search(rf"width \(Ry\)=\s*{NUMBER}", words)
    kind = re.sub(r",?\s*width.*", "", words).strip(" ()")
    return {"kind": kind or "fixed", "width_ry": float(width[1]) if width else 0.0}


def _k_points(text: str, structure: Structure) -> tuple[Mesh | None, str]:
    """Mesh of a run from the irreducible points that are printed; where they are not, the step from their number."""
    number = re.search(r"number of k points=\s*(\d+)", text)
    alat = re.search(rf"lattice parameter \(alat\)\s*=\s*{NUMBER}", text)
    celldm = re.search(rf"celldm\(1\)=\s*{NUMBER}", text)
    if number is None or alat is None:
        return None, "not stated"
    rows = re.findall(rf"k\(\s*\d+\) = \(([^)]*)\), wk =\s*{NUMBER}", text)[: int(number[1])]
    points = [re.findall(r"-?\d+\.\d+", row) for row, _ in rows]
    if rows and all(len(point) == 3 for point in points):
        unit = 2 * np.pi / (float((celldm or alat)[1]) * 0.529177210903)
        cartesian = np.array(points, dtype=float) * unit
        fractional = cartesian @ np.linalg.inv(structure.lattice.reciprocal_lattice.matrix)
        mesh = mesh_of_points(fractional, [float(weight) for _, weight in rows], structure)
        return mesh, step_of(mesh.spacing) if mesh else "listed points"
    # pw.x prints no more than a hundred points; a mesh of at least as many in all has at most this spacing
    largest = (structure.lattice.reciprocal_lattice.volume / int(number[1])) ** (1 / 3)
    return None, step_of(largest) if largest <= STEPS[0] else f"{number[1]} points, not printed"
