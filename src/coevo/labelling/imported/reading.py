"""Labels that a user has already: vasprun.xml, ``pw.x`` outputs and extended XYZ files, with settings of their own.

Each frame passes the same checks as a label that is computed here. What a file says of its settings enters their digest, so that
labels of two calculations that differ are never mixed in one fit unless the user asks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from coevo.errors import LabellingError
from coevo.labelling.contract import LabelSettings
from coevo.labelling.imported.contract import CODE, ImportedFile, LabelKeys
from coevo.labelling.imported.extended_xyz import read_extended_xyz
from coevo.labelling.imported.pw_output import read_pw_output
from coevo.labelling.imported.vasprun import read_vasprun

if TYPE_CHECKING:
    from pathlib import Path

READERS = {".xml": "vasprun", ".out": "pw.x", ".pwo": "pw.x", ".extxyz": "extxyz", ".xyz": "extxyz"}
"""End of a file's name, without .gz, to what it is."""


def read_labels(
    path: Path, *, functional: str | None = None, anion_corrected: bool = False, keys: LabelKeys | None = None
) -> ImportedFile:
    """Read a file of first-principles frames.

    Parameters
    ----------
    path : Path
        ``vasprun.xml`` (also .gz), a ``pw.x`` output (.out, .pwo), or an extended XYZ file with energies, forces and stresses.
    functional : str or None
        Needed for extended XYZ, which does not say it; for the others it must agree with the file.
    anion_corrected : bool
        Whether the energies hold the MP2020 anion correction already.
    keys : LabelKeys, optional
        Of an extended XYZ file, where the user names them.

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
    readers = {
        "vasprun": read_vasprun,
        "pw.x": read_pw_output,
        "extxyz": lambda file: read_extended_xyz(file, keys or LabelKeys()),
    }
    try:
        contents = readers[kind](path)
    except LabellingError:
        raise
    except Exception as error:  # parsers of three packages raise whatever they stumble over
        raise LabellingError(f"{path}: cannot be read as {kind}: {type(error).__name__}: {error}") from error
    found = contents.functional
    if not contents.frames:
        raise LabellingError(f"{path}: no frame with an energy in it")
    if found and functional and found.upper() != functional.upper():
        raise LabellingError(f"{path}: its functional is {found}, not {functional}; leave --functional out")
    if not (found or functional):
        raise LabellingError(f"{path}: the file does not say its functional; give it: --functional PBE (or r2SCAN, …)")
    settings = LabelSettings(
        CODE,
        str(contents.recorded.get("version", "")),
        str(found or functional),
        anion_corrected,
        {"source": kind, **contents.parameters, "potentials": contents.potentials},
    )
    return ImportedFile(
        contents.frames, settings, contents.potentials, contents.recorded, contents.taken, contents.notes
    )
