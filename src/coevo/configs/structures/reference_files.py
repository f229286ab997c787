"""Files of crystal structures, read entry by entry: CIF, POSCAR, extended XYZ and JSON, compressed, in zips, in directories.

Nothing here knows a chemical system; :mod:`coevo.configs.references` decides what a node accepts. JSON is read field by field and
never through a class named in the file, so a file from elsewhere cannot run code. What a file may cost is bounded before it is
parsed (:mod:`coevo.configs.structures.bounds`).
"""

from __future__ import annotations

import gzip
import json
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

from coevo.configs.structures.bounds import check_cell, check_count
from coevo.configs.structures.cif_blocks import cif_blocks, holds_crystal, structure_from_cif
from coevo.configs.structures.files import MAX_TEXT, ONE_STRUCTURE, kind_of, text_of
from coevo.configs.structures.json_structures import check_item, structure_from_item
from coevo.configs.structures.poscar_text import structure_from_poscar
from coevo.errors import ReferenceDataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pymatgen.core import Structure

MAX_FILE = 64 * 2**20
"""Characters of a file of references, decompressed, at most."""
MAX_ENTRIES = 10_000
"""Structures of a file, at most."""
ALLOWED = (
    ".cif, POSCAR*, CONTCAR*, .vasp, .extxyz, .xyz, .json, each also as .gz or .bz2; or a .zip or directory of .cif and POSCAR"
)
_DAMAGED = (zlib.error, EOFError, gzip.BadGzipFile, zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError)


@dataclass(frozen=True)
class FileEntry:
    """One structure of a file, as the file gives it.

    Attributes
    ----------
    where : str
        How messages name the entry: ``entry 3 (Li2S)``.
    name : str
        The file's own name of the structure, or empty.
    structure : Structure
    source, licence : str or None
        Where the file says the structure comes from, and under which terms.
    """

    where: str
    name: str
    structure: Structure
    source: str | None = None
    licence: str | None = None


@dataclass(frozen=True)
class NoCrystal:
    """An entry of a file that is no crystal, such as a molecule in a box; it is left out and told of.

    Attributes
    ----------
    where, why : str
    """

    where: str
    why: str


def read_entries(path: Path, say: Callable[[str], None] | None = None) -> list[FileEntry]:
    """Read all structures of a file, in its order.

    Parameters
    ----------
    path : Path
        ``.cif`` (one or several data blocks), ``POSCAR*``, ``CONTCAR*`` or ``.vasp``, ``.extxyz`` or ``.xyz`` (frames with a
        cell), or ``.json`` (see ``docs/configuration.md``), each also as ``.gz`` or ``.bz2``; or a zip or directory of CIFs and
        POSCARs.
    say : callable, optional
        Is told of the frames that are no crystals, which are left out.

    Raises
    ------
    ReferenceDataError
        Naming file and entry.
    """
    entries: list[FileEntry] = []
    left_out: list[str] = []
    try:
        for entry in _entries(path):
            if isinstance(entry, NoCrystal):
                left_out.append(f"{entry.where}: {entry.why}")
                continue
            entries.append(entry)
            if len(entries) > MAX_ENTRIES:
                raise ReferenceDataError(f"{path}: holds more than {MAX_ENTRIES} structures; give fewer, or several files")
    except OSError as err:
        raise ReferenceDataError(f"{path}: cannot be read: {err.strerror or err}") from None
    if left_out and not entries:
        raise ReferenceDataError(f"{path}: holds no crystal: {len(left_out)} not_periodic ({left_out[0]})")
    if left_out and say is not None:
        say(f"{path.name}: left out: {len(left_out)} not_periodic ({left_out[0]})")
    if not entries:
        raise ReferenceDataError(f"{path}: holds no structure; give at least one for each element of the node")
    return entries


def _entries(path: Path) -> Iterator[FileEntry | NoCrystal]:
    if path.is_dir():
        files = [file for file in sorted(path.rglob("*")) if kind_of(file.name) in ONE_STRUCTURE and file.is_file()]
        for file in files:
            yield from _named_after(_read_one(file, path), str(file.relative_to(path)))
    elif path.suffix.lower() == ".zip":
        yield from _read_zip(path)
    else:
        yield from _read_one(path, path)


def _read_one(path: Path, origin: Path) -> Iterator[FileEntry | NoCrystal]:
    kind = kind_of(path.name)
    reader = READERS.get(kind or "")
    if reader is None or path.suffix.lower() in {".jsonl", ".ndjson"}:
        raise ReferenceDataError(f"{path}: unknown kind of file {path.suffix!r}; allowed: {ALLOWED}")
    if not path.is_file():
        raise ReferenceDataError(f"{path}: is no regular file; allowed: {ALLOWED}")
    if path.stat().st_size > MAX_FILE:
        raise ReferenceDataError(
            f"{path}: has {path.stat().st_size >> 20} MB, allowed: at most {MAX_FILE >> 20} MB; give fewer phases"
        )
    with path.open("rb") as raw:
        text = _bounded_text(raw, path.name, path, MAX_FILE)
    yield from reader(path if path == origin else Path(f"{origin}: {path.relative_to(origin)}"), text)


def _bounded_text(raw: IO[bytes], name: str, path: Path, most: int) -> str:
    """Text of a file, decompressed no further than what is allowed."""
    try:
        text = text_of(raw, name, errors="strict").read(most + 1)
    except UnicodeDecodeError as err:
        raise ReferenceDataError(f"{path}: not a text file in UTF-8 (byte {err.start}); allowed: {ALLOWED}") from None
    except _DAMAGED as err:
        raise ReferenceDataError(f"{path}: {name} is damaged: {_one_line(err)}; download or export it again") from None
    if len(text) > most:
        raise ReferenceDataError(f"{path}: {name} holds more than {most >> 20} MB of text; give fewer phases")
    return text


def _read_zip(path: Path) -> Iterator[FileEntry | NoCrystal]:
    """Entries of the CIFs and POSCARs of a zip; nothing is extracted to disk."""
    try:
        archive = zipfile.ZipFile(path)
    except _DAMAGED as err:
        raise ReferenceDataError(f"{path}: not a readable zip: {_one_line(err)}; download or export it again") from None
    left = MAX_FILE
    with archive:
        for info in archive.infolist():
            kind = None if info.is_dir() else kind_of(info.filename)
            if kind not in ONE_STRUCTURE:
                continue
            try:
                with archive.open(info) as member:
                    text = _bounded_text(member, info.filename, path, min(left, MAX_TEXT))
            except _DAMAGED as err:
                raise ReferenceDataError(f"{path}: {info.filename} is damaged: {_one_line(err)}; export it again") from None
            left -= len(text)
            yield from _named_after(READERS[kind](Path(f"{path}: {info.filename}"), text), info.filename)


def _named_after(entries: Iterator[FileEntry | NoCrystal], member: str) -> Iterator[FileEntry | NoCrystal]:
    """Entries of a member, which say in messages where they stand."""
    for entry in entries:
        yield replace(entry, where=f"{member}: {entry.where}")


def _read_cif(path: Path, text: str) -> Iterator[FileEntry]:
    for number, (name, block) in enumerate(cif_blocks(text.splitlines()), start=1):
        where = f"entry {number} (data_{name})"
        if not holds_crystal(block):
            continue
        if len(block) > MAX_TEXT:
            raise ReferenceDataError(f"{path}: {where}: more than {MAX_TEXT} characters; allowed: the CIF of one structure")
        try:
            structure = structure_from_cif(block)
        except ValueError as err:
            raise ReferenceDataError(f"{path}: {where}: {err}") from err
        yield FileEntry(where, name, structure)


def _read_poscar(path: Path, text: str) -> Iterator[FileEntry]:
    if not text.strip():
        return
    if len(text) > MAX_TEXT:
        raise ReferenceDataError(f"{path}: more than {MAX_TEXT} characters; allowed: one structure")
    title = text.splitlines()[0].strip()
    try:
        structure = structure_from_poscar(text)
    except ValueError as err:
        raise ReferenceDataError(f"{path}: {err}") from err
    yield FileEntry(f"entry 1 ({structure.composition.reduced_formula})", title if title.isprintable() else "", structure)


def _read_xyz(path: Path, text: str) -> Iterator[FileEntry | NoCrystal]:
    from pymatgen.core import Composition

    from coevo.configs.structures.extended_xyz import FrameError, cut_frames, parse_frame, why_no_crystal

    for part in cut_frames(iter(text.splitlines())):
        where = f"entry {part.number}"
        try:
            if part.problem is not None:
                raise part.problem
            frame = parse_frame(part.comment, part.atoms)
        except FrameError as err:
            raise ReferenceDataError(f"{path}: {where}: not an extended XYZ file: {err.detail}") from err
        name = frame.info.get("name", "")
        where += f" ({name or Composition(dict(Counter(frame.symbols))).formula.replace(' ', '')})"
        try:
            check_count(len(frame))
            if frame.lattice is not None and all(frame.pbc):
                check_cell(frame.lattice)
        except ValueError as err:
            raise ReferenceDataError(f"{path}: {where}: {err}") from None
        why = why_no_crystal(frame)
        if why is not None:
            yield NoCrystal(where, why)
            continue
        source, licence = (frame.info.get(key) for key in ("source", "licence"))
        try:
            structure = frame.structure()
        except FrameError as err:
            raise ReferenceDataError(f"{path}: {where}: {err.detail}") from err
        yield FileEntry(where, name, structure, source, licence)


def _read_json(path: Path, text: str) -> Iterator[FileEntry]:
    try:
        data = json.loads(text) if text.strip() else []
    except (ValueError, RecursionError, MemoryError) as err:  # ValueError: also an integer of thousands of digits
        raise ReferenceDataError(f"{path}: not JSON: {_one_line(err)}") from None
    if isinstance(data, dict):
        data = data.get("phases", [data])
    if not isinstance(data, list):
        raise ReferenceDataError(
            f"{path}: got a JSON {type(data).__name__}, allowed: a structure, a list of them, or an object with phases"
        )
    if len(data) > MAX_ENTRIES:
        raise ReferenceDataError(f"{path}: holds {len(data)} structures, allowed: at most {MAX_ENTRIES}; give fewer")
    for number, item in enumerate(data, start=1):
        where = f"entry {number}"
        if not isinstance(item, dict):
            raise ReferenceDataError(
                f"{path}: {where}: got {str(item)[:40]!r}, allowed: an object with lattice and sites, or with structure"
            )
        name = str(item.get("name") or item.get("material_id") or "")
        where += f" ({name})" if name else ""
        try:
            check_item(item)
            structure = structure_from_item(item)
        except _NO_STRUCTURE as err:
            missing = f"no {err}" if isinstance(err, KeyError) else _one_line(err)
            raise ReferenceDataError(f"{path}: {where}: not a structure: {missing}") from err
        source, licence = (str(item[key]) if item.get(key) else None for key in ("source", "licence"))
        yield FileEntry(where, name, structure, source, licence)


def _one_line(err: object) -> str:
    return " ".join(str(err).split())[:200] or type(err).__name__


_NO_STRUCTURE = (LookupError, ValueError, TypeError, AttributeError, ArithmeticError)
"""What pymatgen, numpy and ASE raise for what is no structure."""

READERS: dict[str, Callable[[Path, str], Iterator[FileEntry | NoCrystal]]] = {
    "cif": _read_cif,
    "poscar": _read_poscar,
    "xyz": _read_xyz,
    "json": _read_json,
}
