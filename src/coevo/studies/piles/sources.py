"""The texts of a pile of crystals, one by one: zip or directory of CIFs and POSCARs, or a file of them, extended XYZ or JSON.

Each may be compressed (``.gz``, ``.bz2``). A pile may come from a stranger: nothing is ever extracted to disk, names of members
are labels only, and no single text, however well it compresses, is held beyond :data:`MAX_TEXT`. What is wrong with one text is
told in its place and does not end the pile.
"""

from __future__ import annotations

import lzma
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import IO, TYPE_CHECKING, Any

from coevo.configs.structures.cif_blocks import cif_blocks
from coevo.configs.structures.extended_xyz import cut_frames
from coevo.configs.structures.files import MAX_TEXT, ONE_STRUCTURE, kind_of, text_of
from coevo.errors import AnalysisError
from coevo.studies.piles.json_values import json_items

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_ALLOWED = (
    "a directory or .zip of CIFs and POSCARs, .cif, POSCAR*, CONTCAR*, .vasp, .extxyz, .xyz, .json, .jsonl, "
    "each also as .gz or .bz2"
)

_DAMAGED_STREAM = (zlib.error, EOFError, OSError)
_DAMAGED = (*_DAMAGED_STREAM, zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, OverflowError, lzma.LZMAError)
"""What the standard library raises for gzip streams, and for members of a zip, that are not as they should be."""


@dataclass(frozen=True, slots=True)
class Source:
    """The text of one structure (of a CIF: perhaps of several), or why there is none.

    Attributes
    ----------
    id : str
        Name of the member, or number of the entry.
    kind : {"cif", "poscar", "xyz", "json"}
    text : str or object
        Decoded JSON for ``json``.
    problem : tuple of str or None
        Reason and detail.
    """

    id: str
    kind: str
    text: Any
    problem: tuple[str, str] | None = None


class Pile:
    """A pile of crystals on disk.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    total : int
        How much there is to read.
    unit : str
        Of ``total``: files, or MB.
    ignored : int
        Members of a zip or directory that are neither CIF nor POSCAR; known after reading.

    Raises
    ------
    AnalysisError
        If the file is not there, empty, or of no kind that can be read.
    """

    def __init__(self, path: Path):
        self.path = path
        self.ignored = 0
        self.total, self.unit = 1, "files"
        self._open: Callable[[], Iterator[tuple[Source, int]]]
        try:
            self._look()
        except OSError as err:
            raise AnalysisError(f"{path}: cannot be read: {err.strerror or err}") from None

    def _look(self) -> None:
        path = self.path
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.is_file())
            self._files = [file for file in files if kind_of(file.name) in ONE_STRUCTURE]
            self.ignored = len(files) - len(self._files)
            if not self._files:
                others = ", ".join(file.name for file in files[:5])
                what = f"holds no .cif and no POSCAR but {others}" if others else "is an empty directory"
                raise AnalysisError(f"{path}: {what}; give a directory of CIFs or POSCARs, or one file")
            self.total, self._open = len(self._files), self._directory
            return
        if not path.exists():
            raise AnalysisError(f"{path}: no such file; allowed: {_ALLOWED}, or a state such as li-p-s@main")
        if path.stat().st_size == 0:
            raise AnalysisError(f"{path}: is empty; allowed: {_ALLOWED}")
        if zipfile.is_zipfile(path):
            self._open = self._zip
            return
        if path.suffix.lower() == ".zip":
            raise AnalysisError(f"{path}: is called .zip and is none, or is cut short; download or export it again")
        self.kind = kind_of(path.name)
        if self.kind is None:
            raise AnalysisError(f"{path}: unknown kind of file {path.suffix!r}; allowed: {_ALLOWED}")
        self.total, self.unit = max(1, round(path.stat().st_size / 2**20)), "MB"
        self._open = self._stream

    def __iter__(self) -> Iterator[tuple[Source, int]]:
        """Yield each text with how much of ``total`` is read by now."""
        return self._open()

    # --- many files

    def _directory(self) -> Iterator[tuple[Source, int]]:
        for number, file in enumerate(self._files, start=1):
            name, kind = file.relative_to(self.path).as_posix(), kind_of(file.name) or ""
            with _caught() as problem, file.open("rb") as raw:
                yield _source(name, kind, text_of(raw, file.name).read(MAX_TEXT + 1)), number
            if problem:
                yield Source(name, kind, "", ("unreadable", problem[0])), number

    def _zip(self) -> Iterator[tuple[Source, int]]:
        try:
            archive = zipfile.ZipFile(self.path)
        except _DAMAGED as err:
            raise AnalysisError(f"{self.path}: not a readable zip: {err}; download or export it again") from None
        with archive:
            members = [info for info in archive.infolist() if not info.is_dir()]
            chosen = [info for info in members if _is_structure(info.filename)]
            self.ignored = len(members) - len(chosen)
            self.total = max(1, len(chosen))
            if not chosen:
                raise AnalysisError(
                    f"{self.path}: holds no .cif and no POSCAR among its {len(members)} members; allowed: {_ALLOWED}"
                )
            for number, info in enumerate(chosen, start=1):
                kind = kind_of(info.filename) or ""
                with _caught() as problem, archive.open(info) as member:
                    # the size that is declared may be a lie: no more than this is decompressed
                    yield _source(info.filename, kind, text_of(member, info.filename).read(MAX_TEXT + 1)), number
                if problem:
                    yield Source(info.filename, kind, "", ("unreadable", problem[0])), number

    # --- one file

    def _stream(self) -> Iterator[tuple[Source, int]]:
        readers: dict[str, Callable[[IO[str]], Iterator[Source]]] = {
            "cif": _cif_stream,
            "poscar": partial(_poscar_stream, self.path.name),
            "xyz": _xyz_stream,
            "json": _json_stream,
        }
        assert self.kind is not None
        raw = self.path.open("rb")
        with raw:
            try:
                for source in readers[self.kind](text_of(raw, self.path.name)):
                    yield source, raw.tell() >> 20
            except _DAMAGED_STREAM as err:
                # gzip notices damage when it reaches it; what came before is whole
                yield Source("rest of the file", self.kind, "", ("unreadable", f"the file breaks off: {err}")), self.total


def _is_structure(member: str) -> bool:
    """Whether a member of a zip is a CIF or a POSCAR, and no resource fork of one."""
    base = member.replace("\\", "/").rpartition("/")[2]
    return kind_of(base) in ONE_STRUCTURE and not base.startswith("._")


def _source(name: str, kind: str, text: str) -> Source:
    if len(text) > MAX_TEXT:
        return Source(name, kind, "", ("too_large", f"more than {MAX_TEXT} characters"))
    return Source(name, kind, text)


@contextmanager
def _caught() -> Iterator[list[str]]:
    """Note what is wrong with one member, and go on."""
    problem: list[str] = []
    try:
        yield problem
    except _DAMAGED as err:
        problem.append(f"{type(err).__name__}: {err}")


def _lines(text: IO[str]) -> Iterator[str]:
    """Lines without their ends; one that is too long comes in pieces."""
    while line := text.readline(MAX_TEXT):
        yield line.rstrip("\r\n")


def _cif_stream(text: IO[str]) -> Iterator[Source]:
    for number, (name, block) in enumerate(cif_blocks(_cut_blocks(_lines(text))), start=1):
        yield _source(name or str(number), "cif", block)


def _poscar_stream(name: str, text: IO[str]) -> Iterator[Source]:
    yield _source(name, "poscar", text.read(MAX_TEXT + 1))


def _cut_blocks(lines: Iterator[str]) -> Iterator[str]:
    """Leave out what goes beyond the limit of a block, so that one without an end cannot fill the memory."""
    size = 0
    for line in lines:
        if line.lstrip().startswith("data_"):
            size = 0
        if size <= MAX_TEXT:
            size += len(line) + 1
            yield line


def _xyz_stream(text: IO[str]) -> Iterator[Source]:
    for part in cut_frames(_lines(text), MAX_TEXT):
        if part.problem is not None:
            yield Source(str(part.number), "xyz", "", (part.problem.reason, part.problem.detail))
        else:
            yield Source(str(part.number), "xyz", part.text())


def _json_stream(text: IO[str]) -> Iterator[Source]:
    for number, item in enumerate(json_items(text, MAX_TEXT), start=1):
        if item.problem is not None:
            yield Source(str(number), "json", None, ("unreadable", item.problem))
        else:
            yield Source(_json_name(item.value) or str(number), "json", item.value)


def _json_name(item: Any) -> str:
    """The file's own name of a structure."""
    if not isinstance(item, dict):
        return ""
    return str(next((item[key] for key in ("id", "material_id", "entry_id", "name") if item.get(key)), ""))
