"""Labels that a user has already: files of VASP, of ``pw.x`` and extended XYZ files, with settings of their own.

Each frame passes the same checks as a label that is computed here. What a file says of its settings enters their digest, so that
labels of two calculations that differ are never mixed in one fit unless the user asks for it. What a file is, its content says,
not its name: ``vasprun.xml.relax1.gz`` and ``aiida.out`` are read like ``vasprun.xml`` and ``pw.out``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from coevo.errors import LabellingError
from coevo.labelling.contract import LabelSettings
from coevo.labelling.imported.contract import CODE, FileContents, ImportedFile, LabelKeys
from coevo.labelling.imported.extended_xyz import read_extended_xyz
from coevo.labelling.imported.functionals import settle
from coevo.labelling.imported.opening import kind_of, unpacked
from coevo.labelling.imported.pwscf.document import read_pw_xml
from coevo.labelling.imported.pwscf.output import read_pw_output
from coevo.labelling.imported.vasprun.steps import read_vasprun

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

READERS = {".xml": "vasprun", ".out": "pw.x", ".pwo": "pw.x", ".extxyz": "extxyz", ".xyz": "extxyz"}
"""Usual end of a file's name, without .gz, to what it is; other names are read too."""

SOURCES = {"pw.x-xml": "pw.x"}
"""Kind of file to what its labels are said to come from, where these differ."""


def read_labels(
    path: Path, *, functional: str | None = None, anion_corrected: bool = False, keys: LabelKeys | None = None
) -> ImportedFile:
    """Read a file of first-principles frames.

    Parameters
    ----------
    path : Path
        ``vasprun.xml``, an output of ``pw.x`` or its ``data-file-schema.xml``, or an extended XYZ file; each also compressed by
        gzip, bzip2 or xz.
    functional : str or None
        Needed where the file does not say it; where it does, the two must agree (in whatever spelling).
    anion_corrected : bool
        Whether the energies hold the MP2020 anion correction already.
    keys : LabelKeys, optional
        Of an extended XYZ file, where the user names them.

    Raises
    ------
    LabellingError
        If the file cannot be read, holds no frame, or its functional is not known or not the one that the user names.
    """
    with unpacked(path) as plain:
        kind = kind_of(plain, str(path))
        contents = _read(plain, path, kind, keys)
    if not contents.frames:
        raise LabellingError(f"{path}: no frame with an energy in it")
    found = settle(contents.functional, functional, str(path), contents.functional_begins, contents.functional_open)
    settings = LabelSettings(
        CODE,
        str(contents.recorded.get("version", "")),
        found,
        anion_corrected,
        {"source": SOURCES.get(kind, kind), **contents.parameters, "potentials": contents.potentials},
    )
    taken = {**contents.taken, **({} if contents.functional else {"functional": "--functional"})}
    return ImportedFile(
        contents.frames, settings, contents.potentials, contents.recorded, taken, contents.notes, contents.left_out
    )


def _read(plain: Path, path: Path, kind: str, keys: LabelKeys | None) -> FileContents:
    """Read an unpacked file by its kind.

    Parameters
    ----------
    plain : Path
        What is read.
    path : Path
        What the user named; other files of the run may lie beside it.
    kind : str
    keys : LabelKeys or None
    """
    readers: dict[str, Callable[[], FileContents]] = {
        "vasprun": lambda: read_vasprun(plain),
        "pw.x": lambda: read_pw_output(plain, beside=path.absolute().parent),
        "pw.x-xml": lambda: read_pw_xml(plain, beside=path.absolute().parent),
        "extxyz": lambda: read_extended_xyz(plain, keys or LabelKeys()),
    }
    try:
        return readers[kind]()
    except LabellingError as error:
        told = str(error)
        raise LabellingError(told if str(path) in told else f"{path}{told.removeprefix(plain.name)}") from error
    except Exception as error:  # parsers of four packages raise whatever they stumble over
        raise LabellingError(f"{path}: cannot be read as {kind}: {type(error).__name__}: {error}") from error
