"""Segments: documents of one state on disk, compressed in frames so that a single one is read without the rest.

``NAME.jsonl.zst`` is a row of zstandard frames (together an ordinary .zst file) of canonical JSON lines; ``NAME.index.zst`` holds
the ids in order and place and sha256 of each frame. The state's own file holds the sha256 of the index, so that every byte
is covered and nothing damaged is ever returned.
"""

from __future__ import annotations

import hashlib
import json
import os
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Self

from coevo.errors import CorruptArtifactError
from coevo.node_store.canonical import canonical_json, read_plain
from coevo.node_store.durable import storage_errors, write_synced
from coevo.node_store.shards import compress, decompress

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from coevo.node_store.prepared_documents import Line

FRAME = 128
"""Documents in a frame: small enough to read for one document, large enough to compress well."""


class SegmentWriter:
    """Write documents as a segment; :meth:`close` flushes it.

    Parameters
    ----------
    directory : Path
    name : str
    """

    def __init__(self, directory: Path, name: str):
        self._index_path = directory / f"{name}.index.zst"
        self._file = (directory / f"{name}.jsonl.zst").open("xb")
        self._ids: list[str] = []
        self._frames: list[dict[str, Any]] = []
        self._lines: list[bytes] = []
        self._offset = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def add(self, identifier: str, text: bytes) -> None:
        """Add a document of canonical JSON."""
        self._ids.append(identifier)
        self._lines.append(text)
        if len(self._lines) == FRAME:
            self._end_frame()

    def _end_frame(self) -> None:
        data = compress(b"\n".join([*self._lines, b""]))
        sha256 = hashlib.sha256(data).hexdigest()
        self._frames.append({"offset": self._offset, "size": len(data), "count": len(self._lines), "sha256": sha256})
        self._file.write(data)
        self._offset += len(data)
        self._lines = []

    def close(self) -> dict[str, Any]:
        """Write what is left, and the index.

        Returns
        -------
        dict
            ``count``, ``size`` (bytes) and ``index`` (sha256), to be kept and handed to :class:`Segment`.
        """
        if self._lines:
            self._end_frame()
        with self._file as file:
            file.flush()
            os.fsync(file.fileno())
        index = compress(canonical_json({"ids": self._ids, "frames": self._frames}))
        write_synced(self._index_path, index)
        return {"count": len(self._ids), "size": self._offset, "index": hashlib.sha256(index).hexdigest()}


def write_segment(directory: Path, name: str, lines: Iterable[Line]) -> dict[str, Any]:
    """Write documents as a segment and flush it; returns what :meth:`SegmentWriter.close` does."""
    with SegmentWriter(directory, name) as segment:
        for identifier, text in lines:
            segment.add(identifier, text)
        return segment.close()


class Segment:
    """A segment that was written before; everything read from it is verified.

    Parameters
    ----------
    directory : Path
    name : str
    summary : dict
        What :meth:`SegmentWriter.close` returned.
    """

    def __init__(self, directory: Path, name: str, summary: dict[str, Any]):
        self.path = directory / f"{name}.jsonl.zst"
        self._index_path = directory / f"{name}.index.zst"
        self._summary = summary
        self._frame = lru_cache(maxsize=8)(self._read_frame)

    def __len__(self) -> int:
        return int(self._summary["count"])

    @cached_property
    def _index(self) -> dict[str, Any]:
        with storage_errors("reading a segment", self._index_path):
            data = self._index_path.read_bytes()
        found = hashlib.sha256(data).hexdigest()
        if found != self._summary["index"]:
            raise self._corrupt(self._index_path, "", f"sha256 {self._summary['index']}", f"sha256 {found}")
        return json.loads(decompress(data, str(self._index_path)))

    @cached_property
    def _places(self) -> dict[str, tuple[int, int]]:
        places, row = {}, 0
        for number, frame in enumerate(self._index["frames"]):
            for line in range(frame["count"]):
                places[self._index["ids"][row]] = (number, line)
                row += 1
        return places

    def __contains__(self, identifier: str) -> bool:
        return len(self) > 0 and identifier in self._places

    def ids(self) -> list[str]:
        """Return the ids of all documents, in stored order."""
        return list(self._index["ids"])

    def check(self, *, quick: bool = False) -> None:
        """Compare every byte on disk with its hash, also of a segment without documents; ``quick`` compares the sizes only.

        Raises
        ------
        CorruptArtifactError
            If the bytes on disk are not those that were written.
        """
        frames, ids = self._index["frames"], self._index["ids"]
        size = sum(frame["size"] for frame in frames)
        with storage_errors("reading a segment", self.path):
            found = self.path.stat().st_size
        if not len(ids) == sum(frame["count"] for frame in frames) == len(self) or size != self._summary["size"]:
            raise self._corrupt(self._index_path, "", f"an index of {len(self)} documents", f"{len(ids)}")
        if found != size:
            raise self._corrupt(self.path, "", f"{size} bytes", f"{found} bytes")
        for number in range(0 if quick else len(frames)):
            self._frame_bytes(number)

    def get(self, identifier: str) -> dict[str, Any] | None:
        """Return one document, or None if it is not in this segment.

        Raises
        ------
        CorruptArtifactError
            If the bytes on disk are not those that were written.
        """
        text = self.get_text(identifier)
        return None if text is None else read_plain(text)

    def get_text(self, identifier: str) -> bytes | None:
        """Return one document as canonical JSON, as :meth:`get`."""
        if identifier not in self:
            return None
        number, line = self._places[identifier]
        return self._frame(number)[line]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (read_plain(text) for _, text in self.texts())

    def texts(self) -> Iterator[tuple[str, bytes]]:
        """Yield ids and documents as canonical JSON."""
        ids = iter(self._index["ids"] if len(self) else ())
        for number in range(len(self._index["frames"]) if len(self) else 0):
            # texts first: at the end of a frame no id is taken, and the ids go on in the next one
            yield from ((identifier, text) for text, identifier in zip(self._read_frame(number), ids, strict=False))

    def _read_frame(self, number: int) -> list[bytes]:
        return decompress(self._frame_bytes(number), str(self.path)).splitlines()

    def _frame_bytes(self, number: int) -> bytes:
        frame = self._index["frames"][number]
        with storage_errors("reading a segment", self.path), self.path.open("rb") as file:
            file.seek(frame["offset"])
            data = file.read(frame["size"])
        found = hashlib.sha256(data).hexdigest()
        if found != frame["sha256"]:
            where = f" (frame {number}: {len(data)} of {frame['size']} bytes at offset {frame['offset']})"
            raise self._corrupt(self.path, where, f"sha256 {frame['sha256']}", f"sha256 {found}")
        return data

    @staticmethod
    def _corrupt(path: Path, where: str, expected: str, found: str) -> CorruptArtifactError:
        return CorruptArtifactError(
            f"segment {path}{where} is damaged: expected {expected}, found {found}; restore the file from a copy, "
            "or remove the state's directory and run the campaign again, which rebuilds it"
        )
