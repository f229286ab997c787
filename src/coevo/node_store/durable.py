"""Files that survive a crash: everything is written beside its place, flushed to disk and moved there by one rename."""

from __future__ import annotations

import errno
import json
import os
import secrets
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from coevo.errors import CorruptArtifactError, StorageError
from coevo.node_store.canonical import digest, plain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_REMEDIES = {
    errno.ENOSPC: "free some space, or point COEVO_DATABASE (COEVO_ARTIFACTS) at another disk, and run the same command again",
    errno.EDQUOT: "your quota is used up: free some space there, and run the same command again",
    errno.EROFS: "the file system is mounted read-only: point COEVO_DATABASE (COEVO_ARTIFACTS) at a place that can be written",
    errno.EACCES: "give this user write permission there, or point COEVO_DATABASE (COEVO_ARTIFACTS) at another place",
    errno.EPERM: "give this user write permission there, or point COEVO_DATABASE (COEVO_ARTIFACTS) at another place",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
}


@contextmanager
def storage_errors(doing: str, where: object) -> Iterator[None]:
    """Turn an :class:`OSError` into a :class:`StorageError` that says what was done, where, and what to do about it."""
    try:
        yield
    except StorageError:
        raise
    except OSError as err:
        reason = err.strerror or str(err) or type(err).__name__
        remedy = _REMEDIES.get(err.errno or 0, "check the disk and the path; what was stored before is untouched")
        raise StorageError(f"{doing} failed at {where}: {reason}; {remedy}") from err


def sync_directory(path: Path) -> None:
    """Flush a directory, so that the names in it survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: Path) -> None:
    """Create a directory and its parents, each flushed into its parent."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for directory in reversed(missing):
        directory.mkdir(exist_ok=True)
        sync_directory(directory.parent)


def temporary_name(stem: str) -> str:
    """Name a file that is still being written; names starting with ``.tmp-`` are never read."""
    return f".tmp-{stem[:40]}-{os.getpid()}-{secrets.token_hex(4)}"


def write_synced(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a new file and flush it; nothing is left of it if that fails."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
    except BaseException:
        with suppress(OSError):
            path.unlink()
        raise


def replace_file(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write or overwrite a file as one step: a reader sees the old bytes or the new ones."""
    with storage_errors("writing", path):
        make_directory(path.parent)
        temporary = path.parent / temporary_name(path.name)
        write_synced(temporary, data, mode)
        try:
            temporary.replace(path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        sync_directory(path.parent)


def create_file(path: Path, data: bytes, mode: int = 0o644) -> bool:
    """Write a file unless it is there already; one of several writers wins. Return whether this one did."""
    with storage_errors("writing", path):
        make_directory(path.parent)
        temporary = path.parent / temporary_name(path.name)
        write_synced(temporary, data, mode)
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        finally:
            with suppress(OSError):
                temporary.unlink()
        sync_directory(path.parent)
        return True


def seal(document: dict[str, Any]) -> bytes:
    """Write a document as readable JSON together with the sha256 of its canonical form."""
    content = plain(document)
    sealed = {"sha256": digest(content), "document": content}
    return json.dumps(sealed, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def read_sealed(path: Path, what: str) -> dict[str, Any]:
    """Read a document written by :func:`seal`.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    StorageError
        If it cannot be read.
    CorruptArtifactError
        If the document is not the one that was written.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as err:
        raise StorageError(f"reading {what} failed at {path}: {err.strerror or err}; check the disk and the permissions") from err
    try:
        sealed = json.loads(raw)
        expected, document = sealed["sha256"], sealed["document"]
        found = digest(document)
    except (ValueError, KeyError, TypeError):
        raise CorruptArtifactError(
            f"{what} at {path} is damaged: {len(raw)} bytes that are not a sealed JSON document; restore the file from a copy"
        ) from None
    if found != expected:
        raise CorruptArtifactError(
            f"{what} at {path} is damaged: expected sha256 {expected}, found {found}; restore the file from a copy"
        )
    return document
