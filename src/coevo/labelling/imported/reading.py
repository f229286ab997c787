"""Labels that a user has already: files of VASP, of ``pw.x`` and extended XYZ files, with settings of their own.

Each frame passes the same checks as a label that is computed here. What a file says of its settings enters their digest, so that
labels of two calculations that differ are never mixed in one fit unless the user asks for it. What a file is, its content says,
not its name: ``vasprun.xml.relax1.gz`` and ``aiida.out`` are read like ``vasprun.xml`` and ``pw.out``.

Also here: open a file that may be packed and say what it is by its content.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import re
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from coevo.errors import LabellingError
from coevo.labelling.contract import LabelSettings
from coevo.labelling.imported.contract import CODE, FileContents, ImportedFile, LabelKeys
from coevo.labelling.imported.extended_xyz import read_extended_xyz
from coevo.labelling.imported.functionals import settle
from coevo.labelling.imported.pwscf.document import read_pw_xml
from coevo.labelling.imported.pwscf.output import read_pw_output
from coevo.labelling.imported.vasprun.steps import read_vasprun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


PACKED: dict[bytes, Callable[..., IO[Any]]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
"""First bytes of a packed file to what opens it."""

PACKED_SUFFIXES = {".gz", ".bz2", ".xz"}
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
MOST_UNPACKED = 200
"""Bytes of a file for one of it packed, at most: text of calculations is packed 3 to 40 times, zeros a thousand times."""
SMALL = 2**26
"""Bytes that any file may have unpacked."""
HEAD = 200_000
"""Bytes in which a file must show what it is."""

EXTENDED_XYZ_SUFFIXES = {".extxyz", ".xyz"}

LOOKED_FOR = (
    "vasprun.xml (root <modeling>), Quantum ESPRESSO's data-file-schema.xml (root <qes:espresso>), a pw.x output (with the line "
    "'Program PWSCF'), extended XYZ (.xyz, .extxyz, or a line with Lattice=); each also as .gz, .bz2 or .xz"
)

OTHER_FILES = (
    (r"\A[^\n]*vasp\.\d[^\n]*\n", "is an OUTCAR of VASP; give the vasprun.xml of the run"),
    (r"Program PHONON v", "is an output of ph.x, which computes no frame; give the output of pw.x"),
    (r"Program CP v", "is an output of cp.x, whose frames are off the ground state; give outputs of pw.x"),
    (r"&control\b", "is an input of pw.x; give its output"),
)
"""What users give by mistake: a pattern, and the sentence."""


@contextmanager
def unpacked(path: Path) -> Iterator[Path]:
    """Yield a plain file: the one given, or a temporary copy of it without compression and byte order mark.

    Raises
    ------
    LabellingError
        If the file is not there, or its compression is damaged.
    """
    if path.is_dir():
        raise LabellingError(f"{path}: is a directory; name its files, such as {path}/vasprun.xml")
    if not path.is_file():
        raise LabellingError(f"{path}: no such file")
    with path.open("rb") as source:
        start = source.read(8)
    opener = next((opener for first, opener in PACKED.items() if start.startswith(first)), None)
    if opener is None and not start.startswith((codecs.BOM_UTF8, *UTF_16)):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="coevo-import-") as folder:
        plain = Path(folder) / (path.stem if path.suffix in PACKED_SUFFIXES else path.name)
        try:
            with (opener or open)(path, "rb") as source, plain.open("wb") as target:
                _copy(source, target, max(SMALL, MOST_UNPACKED * path.stat().st_size), path)
        except (OSError, EOFError, lzma.LZMAError, UnicodeDecodeError) as error:
            raise LabellingError(f"{path}: damaged: {error}") from error
        yield plain


def _copy(source: IO[bytes], target: IO[bytes], most: int, path: Path) -> None:
    """Copy without the byte order mark, as UTF-8, and at most so many bytes."""
    start = source.read(3)
    decode = codecs.getincrementaldecoder("utf-16")() if start.startswith(UTF_16) else None
    done = 0
    block = (start if decode else start.removeprefix(codecs.BOM_UTF8)) + source.read(2**20)
    while block:
        done += len(block)
        if done > most:
            raise LabellingError(
                f"{path}: is more than {most // 2**20} MiB unpacked, {MOST_UNPACKED} times what it is packed, which no file of "
                "labels is; unpack it yourself if it is one"
            )
        target.write(decode.decode(block).encode() if decode else block)
        block = source.read(2**20)
    if decode:
        target.write(decode.decode(b"", final=True).encode())


def kind_of(plain: Path, name: str) -> str:
    """Return what a file is: ``vasprun``, ``pw.x``, ``pw.x-xml`` or ``extxyz``.

    Parameters
    ----------
    plain : Path
        Unpacked.
    name : str
        The file as the user named it.

    Raises
    ------
    LabellingError
        Saying what was looked for.
    """
    with plain.open("rb") as source:
        head = source.read(HEAD).decode("utf-8", errors="replace")
    if not head.strip():
        raise LabellingError(f"{name}: the file is empty")
    root = re.match(r"\s*(?:<\?xml[^>]*\?>)?\s*(?:<!--.*?-->\s*)*<([\w.:-]+)", head, flags=re.DOTALL)
    if root:
        kind = {"modeling": "vasprun", "espresso": "pw.x-xml"}.get(root[1].rpartition(":")[2])
        if kind is None:
            raise LabellingError(f"{name}: not a file of labels: its root is <{root[1]}>; looked for: {LOOKED_FOR}")
        return kind
    if re.search(r"^\s*Program PWSCF", head, flags=re.MULTILINE):
        return "pw.x"
    suffix = Path(Path(name).stem).suffix if Path(name).suffix in PACKED_SUFFIXES else Path(name).suffix
    if suffix.lower() in EXTENDED_XYZ_SUFFIXES or re.match(
        r"\s*\d+\s*\n[^\n]*(?:Lattice|Properties)=", head, flags=re.IGNORECASE
    ):
        return "extxyz"
    for pattern, sentence in OTHER_FILES:
        if re.search(pattern, head, flags=re.IGNORECASE):
            raise LabellingError(f"{name}: {sentence}")
    raise LabellingError(f"{name}: not a file of labels; looked for: {LOOKED_FOR}")


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
