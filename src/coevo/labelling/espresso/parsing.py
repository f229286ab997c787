"""What a ``pw.x`` output says: energy, forces and stress through ASE, and what a validator needs to know beside them.

pw.x prints ``****`` for a number that does not fit its columns; such numbers are read as NaN, so that a validator and not the
parser decides. The energy is the line ``!    total energy``, which with smearing is the free energy ``F = E - TS``: forces and
stress are its derivatives.

What ``pw.x`` prints when something is wrong: one table from the words to the name of the error.

The order of the table is the order of importance: of several errors in one output, the first is the cause and the one that is
corrected. The texts were read in outputs of pw.x (the recordings of the tests), but for those marked in the table.
"""

from __future__ import annotations

import io
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from coevo.labelling.contract import FloatArray


MESSAGES: tuple[tuple[str, str], ...] = (
    ("disk_full", r"No space left on device|Disk quota exceeded"),
    ("out_of_memory", r"Cannot allocate memory|Error allocating|insufficient virtual memory|oom.kill|Out of memory"),
    ("overlapping_atoms", r"atoms #\s*\d+ and #\s*\d+ (?:overlap|differ by lattice vector)"),
    ("potential_not_found", r"Error in routine\s+readpp"),
    ("potential_not_read", r"Error in routine\s+(?:read_upf|upf|read_ps)\w*"),
    ("input_not_read", r"Error in routine\s+(?:read_namelists|read_cards|card_\w+|iosys|read_input\w*)"),
    ("directory_not_writable", r"Error in routine\s+check_tempdir|cannot be created or accessed"),
    ("restart_not_read", r"Error in routine\s+(?:read_conf_from_file|pw_readschema_file|read_xml_file|read_rhog|davcio|diropn)"),
    ("too_few_plane_waves", r"more bands than PWs"),
    ("too_few_bands", r"Error in routine\s+setup \(\d+\):\s*too few bands|cannot bracket Ef"),
    ("smearing_needed", r"charge is wrong|smearing is needed"),
    ("s_matrix_not_positive", r"S matrix not positive definite"),
    ("cholesky_failed", r"problems computing cholesky"),  # not provoked
    ("diagonalisation_failed", r"(?:too many|some) bands are not converged|eigenvectors failed to converge"),
    (
        "diagonalisation_failed",
        r"Error in routine\s+(?:[cr]diaghg\w*|[cr]egterg|z[hn]egv\w*|dsygv\w*|c_bands|paro_\w+|p?ppcg\w*)",
    ),
    ("walltime", r"Maximum CPU time exceeded"),
    ("scf_not_converged", r"convergence NOT achieved after"),
    ("unknown_error", r"Error in routine"),
)
"""Name of the error and the pattern that tells it, most important first."""

SIGNALS: tuple[tuple[str, str], ...] = (
    ("killed", r"exited on signal 9|\bKilled\b|SIGKILL"),
    ("crashed", r"SIGSEGV|Segmentation fault|SIGABRT|SIGBUS|SIGFPE"),
)
"""What the launcher or the runtime prints on standard error; asked only where pw.x itself named no error."""

DONE = "JOB DONE"
STATUS_FILE = "pw.status.json"
"""Written by the job after each attempt, because custodian's handlers are not told the exit code."""


def find_errors(text: str, table: tuple[tuple[str, str], ...] = MESSAGES) -> list[str]:
    """Return the errors that a text tells of, most important first, each once."""
    found = [name for name, pattern in table if re.search(pattern, text)]
    if len(found) > 1 and "unknown_error" in found:
        found.remove("unknown_error")
    return list(dict.fromkeys(found))


def diagnose(directory: str | Path, output_file: str = "pw.out", stderr_file: str = "std_err.txt") -> list[str]:
    """Name what went wrong in a run, most important first; empty if nothing did.

    Parameters
    ----------
    directory : str or Path
        Of the run.
    output_file, stderr_file : str
        Where standard output and standard error went.

    Returns
    -------
    list of str
        Names of :data:`MESSAGES`; else, where pw.x named no error, ``timed_out``, ``killed``, ``crashed`` or ``output_cut_off``.
    """
    output, stderr, crash = (read_text(Path(directory) / name) for name in (output_file, stderr_file, "CRASH"))
    # an abort can lose what stood in the buffer of the output; the file CRASH has the message all the same
    errors = find_errors(f"{output}\n{stderr}\n{crash}")
    if errors:
        return errors
    status = read_status(directory)
    if status.get("timed_out"):
        return ["timed_out"]
    code = status.get("returncode")
    if DONE in output and code in {0, None}:
        return []
    if code in {-9, 137}:
        return ["killed"]
    if code in {-11, 139, -6, 134, -7, 135, -8, 136}:
        return ["crashed"]
    return find_errors(stderr, SIGNALS) or ([] if DONE in output else ["output_cut_off"])


def read_status(directory: str | Path) -> dict[str, object]:
    """Return what the job wrote about its last attempt: ``returncode`` and ``timed_out``; empty if it wrote nothing."""
    text = read_text(Path(directory) / STATUS_FILE)
    return json.loads(text) if text else {}


def read_text(path: Path) -> str:
    """Read a file that may not be there and may hold anything."""
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def last_words(output: str, stderr: str = "", lines: int = 4) -> str:
    """Return what a run said of its failure, on one line: the error blocks of pw.x, or else its last lines."""
    blocks = re.findall(r"Error in routine[^\n]*\n[^\n%]*", output)
    if not blocks:
        blocks = re.findall(r"[^\n]*(?:NOT achieved|CPU time exceeded)[^\n]*", output)
    if not blocks:
        blocks = [line for line in (stderr or output).splitlines() if line.strip()][-lines:]
    return " ".join(" ".join(blocks).split())[:400]


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
    return _read_atoms(text, -1, results_required=results_required)


def all_atoms(text: str) -> list[Any]:
    """Return the atoms of every geometry of an output that has results; empty if ASE cannot read it."""
    return _read_atoms(text, slice(None), results_required=True) or []


def _read_atoms(text: str, index: int | slice, *, results_required: bool) -> Any:
    from ase.io import read

    try:
        return read(io.StringIO(_readable(text)), format="espresso-out", index=index, results_required=results_required)
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
