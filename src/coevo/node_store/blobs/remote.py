"""Blobs on a file system of fsspec that is not a disk of this machine: S3, Google Cloud Storage, SFTP, memory.

Files go up and come down in parts, and are never whole in memory. Where an upload becomes visible only at its end (object
stores) it goes to its place at once; elsewhere it is written beside its place and moved there. What turns out not to be the blob
of its name never becomes visible.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from coevo.errors import ConfigError, StorageError
from coevo.node_store.durable import storage_errors, temporary_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from fsspec import AbstractFileSystem

    from coevo.node_store.blobs.hashing import Writable

PART = 16 << 20
"""Bytes sent or read at once; S3 takes at most 10,000 parts of 5 MB or more, so a blob can have 160 GB."""
_ATOMIC_PUT = {"memory", "s3", "s3a", "gs", "gcs", "abfs", "az"}
"""File systems where an upload becomes visible at its end; on others the blob is uploaded beside its place and moved."""
_BUCKETS = {"s3", "s3a", "gs", "gcs"}
"""File systems whose paths begin with a bucket, which coevo does not create."""
_CLIENT_ERRORS = (
    ("botocore.exceptions", "BotoCoreError"),
    ("botocore.exceptions", "ClientError"),
    ("aiohttp", "ClientError"),
    ("gcsfs.retry", "HttpError"),
    ("google.auth.exceptions", "GoogleAuthError"),
)


class RemoteBlobs:
    """The blobs under one URI.

    Parameters
    ----------
    uri : str
        As :class:`~coevo.node_store.blobs.artifacts.ArtifactStore` takes it.

    Attributes
    ----------
    root : str
        Where the blobs begin in the file system.

    Raises
    ------
    ConfigError
        If fsspec knows no such protocol, or its package is not installed.
    """

    def __init__(self, uri: str):
        self._given = uri
        self._filesystem, root = open_filesystem(uri)
        self._process = os.getpid()
        self.root = root.rstrip("/")
        protocol = uri.partition("://")[0].rpartition("::")[2]
        self._in_memory = protocol == "memory"
        self._atomic_put = protocol in _ATOMIC_PUT
        self._bucket = self.root.partition("/")[0] if protocol in _BUCKETS else None

    @property
    def filesystem(self) -> AbstractFileSystem:
        """The file system of fsspec; a forked process has one of its own, because connections do not survive a fork."""
        if self._process != os.getpid():
            self._filesystem, _ = open_filesystem(self._given)
            self._process = os.getpid()
        return self._filesystem

    @property
    def uri(self) -> str:
        """Where the blobs begin, as a URI."""
        return self.filesystem.unstrip_protocol(self.root)

    def where(self, sha256: str) -> str:
        """Return the URI of a blob, for messages."""
        return self.filesystem.unstrip_protocol(self._key(sha256))

    def _key(self, sha256: str) -> str:
        return f"{self.root}/{sha256[:2]}/{sha256[2:]}"

    # --- writing

    def put_bytes(self, sha256: str, data: bytes) -> None:
        """Write a blob, even when it is there: that refreshes its age and repairs it, and costs no read.

        Raises
        ------
        StorageError
            If it cannot be written; no half-written blob is visible.
        """
        with self._writing(sha256) as key:
            self.filesystem.pipe_file(key, data)

    def put(self, sha256: str, write: Callable[[Writable], object]) -> None:
        """Write a blob as :meth:`put_bytes` does, part by part.

        Parameters
        ----------
        sha256 : str
        write : callable
            Writes the bytes into the file that it is given. If it raises (they are not those of the name, or cannot be read),
            nothing becomes visible, and a blob that is there stays.

        Raises
        ------
        StorageError
            As :meth:`put_bytes`, and whatever ``write`` raises.
        """
        if self._in_memory:
            buffer = io.BytesIO()
            write(buffer)
            self.put_bytes(sha256, buffer.getvalue())
            return
        with self._writing(sha256) as key:
            file = self.filesystem.open(key, "wb", block_size=PART)
            try:
                write(file)
                file.close()
            except BaseException:
                self._give_up(file)
                raise

    def _give_up(self, file: Any) -> None:
        """Forget an upload; closing it, which happens at the latest when the object goes, would make it visible."""
        with suppress(OSError, *_client_errors()):
            if self._atomic_put:
                file.discard()
            else:
                file.close()
        if self._atomic_put:
            file.closed = True

    @contextmanager
    def _writing(self, sha256: str) -> Iterator[str]:
        """Yield the key to write to, and put what was written there in its place."""
        target = self._key(sha256)
        try:
            with self.errors("writing an artifact", self.where(sha256)):
                if self._atomic_put:
                    yield target
                    return
                folder = target.rpartition("/")[0]
                self.filesystem.makedirs(folder, exist_ok=True)
                key = f"{folder}/{temporary_name(sha256)}"
                try:
                    yield key
                    self.filesystem.mv(key, target)
                except BaseException:
                    with suppress(OSError, *_client_errors()):
                        self.filesystem.rm_file(key)
                    raise
        except FileNotFoundError as err:
            self.require_bucket()
            raise StorageError(f"writing an artifact failed at {self.where(sha256)}: {err}; check COEVO_ARTIFACTS") from err

    # --- reading

    def size(self, sha256: str) -> int | None:
        """Return the size of a blob in bytes, as it is now, or None if there is none.

        Raises
        ------
        StorageError
            If that cannot be known: no answer, no permission, no such bucket.
        """
        key = self._key(sha256)
        with self.errors("looking for an artifact", self.where(sha256)):
            self.filesystem.invalidate_cache(key)  # a listing that the client remembers says how it was
            try:
                found = self.filesystem.info(key)
            except FileNotFoundError:
                found = {}
        if found.get("type") == "file":
            return int(found["size"] or 0)
        self.require_bucket()
        return None

    def read(self, sha256: str) -> bytes:
        """Return the bytes of a blob, not verified.

        Raises
        ------
        FileNotFoundError
            If there is none.
        StorageError
            If it cannot be read.
        """
        try:
            with self.errors("reading an artifact", self.where(sha256)):
                return self.filesystem.cat_file(self._key(sha256))
        except FileNotFoundError:
            self.require_bucket()
            raise

    def parts(self, sha256: str) -> Iterator[bytes]:
        """Yield the bytes of a blob part by part, not verified; raises as :meth:`read`.

        Parts are read one by one rather than from an open file: an open file of S3 fails when the blob is put once more
        meanwhile, although its bytes are the same.
        """
        size = self.size(sha256)
        if size is None:
            raise FileNotFoundError(self.where(sha256))
        for start in range(0, size, PART):
            with self.errors("reading an artifact", self.where(sha256)):
                part = self.filesystem.cat_file(self._key(sha256), start=start, end=min(start + PART, size))
            yield part

    # --- errors

    def require_bucket(self) -> None:
        """Refuse a bucket that is not there: nothing that is looked for is, and that would look like an empty store.

        Raises
        ------
        StorageError
        """
        if self._bucket is None:
            return
        with self.errors("looking for a bucket", self.uri):
            try:
                self.filesystem.info(self._bucket)
            except FileNotFoundError:
                raise StorageError(
                    f"there is no bucket {self._bucket!r}, where COEVO_ARTIFACTS puts the artifacts ({self.uri}); create it, or "
                    "name another; nothing was written"
                ) from None
        self._bucket = None  # it is there: not asked for again

    @contextmanager
    def errors(self, doing: str, where: str) -> Iterator[None]:
        """Turn errors of the file system's client into a :class:`StorageError`; a missing file stays what it is."""
        try:
            yield
        except (StorageError, FileNotFoundError):
            raise
        except OSError as err:
            if err.errno in {errno.ENOSPC, errno.EDQUOT, errno.EROFS}:
                with storage_errors(doing, where):
                    raise
            raise _failed(doing, where, err.strerror or str(err) or type(err).__name__) from err
        except _client_errors() as err:
            raise _failed(doing, where, f"{type(err).__name__}: {err}") from err


def _failed(doing: str, where: str, reason: str) -> StorageError:
    return StorageError(
        f"{doing} failed at {where}: {reason.rstrip('.')}; check the network, the credentials and COEVO_ARTIFACTS"
    )


def open_filesystem(uri: str) -> tuple[AbstractFileSystem, str]:
    """Return the file system of a URI, and the path in it.

    Raises
    ------
    ConfigError
        If fsspec knows no such protocol, or its package is not installed.
    """
    import fsspec

    try:
        return fsspec.core.url_to_fs(uri)
    except (ImportError, ValueError) as err:
        raise ConfigError(
            f"the artifact store {uri} cannot be opened: {err}; use file://, s3:// (coevo[s3]) or gs:// (coevo[gs])"
        ) from err


def _client_errors() -> tuple[type[Exception], ...]:
    """Errors of the object-store clients that are not OSErrors, as far as those clients are loaded."""
    return tuple(getattr(sys.modules[module], name) for module, name in _CLIENT_ERRORS if module in sys.modules)
