"""Which files hold structures, by their names, and their text: plain, as ``.gz`` or ``.bz2``, bounded in size."""

from __future__ import annotations

import bz2
import gzip
import io
from pathlib import PurePath
from typing import IO, Any

MAX_TEXT = 4 * 2**20
"""Characters of one structure, at most (a CIF of 1,000 atoms has 60,000)."""

KINDS = {
    ".cif": "cif",
    ".vasp": "poscar",
    ".poscar": "poscar",
    ".contcar": "poscar",
    ".extxyz": "xyz",
    ".xyz": "xyz",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
}
"""Suffix to kind of text."""
VASP_NAMES = ("POSCAR", "CONTCAR")
"""How the names of files of VASP's kind begin, or end, where they have no suffix."""
ONE_STRUCTURE = ("cif", "poscar")
"""Kinds of which directories and zips hold a file for each structure."""
_OTHERS = (".zip", ".tar", ".tgz", ".7z", ".xz", ".part")


def kind_of(name: str) -> str | None:
    """Return ``cif``, ``poscar``, ``xyz`` or ``json`` by the name of a file, compressed or not; None if it is none of them.

    A name beginning with ``POSCAR`` or ``CONTCAR`` is VASP's unless its suffix says otherwise (``POSCAR.cif``).
    """
    base = PurePath(name.replace("\\", "/")).name
    if base.startswith("._"):  # what macOS keeps beside a file
        return None
    plain = base.lower().removesuffix(".gz").removesuffix(".bz2")
    suffix = PurePath(plain).suffix
    if suffix in KINDS:
        return KINDS[suffix]
    words = tuple(word.lower() for word in VASP_NAMES)
    if suffix not in _OTHERS and (plain.startswith(words) or plain.endswith(words)):
        return "poscar"
    return None


def text_of(raw: IO[bytes], name: str, errors: str = "replace") -> IO[str]:
    """Text of an open file that may be compressed, as its name says.

    Parameters
    ----------
    raw : binary file
    name : str
    errors : str
        What becomes of bytes that are no UTF-8; by default the parsers see them as what they are not.
    """
    suffix = PurePath(name).suffix.lower()
    stream: Any = gzip.GzipFile(fileobj=raw) if suffix == ".gz" else bz2.BZ2File(raw) if suffix == ".bz2" else raw
    return io.TextIOWrapper(stream, encoding="utf-8-sig", errors=errors)
