"""The texts of a pile of crystals, one by one: zip or directory of CIFs, CIF, extended XYZ, JSON; also as ``.gz`` or ``.bz2``.

A pile may come from a stranger: nothing is ever extracted to disk, names of members are labels only, and no single text, however
well it compresses, is held beyond :data:`MAX_TEXT`. What is wrong with one text is told in its place and does not end the pile.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from coevo.app.analyse_json import json_items
from coevo.configs.extended_xyz import cut_frames
from coevo.configs.reference_files import cif_blocks
from coevo.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_TEXT = 4 * 2**20
"""Characters of one structure, at most (a CIF of 1,000 atoms has 60,000)."""

KINDS = {
    ".cif": "cif",
    ".extxyz": "xyz",
    ".xyz": "xyz",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
}
_ALLOWED = "a directory or .zip of CIFs, .cif, .extxyz, .xyz, .json, .jsonl, each also as .gz or .bz2"

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
    kind : {"cif", "xyz", "json"}
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
        Members of a zip or directory that are no CIF; known after reading.

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
            self._files = [file for file in files if _plain_name(file.name).endswith(".cif")]
            self.ignored = len(files) - len(self._files)
            if not self._files:
                others = ", ".join(file.name for file in files[:5]) or "nothing"
                raise AnalysisError(f"{path}: holds no .cif but {others}; give a directory of CIFs, or one of its files")
            self.total, self._open = len(self._files), self._directory
            return
        if not path.exists():
            raise AnalysisError(f"{path}: no such file; allowed: {_ALLOWED}, or a state such as li-p-s@main")
        if path.stat().st_size == 0:
            raise AnalysisError(f"{path}: is empty; allowed: {_ALLOWED}")
        if zipfile.is_zipfile(path):
            self._open = self._zip
            return
        self.kind = KINDS.get(Path(_plain_name(path.name)).suffix)
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
            name = file.relative_to(self.path).as_posix()
            with _caught() as problem, _opened(file) as stream:
                yield _cif_source(name, stream.read(MAX_TEXT + 1)), number
            if problem:
                yield Source(name, "cif", "", ("unreadable", problem[0])), number

    def _zip(self) -> Iterator[tuple[Source, int]]:
        try:
            archive = zipfile.ZipFile(self.path)
        except _DAMAGED as err:
            raise AnalysisError(f"{self.path}: not a readable zip: {err}; download or export it again") from None
        with archive:
            members = [info for info in archive.infolist() if not info.is_dir()]
            chosen = [info for info in members if _is_cif_member(info.filename)]
            self.ignored = len(members) - len(chosen)
            self.total = max(1, len(chosen))
            if not chosen:
                raise AnalysisError(f"{self.path}: holds no .cif among its {len(members)} members; allowed: {_ALLOWED}")
            for number, info in enumerate(chosen, start=1):
                with _caught() as problem, archive.open(info) as member:
                    # the size that is declared may be a lie: no more than this is decompressed
                    text = member.read(MAX_TEXT + 1).decode("utf-8-sig", errors="replace")
                    yield _cif_source(info.filename, text), number
                if problem:
                    yield Source(info.filename, "cif", "", ("unreadable", problem[0])), number

    # --- one file

    def _stream(self) -> Iterator[tuple[Source, int]]:
        readers = {"cif": _cif_stream, "xyz": _xyz_stream, "json": _json_stream}
        assert self.kind is not None
        raw = self.path.open("rb")
        with raw:
            try:
                for source in readers[self.kind](_text_of(raw, self.path)):
                    yield source, raw.tell() >> 20
            except _DAMAGED_STREAM as err:
                # gzip notices damage when it reaches it; what came before is whole
                yield Source("rest of the file", self.kind, "", ("unreadable", f"the file breaks off: {err}")), self.total


def _plain_name(name: str) -> str:
    return name.lower().removesuffix(".gz").removesuffix(".bz2")


def _is_cif_member(name: str) -> bool:
    base = name.replace("\\", "/").rpartition("/")[2]
    return base.lower().endswith(".cif") and not base.startswith("._")


def _cif_source(name: str, text: str) -> Source:
    if len(text) > MAX_TEXT:
        return Source(name, "cif", "", ("too_large", f"more than {MAX_TEXT} characters"))
    return Source(name, "cif", text)


@contextmanager
def _caught() -> Iterator[list[str]]:
    """Note what is wrong with one member, and go on."""
    problem: list[str] = []
    try:
        yield problem
    except _DAMAGED as err:
        problem.append(f"{type(err).__name__}: {err}")


def _text_of(raw: IO[bytes], path: Path) -> IO[str]:
    """Text of a file that may be compressed; bytes that are no UTF-8 are seen by the parsers as what they are not."""
    kind = path.suffix.lower()
    stream: Any = gzip.GzipFile(fileobj=raw) if kind == ".gz" else bz2.BZ2File(raw) if kind == ".bz2" else raw
    return io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace")


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    with path.open("rb") as raw:
        yield _text_of(raw, path)


def _lines(text: IO[str]) -> Iterator[str]:
    """Lines without their ends; one that is too long comes in pieces."""
    while line := text.readline(MAX_TEXT):
        yield line.rstrip("\r\n")


def _cif_stream(text: IO[str]) -> Iterator[Source]:
    for number, (name, block) in enumerate(cif_blocks(_cut_blocks(_lines(text))), start=1):
        yield _cif_source(name or str(number), block)


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
