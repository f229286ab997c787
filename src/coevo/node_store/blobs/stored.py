"""The blobs of an artifact store as garbage collection sees them: which there are, how old they are, and removing old ones.

A put refreshes the age of a blob that is there already. On a local disk a blob that is refreshed while it is being removed
survives: it is moved aside, looked at again, and moved back. An object store has no such step: there, a put of the same bytes
within the moment between looking and removing would be lost, which only happens to a blob that nobody wanted for days before.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from coevo.errors import StorageError
from coevo.node_store.durable import storage_errors, sync_directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from coevo.node_store.blobs.artifacts import ArtifactStore


@dataclass
class Tally:
    """How many things of one kind, and their bytes."""

    count: int = 0
    bytes: int = 0

    def add(self, size: int) -> None:
        """Count one more thing of so many bytes."""
        self.count += 1
        self.bytes += size


ASIDE = ".tmp-gc-"
"""How the name of a blob begins that is being removed; a collection that is killed leaves at most one."""
_FOLDER, _NAME = re.compile(r"[0-9a-f]{2}"), re.compile(r"[0-9a-f]{62}")
_TIME_KEYS = ("LastModified", "mtime", "modified", "last_modified", "updated", "created")


class StoredBlob(NamedTuple):
    """A blob.

    Attributes
    ----------
    sha256 : str
    size : int
        Bytes.
    modified : float
        When it was last put, seconds since the epoch.
    """

    sha256: str
    size: int
    modified: float


def stored_blobs(store: ArtifactStore) -> Iterator[StoredBlob]:
    """Yield all blobs of a store; what is not named like one is left alone."""
    if store.directory is None:
        yield from _remote_blobs(store)
        return
    for path in _local_files(store.directory):
        if _NAME.fullmatch(path.name):
            with storage_errors("looking at an artifact", path):
                try:
                    status = path.stat()
                except FileNotFoundError:
                    continue
            yield StoredBlob(path.parent.name + path.name, status.st_size, status.st_mtime)


def remove_blob(store: ArtifactStore, sha256: str, before: float) -> bool:
    """Remove a blob, unless it was put after ``before``; False if it stays or is gone already."""
    if store.directory is None:
        return _remove_remote(store, sha256, before)
    path = store.directory / sha256[:2] / sha256[2:]
    aside = path.with_name(f"{ASIDE}{sha256}")
    with storage_errors("removing an artifact", path):
        try:
            if path.stat().st_mtime >= before:
                return False
            path.rename(aside)
        except FileNotFoundError:
            return False
        return not _put_back(aside, path, before)


def blob_leftovers(store: ArtifactStore, before: float, *, delete: bool) -> Tally:
    """Find half-written blobs older than ``before``, and what a killed collection left; remove them if wanted."""
    found = Tally()
    if store.directory is None:
        return found  # uploads become visible at their end, or are moved there: see ArtifactStore
    for path in _local_files(store.directory):
        if not path.name.startswith(".tmp-"):
            continue
        with storage_errors("removing a temporary file", path):
            try:
                status = path.stat()
                if path.name.startswith(ASIDE):
                    if delete and _put_back(path, path.with_name(path.name.removeprefix(ASIDE)[2:]), before):
                        continue
                elif status.st_mtime >= before:
                    continue
                elif delete:
                    path.unlink()
            except FileNotFoundError:
                continue
        found.add(status.st_size)
    return found


def _put_back(aside: Path, path: Path, before: float) -> bool:
    """Decide about a blob that was moved aside: back if it was put in between (True), else away with it."""
    young = aside.stat().st_mtime >= before
    if young:
        with suppress(FileExistsError):  # it was written again, which is as good
            os.link(aside, path)
        sync_directory(path.parent)
    aside.unlink(missing_ok=True)
    return young


def _local_files(directory: Path) -> Iterator[Path]:
    with storage_errors("listing artifacts", directory):
        folders = sorted(directory.iterdir()) if directory.is_dir() else []
    for folder in folders:
        if _FOLDER.fullmatch(folder.name):
            with storage_errors("listing artifacts", folder):
                yield from sorted(folder.iterdir())


def _remote_blobs(store: ArtifactStore) -> Iterator[StoredBlob]:
    with store.client_errors("listing artifacts"):
        store.filesystem.invalidate_cache()
        try:
            found = store.filesystem.find(store.root, detail=True)
        except FileNotFoundError:
            found = {}
    if not found:
        store.require_bucket()
    for key, info in sorted(found.items()):
        folder, _, name = key.rpartition("/")
        if _NAME.fullmatch(name) and _FOLDER.fullmatch(folder.rpartition("/")[2]):
            yield StoredBlob(folder[-2:] + name, int(info.get("size") or 0), _modified(key, info))


def _modified(key: str, info: dict[str, Any]) -> float:
    for name in _TIME_KEYS:
        value = info.get(name)
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        if isinstance(value, datetime):
            return value.replace(tzinfo=value.tzinfo or UTC).timestamp()
        if isinstance(value, (int, float)):
            return float(value)
    raise StorageError(
        f"the artifact store does not say when {key} was written ({', '.join(sorted(info))}), so nothing can be collected there; "
        "remove what is not needed by the store's own lifecycle rules"
    )


def _remove_remote(store: ArtifactStore, sha256: str, before: float) -> bool:
    key = f"{store.root}/{sha256[:2]}/{sha256[2:]}"
    with store.client_errors("removing an artifact"):
        store.filesystem.invalidate_cache()
        try:
            if _modified(key, store.filesystem.info(key)) >= before:
                return False
            store.filesystem.rm_file(key)
        except FileNotFoundError:
            return False
    return True
