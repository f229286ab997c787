"""The artifact store: immutable blobs, named by the sha256 of their bytes, on a local disk or in an object store."""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlsplit

from coevo.errors import ArtifactNotFoundError, ConfigError, CorruptArtifactError
from coevo.node_store.blobs.hashing import chunks_of, copy_hashed, copy_unchanged, hash_file
from coevo.node_store.blobs.remote import RemoteBlobs, open_filesystem
from coevo.node_store.durable import make_directory, storage_errors, sync_directory, temporary_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from contextlib import AbstractContextManager

    from fsspec import AbstractFileSystem

    from coevo.node_store.blobs.hashing import Writable

_SHA256 = re.compile(r"[0-9a-f]{64}")
_LOCAL = {"file", "local"}


@dataclass(frozen=True)
class Artifact:
    """A reference to a blob; this is what jobs pass to each other.

    Attributes
    ----------
    sha256 : str
        64 hexadecimal digits.
    size : int
        Bytes.
    uri : str
        Where it was written; a hint for readers, never part of an identity.
    """

    sha256: str
    size: int
    uri: str

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON dictionary."""
        return asdict(self)

    @classmethod
    def from_dict(cls, document: dict[str, Any]) -> Artifact:
        """Read what :meth:`to_dict` wrote; other keys are ignored."""
        return cls(sha256=str(document["sha256"]), size=int(document["size"]), uri=str(document["uri"]))


class ArtifactStore:
    """Content-addressed blobs under one URI, as ``sha256[:2]/sha256[2:]``.

    Every read is verified: a blob whose hash differs raises and its bytes are never returned.

    Parameters
    ----------
    uri : str
        ``file:///DIRECTORY``, a path, ``memory://NAME``, ``s3://BUCKET/PREFIX``, ``gs://BUCKET/PREFIX``, …
    cache : Path or None
        Where verified copies of remote blobs are kept; ``$XDG_CACHE_HOME/coevo/blobs`` by default.

    Raises
    ------
    ConfigError
        If fsspec knows no such protocol, its package is not installed, or the URI holds a password.
    """

    def __init__(self, uri: str, cache: Path | None = None):
        from fsspec.utils import get_protocol

        _refuse_password(uri)
        self._local: Path | None = None
        self._remote: RemoteBlobs | None = None
        if get_protocol(uri) in _LOCAL:
            self._local = Path(open_filesystem(uri)[1]).absolute()
            self.uri = f"file://{self._local}"
        else:
            self._remote = RemoteBlobs(uri)
            self.uri = self._remote.uri
        self._cache = cache

    def __repr__(self) -> str:
        return f"ArtifactStore({self.uri!r})"

    @property
    def directory(self) -> Path | None:
        """The directory of a store on a local disk; None for others."""
        return self._local

    @property
    def filesystem(self) -> AbstractFileSystem:
        """The file system of fsspec."""
        return self._remote.filesystem if self._remote else open_filesystem(self.uri)[0]

    @property
    def root(self) -> str:
        """Where the store begins in its file system."""
        return self._remote.root if self._remote else str(self._local)

    def __reduce__(self) -> tuple[type[ArtifactStore], tuple[str, Path | None]]:
        return type(self), (self.uri, self._cache)

    # --- writing

    def put_bytes(self, data: bytes) -> Artifact:
        """Store bytes; storing them again refreshes the blob's age and repairs a damaged one.

        Raises
        ------
        StorageError
            If they cannot be written; no half-written blob is left.
        """
        sha256 = hashlib.sha256(data).hexdigest()
        if self._remote:
            self._remote.put_bytes(sha256, data)
        else:
            self._put(sha256, lambda file: file.write(data))
        return self._artifact(sha256, len(data))

    def put_file(self, path: str | Path) -> Artifact:
        """Store the content of a file without reading it into memory at once; see :meth:`put_bytes`."""
        path = Path(path)
        with storage_errors("reading a file to store", path):
            sha256, size = hash_file(path)
        self._put(sha256, lambda file: copy_unchanged(path, file, sha256))
        return self._artifact(sha256, size)

    def put_stream(self, source: BinaryIO, sha256: str) -> Artifact:
        """Store what is read from a stream, if it is the blob of that name; see :meth:`put_bytes`.

        A blob that is there whole on a local disk is not read from the stream.

        Raises
        ------
        CorruptArtifactError
            If the stream has another hash; nothing is stored.
        """
        _check_name(sha256)
        self._put(sha256, lambda file: self._receive(sha256, chunks_of(source), file))
        return self._artifact(sha256, self._size(sha256))

    def _put(self, sha256: str, write: Callable[[Writable], object]) -> None:
        if self._remote:
            self._remote.put(sha256, write)
        elif not self._refresh(sha256):
            self._publish(sha256, write)

    def uri_of(self, sha256: str) -> str:
        """Return the URI at which a blob is, or would be."""
        _check_name(sha256)
        return f"{self.uri.rstrip('/')}/{sha256[:2]}/{sha256[2:]}"

    def _artifact(self, sha256: str, size: int) -> Artifact:
        return Artifact(sha256=sha256, size=size, uri=self.uri_of(sha256))

    def _refresh(self, sha256: str) -> bool:
        """Touch an existing local blob; False if there is none or it is damaged and must be written again."""
        path = self._path(sha256)
        with storage_errors("refreshing an artifact", path):
            try:
                os.utime(path)  # first: what is young is not collected as garbage, so it cannot vanish after it was found whole
                return hash_file(path)[0] == sha256
            except FileNotFoundError:
                return False

    def _size(self, sha256: str) -> int:
        if self._remote:
            size = self._remote.size(sha256)
            if size is None:
                raise self._missing(sha256)
            return size
        path = self._path(sha256)
        with storage_errors("looking at an artifact", path):
            return path.stat().st_size

    def _publish(self, sha256: str, write: Callable[[Writable], object]) -> None:
        path = self._path(sha256)
        with storage_errors("writing an artifact", path):
            make_directory(path.parent)
            temporary = path.parent / temporary_name(sha256)
            try:
                with temporary.open("xb") as file:
                    write(file)
                    file.flush()
                    os.fchmod(file.fileno(), 0o444)
                    os.fsync(file.fileno())
                temporary.replace(path)
            except BaseException:
                with suppress(OSError):
                    temporary.unlink()
                raise
            sync_directory(path.parent)

    # --- reading

    def has(self, sha256: str) -> bool:
        """Whether there is a blob of this name (its bytes are not read)."""
        _check_name(sha256)
        if self._remote:
            return self._remote.size(sha256) is not None
        path = self._path(sha256)
        with storage_errors("looking for an artifact", path):
            return path.is_file()

    def keep(self, sha256: str) -> bool:
        """Whether there is a blob of this name; on a local disk its age is refreshed, so that it is not collected as garbage."""
        if self._remote:
            return self.has(sha256)
        path = self._path(sha256)
        with storage_errors("refreshing an artifact", path):
            try:
                os.utime(path)
            except FileNotFoundError:
                return False
            except PermissionError:  # a blob of another user
                return path.is_file()
        return True

    def check(self, sha256: str) -> int:
        """Read a blob where it is stored, and return its size; no copy is made, and raises as :meth:`get_bytes`."""
        if self._remote:
            return self._download(sha256, None)
        return self.fetch(sha256).stat().st_size

    def get_bytes(self, sha256: str) -> bytes:
        """Return the bytes of a blob.

        Raises
        ------
        ArtifactNotFoundError
            If there is none.
        CorruptArtifactError
            If the stored bytes have another hash.
        StorageError
            If they cannot be read.
        """
        _check_name(sha256)
        try:
            if self._remote:
                data = self._remote.read(sha256)
            else:
                with _errors_but_missing("reading an artifact", self._path(sha256)):
                    data = self._path(sha256).read_bytes()
        except FileNotFoundError:
            raise self._missing(sha256) from None
        found = hashlib.sha256(data).hexdigest()
        if found != sha256:
            raise self._corrupt(sha256, found, len(data))
        return data

    def open(self, sha256: str) -> BinaryIO:
        """Open a blob for reading, after its bytes have been verified; raises as :meth:`get_bytes`."""
        path = self.fetch(sha256)
        with storage_errors("reading an artifact", path):
            return path.open("rb")

    def fetch(self, sha256: str) -> Path:
        """Return a local, verified, read-only file with the blob's bytes; raises as :meth:`get_bytes`.

        It is the blob itself in a local store, and a copy in the cache otherwise. It is not to be written or removed.
        """
        _check_name(sha256)
        if self._remote:
            cached = ArtifactStore(str(self._cache_directory()))
            path = cached._path(sha256)
            if not cached._refresh(sha256):
                cached._publish(sha256, lambda file: self._download(sha256, file))
            return path
        path = self._path(sha256)
        try:
            with _errors_but_missing("reading an artifact", path):
                found, size = hash_file(path)
        except FileNotFoundError:
            raise self._missing(sha256) from None
        if found != sha256:
            raise self._corrupt(sha256, found, size)
        return path

    def _download(self, sha256: str, file: Writable | None) -> int:
        _check_name(sha256)
        assert self._remote is not None
        try:
            return self._receive(sha256, self._remote.parts(sha256), file)
        except FileNotFoundError:
            raise self._missing(sha256) from None

    def _receive(self, sha256: str, chunks: Iterable[bytes], file: Writable | None) -> int:
        """Copy bytes and return how many they are; raises if their hash is not the one expected."""
        found, size = copy_hashed(chunks, file)
        if found != sha256:
            raise self._corrupt(sha256, found, size)
        return size

    # --- names and messages

    def _path(self, sha256: str) -> Path:
        assert self._local is not None
        _check_name(sha256)
        return self._local / sha256[:2] / sha256[2:]

    def _where(self, sha256: str) -> str:
        return self._remote.where(sha256) if self._remote else str(self._path(sha256))

    def _cache_directory(self) -> Path:
        if self._cache:
            return self._cache
        base = os.environ.get("XDG_CACHE_HOME")
        return (Path(base) if base else Path.home() / ".cache") / "coevo" / "blobs"

    def _missing(self, sha256: str) -> ArtifactNotFoundError:
        return ArtifactNotFoundError(
            f"artifact {sha256} is not in {self.uri}: it was never written there, or it was removed; "
            "check COEVO_ARTIFACTS, or copy the blob from another store"
        )

    def _corrupt(self, sha256: str, found: str, size: int) -> CorruptArtifactError:
        return CorruptArtifactError(
            f"artifact {self._where(sha256)} is damaged: expected sha256 {sha256}, found {found} ({size} bytes); "
            "restore it from a copy, or remove it and run the job that wrote it again"
        )

    def require_bucket(self) -> None:
        """Refuse a store in a bucket that is not there; without this it would look empty.

        Raises
        ------
        StorageError
        """
        if self._remote:
            self._remote.require_bucket()

    def client_errors(self, doing: str) -> AbstractContextManager[None]:
        """Turn errors of the file system's client into a :class:`StorageError`; a missing file stays what it is."""
        return self._remote.errors(doing, self.uri) if self._remote else _errors_but_missing(doing, self.uri)


@contextmanager
def _errors_but_missing(doing: str, where: object) -> Iterator[None]:
    """Like :func:`storage_errors`, but a missing file stays a :class:`FileNotFoundError`."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as err:
        with storage_errors(doing, where):
            raise err from None


def _refuse_password(uri: str) -> None:
    """Refuse a secret in a URI that is written into every document that names an artifact."""
    try:
        holds_one = urlsplit(uri).password is not None
    except ValueError:  # no URL in the strict sense: a path, or a bucket with brackets
        holds_one = False
    if holds_one:
        raise ConfigError(
            "the URI of the artifact store (COEVO_ARTIFACTS) holds a password, and documents repeat it; give the credentials to "
            "the client in its own way (for S3: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or ~/.aws), and leave them out there"
        )


def _check_name(sha256: str) -> None:
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise ArtifactNotFoundError(f"{sha256!r} names no artifact: expected a sha256, 64 lower-case hexadecimal digits")
