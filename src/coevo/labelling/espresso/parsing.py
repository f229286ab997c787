"""What a ``pw.x`` output says: energy, forces and stress through ASE, and what a validator needs to know beside them.

pw.x prints ``****`` for a number that does not fit its columns; such numbers are read as NaN, so that a validator and not the
parser decides. The energy is the line ``!    total energy``, which with smearing is the free energy ``F = E - TS``: forces and
stress are its derivatives.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.labelling.espresso.messages import DONE

if TYPE_CHECKING:
    from coevo.labelling.contract import FloatArray

_NUMBER = r"([-+]?[\d.]+(?:[EeDd][-+]?\d+)?)"


@dataclass(frozen=True)
class PwOutput:
    """One ``pw.x`` output.

    Attributes
    ----------
    version : str or None
        Such as ``6.7MaX``.
    done : bool
        Whether it ends with JOB DONE.
    declared_converged : bool
        Whether it says that convergence has been achieved (it says so too where it was told to go on without).
    scf_accuracy : float or None
        The last estimate of the error of the energy, Ry.
    overflow : bool
        Whether a number did not fit its columns.
    n_atoms : int or None
    energy : float or None
        eV/atom.
    forces : ndarray, shape (n_atoms, 3), or None
        eV/Å.
    stress : ndarray, shape (3, 3), or None
        eV/Å³, ASE sign (positive = tensile).
    functionals : tuple of str
        As printed, each once.
    potentials : dict of str to tuple
        Label of the species to the file read and its MD5 sum (None where it is not printed).
    """

    version: str | None
    done: bool
    declared_converged: bool
    scf_accuracy: float | None
    overflow: bool
    n_atoms: int | None
    energy: float | None
    forces: FloatArray | None
    stress: FloatArray | None
    functionals: tuple[str, ...]
    potentials: dict[str, tuple[str, str | None]]


def parse_output(text: str) -> PwOutput:
    """Read an output; what is not there or cannot be read is None, and nothing is raised."""
    version = re.search(r"Program PWSCF v\.?\s*(\S+) starts", text)
    accuracy = re.findall(rf"estimated scf accuracy\s*<\s*{_NUMBER} Ry", text)
    atoms = re.search(r"number of atoms/cell\s*=\s*(\d+)", text)
    functionals = re.findall(r"Exchange-correlation\s*=\s*([^(\n]*)", text)
    files = re.findall(
        r"PseudoPot\. #\s*\d+ for (\S+)\s+read from file:\s*\n\s*([^\n]+?)\s*\n(?:\s*MD5 check sum:\s*(\w+))?", text
    )
    energy, forces, stress = _results(text)
    return PwOutput(
        version=version.group(1) if version else None,
        done=DONE in text,
        declared_converged="convergence has been achieved" in text,
        scf_accuracy=float(accuracy[-1].upper().replace("D", "E")) if accuracy else None,
        overflow=bool(re.search(r"\*{5,}", _numbers_only(text))),
        n_atoms=int(atoms.group(1)) if atoms else None,
        energy=energy,
        forces=forces,
        stress=stress,
        functionals=tuple(dict.fromkeys(" ".join(name.split()) for name in functionals)),
        potentials={label: (path, md5 or None) for label, path, md5 in files},
    )


def _numbers_only(text: str) -> str:
    """The lines in which a label's numbers stand."""
    return "\n".join(re.findall(r"^!.*|^.*force = .*|^.*Total force = .*|^[-\s*\d.]+$", text, flags=re.MULTILINE))


def _readable(text: str) -> str:
    """Make numbers that overflow NaN, and part numbers that touch each other."""
    text = re.sub(r"\*{5,}", " NaN ", text)
    return re.sub(r"(?<=\.\d{8})(?=-\d)", " ", text)


def last_atoms(text: str, *, results_required: bool = True) -> Any:
    """Return the last atoms of an output as ASE reads them, with their results if these are required; None if it cannot."""
    from ase.io import read

    try:
        return read(io.StringIO(_readable(text)), format="espresso-out", index=-1, results_required=results_required)
    except (AssertionError, AttributeError, IndexError, KeyError, StopIteration, TypeError, ValueError):
        return None  # an output that was cut off, at whatever line: what ASE raises depends on the line


def _results(text: str) -> tuple[float | None, FloatArray | None, FloatArray | None]:
    """Energy (eV/atom), forces (eV/Å) and stress (eV/Å³) as ASE reads them."""
    from ase.calculators.calculator import PropertyNotImplementedError

    atoms = last_atoms(text)
    if atoms is None:
        return None, None, None
    values = []
    for name in ("energy", "forces", "stress"):
        try:
            values.append(atoms.calc.get_property(name, atoms, allow_calculation=False))
        except PropertyNotImplementedError:
            values.append(None)
    energy, forces, stress = values
    if stress is not None:
        xx, yy, zz, yz, xz, xy = stress
        stress = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    return (
        None if energy is None else float(energy) / len(atoms),
        None if forces is None else np.asarray(forces, dtype=float),
        stress,
    )
