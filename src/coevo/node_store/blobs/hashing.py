"""The sha256 of files and streams, taken while they are read."""

from __future__ import annotations

import hashlib
from functools import partial
from typing import TYPE_CHECKING, Protocol

from coevo.errors import StorageError
from coevo.node_store.durable import storage_errors

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path
    from typing import BinaryIO

CHUNK = 1 << 20


class Writable(Protocol):
    """What bytes can be written to."""

    def write(self, data: bytes, /) -> int | None:
        """Write all bytes."""


def hash_file(path: Path) -> tuple[str, int]:
    """Return the sha256 and the size of a file."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
        return found, file.tell()


def chunks_of(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the bytes of a stream."""
    return iter(partial(stream.read, CHUNK), b"")


def copy_hashed(chunks: Iterable[bytes], file: Writable | None) -> tuple[str, int]:
    """Copy bytes to a file, if one is given, and return their sha256 and how many they are."""
    hasher, size = hashlib.sha256(), 0
    for chunk in chunks:
        hasher.update(chunk)
        size += len(chunk)
        if file is not None:
            file.write(chunk)
    return hasher.hexdigest(), size


def copy_unchanged(path: Path, file: Writable, sha256: str) -> None:
    """Copy a file whose hash is known; refuse it if it changed in between, or the copy would be born damaged.

    Raises
    ------
    StorageError
    """
    with storage_errors("reading a file to store", path):
        source = path.open("rb")
    with source:
        found, _ = copy_hashed(chunks_of(source), file)
    if found != sha256:
        raise StorageError(f"{path} changed while it was being stored; store it again when nothing writes to it")
