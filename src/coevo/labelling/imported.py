"""Labels that a user has already: vasprun.xml, ``pw.x`` outputs and extended XYZ files, with settings of their own.

Each frame passes the same checks as a label that is computed here. What a file says of its settings enters their digest, so that
labels of two calculations that differ are never mixed in one fit unless the user asks for it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.errors import LabellingError
from coevo.labelling.contract import LabelResult, LabelSettings
from coevo.labelling.sanity import check_geometry, judge

if TYPE_CHECKING:
    from pathlib import Path

    from ase import Atoms
    from pymatgen.core import Structure

    from coevo.labelling.contract import FloatArray
    from coevo.labelling.sanity import SanityLimits

CODE = "imported"
EV_PER_A3_PER_KBAR = 6.241509074460763e-4
"""1 kbar in eV/Å³ (CODATA 2018)."""

READERS = {".xml": "vasprun", ".out": "pw.x", ".pwo": "pw.x", ".extxyz": "extxyz", ".xyz": "extxyz"}
"""End of a file's name, without .gz, to what it is."""

_VASP_FUNCTIONALS = {"PE": "PBE", "PS": "PBEsol", "RP": "RPBE", "91": "PW91"}
_VASP_TAGS = ("ENCUT", "GGA", "METAGGA", "KSPACING", "ISMEAR", "SIGMA", "ISPIN", "LDAU", "LASPH", "PREC", "IVDW")


@dataclass(frozen=True)
class ImportedFrame:
    """One frame of a file.

    Attributes
    ----------
    structure : Structure
    energy : float or None
        eV/atom.
    forces : ndarray, shape (n_atoms, 3), or None
        eV/Å.
    stress : ndarray, shape (3, 3), or None
        eV/Å³, ASE sign.
    converged : bool
        Whether the electrons did, as far as the file says.
    """

    structure: Structure
    energy: float | None
    forces: FloatArray | None
    stress: FloatArray | None
    converged: bool = True

    def label(self, limits: SanityLimits) -> LabelResult:
        """Admit or reject the frame: ``not_converged``, ``missing_energy|forces|stress``, or a word of the sanity checks."""
        if not self.converged:
            return LabelResult("rejected", "not_converged", detail="the file says that the electrons did not converge")
        for name in ("energy", "forces", "stress"):
            if getattr(self, name) is None:
                return LabelResult("rejected", f"missing_{name}", detail=f"the file has no {name} of this frame")
        assert self.energy is not None
        assert self.forces is not None
        assert self.stress is not None
        if self.forces.shape != (len(self.structure), 3):
            return LabelResult(
                "rejected", "missing_forces", detail=f"forces of {len(self.forces)} of {len(self.structure)} atoms"
            )
        return check_geometry(self.structure, limits) or judge(self.energy, self.forces, self.stress, limits)


@dataclass(frozen=True)
class ImportedFile:
    """Frames of one file and the settings that they share."""

    frames: list[ImportedFrame]
    settings: LabelSettings


def read_labels(path: Path, *, functional: str | None = None, anion_corrected: bool = False) -> ImportedFile:
    """Read a file of first-principles frames.

    Parameters
    ----------
    path : Path
        ``vasprun.xml`` (also .gz), a ``pw.x`` output (.out, .pwo), or an extended XYZ file with energies, forces and stresses.
    functional : str or None
        Needed for extended XYZ, which does not say it; for the others it must agree with the file.
    anion_corrected : bool
        Whether the energies hold the MP2020 anion correction already.

    Raises
    ------
    LabellingError
        If the file cannot be read, holds no frame, or its functional is not known.
    """
    kind = READERS.get(path.suffixes[-2] if path.suffix == ".gz" and len(path.suffixes) > 1 else path.suffix)
    if kind is None:
        raise LabellingError(f"{path}: not a file of labels; allowed: {', '.join(READERS)} (also .xml.gz)")
    if not path.is_file():
        raise LabellingError(f"{path}: no such file")
    readers = {"vasprun": _read_vasprun, "pw.x": _read_pw, "extxyz": _read_extxyz}
    try:
        frames, found, parameters = readers[kind](path)
    except LabellingError:
        raise
    except Exception as error:  # parsers of three packages raise whatever they stumble over
        raise LabellingError(f"{path}: cannot be read as {kind}: {type(error).__name__}: {error}") from error
    if not frames:
        raise LabellingError(f"{path}: no frame with an energy in it")
    if found and functional and found.upper() != functional.upper():
        raise LabellingError(f"{path}: its functional is {found}, not {functional}; leave --functional out")
    if not (found or functional):
        raise LabellingError(f"{path}: the file does not say its functional; give it: --functional PBE (or r2SCAN, …)")
    settings = LabelSettings(
        CODE, str(parameters.pop("version", "")), str(found or functional), anion_corrected, {"source": kind, **parameters}
    )
    return ImportedFile(frames, settings)


def _read_vasprun(path: Path) -> tuple[list[ImportedFrame], str | None, dict[str, Any]]:
    from pymatgen.io.vasp import Vasprun

    run = Vasprun(str(path), parse_dos=False, parse_eigen=False, parse_potcar_file=False)
    limit = int(run.parameters.get("NELM", 60))
    frames = [
        ImportedFrame(
            step["structure"],
            _free_energy(step),
            _array(step.get("forces")),
            None if step.get("stress") is None else -np.asarray(step["stress"], dtype=float) * EV_PER_A3_PER_KBAR,
            converged=len(step["electronic_steps"]) < limit,
        )
        for step in run.ionic_steps
    ]
    meta = str(run.parameters.get("METAGGA") or "").strip().upper()
    gga = str(run.parameters.get("GGA") or "").strip().upper()
    functional = {"R2SCAN": "r2SCAN"}.get(meta, meta) if meta not in {"", "NONE", "--"} else _VASP_FUNCTIONALS.get(gga)
    if functional is None and run.potcar_symbols and all("PBE" in symbol for symbol in run.potcar_symbols):
        functional = "PBE"
    parameters = {tag: _plain(run.incar.get(tag, run.parameters.get(tag))) for tag in _VASP_TAGS}
    kept = {tag: value for tag, value in parameters.items() if value is not None}
    return frames, functional, {"version": run.vasp_version, "potcar": sorted(run.potcar_symbols), **kept}


def _free_energy(step: dict[str, Any]) -> float | None:
    """Free energy of the electrons, eV/atom: of the last electronic step; that of the ionic step holds P V with PSTRESS."""
    steps = step["electronic_steps"]
    energy = steps[-1].get("e_fr_energy") if steps else None
    return None if energy is None else float(energy) / len(step["structure"])


def _read_pw(path: Path) -> tuple[list[ImportedFrame], str | None, dict[str, Any]]:
    from ase.io import read

    text = path.read_text(encoding="utf-8", errors="replace")
    images = read(path, index=":", format="espresso-out")
    verdicts = [match == "has been" for match in re.findall(r"convergence (has been|NOT) achieved", text)]
    frames = [
        _from_ase(atoms, converged=verdicts[number] if number < len(verdicts) else False) for number, atoms in enumerate(images)
    ]
    found = re.search(r"Exchange-correlation\s*=\s*(\S+)", text)
    names = {"PBE": "PBE", "SLA+PW+PBE+PBE": "PBE", "PBESOL": "PBEsol"}
    functional = names.get(found[1].upper(), found[1]) if found else None
    parameters: dict[str, Any] = {"potentials": sorted(set(re.findall(r"MD5 check sum: (\w+)", text)))}
    for name, pattern in (
        ("version", r"Program PWSCF v\.(\S+)"),
        ("ecutwfc_ry", r"kinetic-energy cutoff\s*=\s*([\d.]+)"),
        ("ecutrho_ry", r"charge density cutoff\s*=\s*([\d.]+)"),
        ("smearing_ry", r"width \(Ry\)\s*=\s*([\d.]+)"),
    ):
        match = re.search(pattern, text)
        if match:
            parameters[name] = match[1] if name == "version" else float(match[1])
    return frames, functional, parameters


def _read_extxyz(path: Path) -> tuple[list[ImportedFrame], str | None, dict[str, Any]]:
    from ase.io import read

    images = read(path, index=":", format="extxyz")
    return [_from_ase(atoms) for atoms in images], None, {}


def _from_ase(atoms: Atoms, *, converged: bool = True) -> ImportedFrame:
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
        _array(results.get("forces")),
        _array(stress),
        converged,
    )


def _array(value: Any) -> FloatArray | None:
    return None if value is None else np.asarray(value, dtype=float)


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)
