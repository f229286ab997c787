"""Shards: compressed lists of JSON records as artifacts; what jobs read and write instead of database documents."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import zstandard

from coevo.errors import CorruptArtifactError
from coevo.node_store.canonical import canonical_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from coevo.node_store.blobs.artifacts import Artifact, ArtifactStore

LEVEL = 6
"""Fixed, because the bytes of a shard are its name."""


def compress(data: bytes) -> bytes:
    """Compress to one zstandard frame with content size and checksum; equal input gives equal bytes for one zstd version."""
    return zstandard.ZstdCompressor(level=LEVEL, write_content_size=True, write_checksum=True, threads=0).compress(data)


def decompress(data: bytes, what: str) -> bytes:
    """Undo :func:`compress`.

    Raises
    ------
    CorruptArtifactError
        If the bytes are not a whole frame.
    """
    try:
        return zstandard.ZstdDecompressor().decompress(data, allow_extra_data=False)
    except zstandard.ZstdError as err:
        raise CorruptArtifactError(f"{what} cannot be decompressed: {err}; restore it from a copy") from err


def write_shard(store: ArtifactStore, records: Iterable[dict[str, Any]]) -> Artifact:
    """Store records as zstandard-compressed lines of canonical JSON; the same records give the same artifact.

    Raises
    ------
    ValueError
        If a record has no canonical form.
    StorageError
        If the artifact store cannot be written.
    """
    lines = io.BytesIO()
    for record in records:
        lines.write(canonical_json(record))
        lines.write(b"\n")
    return store.put_bytes(compress(lines.getvalue()))


def read_shard(store: ArtifactStore, sha256: str) -> Iterator[dict[str, Any]]:
    """Read the records of a shard, in the order in which they were written.

    The blob is verified before the first record is returned.

    Raises
    ------
    ArtifactNotFoundError, CorruptArtifactError, StorageError
        As :meth:`ArtifactStore.get_bytes`; also if the artifact is not a shard.
    """
    data = decompress(store.get_bytes(sha256), f"shard {sha256}")
    return _records(data, sha256)


def _records(data: bytes, sha256: str) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(data.splitlines(), start=1):
        try:
            yield json.loads(line)
        except ValueError as err:
            raise CorruptArtifactError(f"line {number} of shard {sha256} is not JSON: {err}; it is not a shard") from err
