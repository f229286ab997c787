"""Fetching checkpoints that a thin bundle left out, from the places that it names; only when the user asks for it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from coevo.errors import CheckpointError, CorruptArtifactError, StorageError
from coevo.node_store.trust.arrivals import note_arrived
from coevo.node_store.trust.loading import mark_fetched

if TYPE_CHECKING:
    from coevo.node_store.bundles.format import OmittedCheckpoint
    from coevo.node_store.store import NodeStore

PROTOCOLS = ("file", "local", "s3", "s3a", "gs", "gcs", "abfs", "az", "http", "https", "memory")
"""What a place may be. fsspec knows many more, and some of them open further places that a file there names."""

MAX_SIZE = 50_000_000_000
"""Bytes that are read of a checkpoint whose size its state does not say."""


def fetch_omitted(store: NodeStore, checkpoint: OmittedCheckpoint) -> None:
    """Copy a checkpoint from its URI into the artifact store; it is of elsewhere, as one that a bundle brings.

    Raises
    ------
    CheckpointError
        If it cannot be read there, or is not the checkpoint of that sha256.
    """
    sha256 = checkpoint.sha256
    if not store.artifacts.has(sha256):
        mark_fetched(store, checkpoint.model_dump(), f"it was fetched from {checkpoint.uri}")
        try:
            _copy(store, checkpoint)
        except (StorageError, CorruptArtifactError) as err:
            raise CheckpointError(f"checkpoint {sha256} cannot be fetched from {checkpoint.uri or 'nowhere'}: {err}") from None
    note_arrived(store, {sha256})


def _copy(store: NodeStore, checkpoint: OmittedCheckpoint) -> None:
    import fsspec
    from fsspec.utils import get_protocol

    uri = checkpoint.uri
    failed = f"checkpoint {checkpoint.sha256} cannot be fetched from {uri or 'nowhere'}"
    if not uri or "::" in uri or get_protocol(uri) not in PROTOCOLS:
        allowed = ", ".join(PROTOCOLS)
        raise CheckpointError(f"{failed}: allowed are URIs of {allowed}; ask whoever made the bundle for one with checkpoints")
    try:
        with fsspec.open(uri, "rb") as source:
            store.artifacts.put_stream(_Bounded(source, checkpoint), checkpoint.sha256)  # type: ignore[arg-type]
    except CheckpointError:
        raise
    except Exception as err:  # noqa: BLE001 - every file system of fsspec has errors of its own
        raise CheckpointError(f"{failed}: {type(err).__name__}: {err}") from None


class _Bounded:
    """A stream that is verified at its end, and read no further than its declared size."""

    def __init__(self, source: Any, checkpoint: OmittedCheckpoint):
        self._source = source
        self._checkpoint = checkpoint
        self._hasher = hashlib.sha256()
        self._size = 0

    def read(self, size: int) -> bytes:
        """Read at most so many bytes; none at the end."""
        data: bytes = self._source.read(size)
        self._hasher.update(data)
        self._size += len(data)
        declared, expected = self._checkpoint.size, self._checkpoint.sha256
        if self._size > (MAX_SIZE if declared is None else declared):
            raise CheckpointError(f"{self._checkpoint.uri} is not checkpoint {expected}: it has {self._size} bytes or more")
        if not data and self._hasher.hexdigest() != expected:
            raise CheckpointError(
                f"{self._checkpoint.uri} is not checkpoint {expected}: {self._size} bytes of sha256 {self._hasher.hexdigest()}"
            )
        return data
