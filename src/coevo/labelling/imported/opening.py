"""Open a file that may be packed and say what it is by its content."""

from __future__ import annotations

import bz2
import codecs
import gzip
import lzma
import re
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from coevo.errors import LabellingError

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
                _copy(source, target)
        except (OSError, EOFError, lzma.LZMAError, UnicodeDecodeError) as error:
            raise LabellingError(f"{path}: damaged: {error}") from error
        yield plain


def _copy(source: IO[bytes], target: IO[bytes]) -> None:
    """Copy without the byte order mark, as UTF-8."""
    start = source.read(3)
    if start.startswith(UTF_16):
        target.write((start + source.read()).decode("utf-16").encode())
        return
    target.write(start.removeprefix(codecs.BOM_UTF8))
    shutil.copyfileobj(source, target)


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
