"""What VASP needs of the machine: an executable and the POTCAR of every element; looked for before anything is run."""

from __future__ import annotations

import hashlib
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from coevo.errors import CoevoError, LabellingError
from coevo.labelling.contract import Found
from coevo.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pymatgen.io.vasp.inputs import PotcarSingle

LAUNCHERS = frozenset({"mpirun", "mpiexec", "mpiexec.hydra", "orterun", "prterun", "srun", "aprun", "jsrun", "ibrun"})
"""Commands that start another one, which is then the last word."""

LIBRARIES = ("PBE_64", "PBE_54", "PBE_52", "PBE")
"""pymatgen's names of the PBE libraries, newest first."""


@dataclass(frozen=True)
class PotcarFile:
    """The potential of one element.

    Attributes
    ----------
    symbol : str
        Name in the library, such as ``Li_sv``.
    title : str
        TITEL line, such as ``PAW_PBE Li_sv 10Sep2004``.
    sha256 : str
        Of the text of the file.
    """

    symbol: str
    title: str
    sha256: str


def require_command(command: str) -> str:
    """Return the path of the executable that a VASP command starts.

    Parameters
    ----------
    command : str
        Such as ``mpirun -n 4 vasp_std``.

    Raises
    ------
    LabellingError
        If the launcher or the executable is not there.
    """
    try:
        words = shlex.split(command)
    except ValueError as err:
        raise LabellingError(f"VASP: COEVO_VASP_COMMAND {command!r} cannot be read: {err}") from None
    if not words:
        raise LabellingError("VASP: COEVO_VASP_COMMAND is empty; set it to a command such as mpirun -n 4 vasp_std")
    needed = [words[0], words[-1]] if Path(words[0]).name in LAUNCHERS and len(words) > 1 else [words[0]]
    found = ""
    for word in needed:
        found = shutil.which(word) or ""
        if not found:
            raise LabellingError(
                f"VASP: no executable {word!r} on PATH (the command is {command!r}); put it there, load its module, "
                "or set COEVO_VASP_COMMAND"
            )
    return found


def require_potcars(symbols: Mapping[str, str], library: str) -> dict[str, PotcarFile]:
    """Find and read the POTCAR of every element.

    Parameters
    ----------
    symbols : mapping of str to str
        Element to the name of its potential in the library.
    library : str
        pymatgen's name of the library, such as ``PBE_64``.

    Returns
    -------
    dict
        Element to :class:`PotcarFile`.

    Raises
    ------
    LabellingError
        If the directory of the libraries, the library or a file of it is missing, or a file is not a PBE POTCAR of its element.
    """
    return {element: _read_potcar(element, symbol, library) for element, symbol in sorted(symbols.items())}


def potcar_directory(library: str) -> Path:
    """Return the directory of a library of POTCARs, which may be missing.

    Raises
    ------
    LabellingError
        If pymatgen is not told where its POTCAR libraries are, or nothing is there.
    """
    from pymatgen.core import SETTINGS
    from pymatgen.io.vasp.inputs import POTCAR_FUNCTIONAL_MAP

    root = SETTINGS.get("PMG_VASP_PSP_DIR")
    if not root:
        raise LabellingError(
            f"VASP: no POTCARs of {library}: PMG_VASP_PSP_DIR is not set; set it, or the line PMG_VASP_PSP_DIR: DIRECTORY in "
            "~/.config/.pmgrc.yaml, to what `pmg config -p` made of your licensed POTCARs"
        )
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise LabellingError(f"VASP: no POTCARs of {library}: PMG_VASP_PSP_DIR is {folder}, which is not a directory")
    return folder / str(SETTINGS.get("PMG_VASP_PSP_SUB_DIRS", {}).get(library, POTCAR_FUNCTIONAL_MAP[library]))


def _read_potcar(element: str, symbol: str, library: str) -> PotcarFile:
    from pymatgen.io.vasp.inputs import PotcarSingle

    folder = potcar_directory(library)
    try:
        potcar = PotcarSingle.from_symbol_and_functional(symbol, library)
    except FileNotFoundError:
        raise LabellingError(
            f"VASP: no POTCAR of {element} ({symbol}, {library}); looked for {folder}/POTCAR.{symbol}[.gz] "
            f"and {folder}/{symbol}/POTCAR[.gz]; put it there, or choose another release "
            "by labelling.vasp.potcars"
        ) from None
    except (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError) as err:
        raise LabellingError(
            f"VASP: the POTCAR of {element} ({symbol}, {library}) in {folder} is damaged: {err!r}; install it again"
        ) from err
    return _checked(element, symbol, library, potcar)


def _checked(element: str, symbol: str, library: str, potcar: PotcarSingle) -> PotcarFile:
    if potcar.element != element:
        raise LabellingError(f"VASP: the POTCAR {symbol} of {library} is one of {potcar.element}, not of {element}")
    if potcar.functional != "PBE":
        raise LabellingError(
            f"VASP: the POTCAR {symbol} of {library} was made with {potcar.functional or 'an unknown functional'}, not PBE"
        )
    return PotcarFile(symbol, str(potcar.TITEL), hashlib.sha256(potcar.data.encode()).hexdigest())


def installed_libraries() -> dict[str, int]:
    """Return the PBE libraries that are there, with the number of their potentials.

    Raises
    ------
    LabellingError
        If pymatgen is not told where its POTCAR libraries are, or nothing is there.
    """
    found = {}
    for library in LIBRARIES:
        folder = potcar_directory(library)
        count = len({*folder.glob("POTCAR.*"), *folder.glob("*/POTCAR*")})
        if count:
            found[library] = count
    return found


def installation() -> list[Found]:
    """Look for VASP and the POTCAR libraries; which elements they hold is checked when a node asks for labels."""
    return [_program(), _libraries()]


def _program() -> Found:
    try:
        return Found("VASP", "ok", require_command(read_settings().vasp_command))
    except CoevoError as err:
        return Found(
            "VASP", "missing", str(err), "set COEVO_VASP_COMMAND; VASP needs a licence, and other codes label without it"
        )


def _libraries() -> Found:
    try:
        libraries = installed_libraries()
    except CoevoError as err:
        return Found("POTCARs", "missing", str(err), "`pmg config -p SOURCE TARGET` sorts licensed POTCARs for pymatgen")
    if not libraries:
        return Found(
            "POTCARs", "missing", "PMG_VASP_PSP_DIR holds no PBE library", "labelling by VASP needs PBE_64 (matpes) or PBE (mp)"
        )
    return Found("POTCARs", "ok", ", ".join(f"{name}: {count} potentials" for name, count in libraries.items()))
