"""The artifact store: immutable blobs, named by the sha256 of their bytes, on a local disk or in an object store."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import tempfile
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from coevo.errors import ArtifactNotFoundError, ConfigError, CorruptArtifactError, StorageError
from coevo.node_store.durable import make_directory, storage_errors, sync_directory, temporary_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from fsspec import AbstractFileSystem

CHUNK = 1 << 20
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LOCAL = {"file", "local"}
_ATOMIC_PUT = {"memory", "s3", "s3a", "gs", "gcs", "abfs", "az"}
"""File systems where an upload becomes visible at its end; on others the blob is uploaded beside its place and moved."""


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
        If fsspec knows no such protocol, or its package is not installed.
    """

    def __init__(self, uri: str, cache: Path | None = None):
        import fsspec
        from fsspec.utils import get_protocol

        protocol = get_protocol(uri)
        try:
            filesystem, root = fsspec.core.url_to_fs(uri)
        except (ImportError, ValueError) as err:
            raise ConfigError(
                f"the artifact store {uri} cannot be opened: {err}; use file://, s3:// (coevo[s3]) or gs:// (coevo[gs])"
            ) from err
        self._fs: AbstractFileSystem = filesystem
        self._local = Path(root).absolute() if protocol in _LOCAL else None
        self._root = str(self._local) if self._local else root.rstrip("/")
        self._atomic_put = protocol in _ATOMIC_PUT
        self._cache = cache
        self.uri = f"file://{self._local}" if self._local else self._fs.unstrip_protocol(self._root)

    def __repr__(self) -> str:
        return f"ArtifactStore({self.uri!r})"

    @property
    def directory(self) -> Path | None:
        """The directory of a store on a local disk; None for others."""
        return self._local

    @property
    def filesystem(self) -> AbstractFileSystem:
        """The file system of fsspec."""
        return self._fs

    @property
    def root(self) -> str:
        """Where the store begins in its file system."""
        return self._root

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
        if self._local:
            if not self._refresh(sha256):
                self._publish(sha256, lambda file: file.write(data))
        else:
            self._upload(sha256, data)
        return self._artifact(sha256, len(data))

    def put_file(self, path: str | Path) -> Artifact:
        """Store the content of a file without reading it into memory at once; see :meth:`put_bytes`."""
        path = Path(path)
        with storage_errors("reading a file to store", path):
            sha256, size = _hash_file(path)
        if self._local:
            if not self._refresh(sha256):
                self._publish(sha256, lambda file: _copy_verified(path, file, sha256))
        else:
            self._upload(sha256, path)
        return self._artifact(sha256, size)

    def put_stream(self, source: BinaryIO, sha256: str) -> Artifact:
        """Store what is read from a stream, if it is the blob of that name; see :meth:`put_bytes`.

        A blob that is there whole is not read from the stream.

        Raises
        ------
        CorruptArtifactError
            If the stream has another hash; nothing is stored.
        """
        path = self._path(sha256) if self._local else None
        if path is not None:
            if not self._refresh(sha256):
                self._publish(sha256, lambda file: self._receive(sha256, source, file))
            with storage_errors("looking at an artifact", path):
                return self._artifact(sha256, path.stat().st_size)
        _check_name(sha256)
        with tempfile.NamedTemporaryFile(prefix="coevo-") as file:
            with storage_errors("writing a temporary file", file.name):
                size = self._receive(sha256, source, file)
                file.flush()
            self._upload(sha256, Path(file.name))
        return self._artifact(sha256, size)

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
                return _hash_file(path)[0] == sha256
            except FileNotFoundError:
                return False

    def _publish(self, sha256: str, write: Any) -> None:
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

    def _upload(self, sha256: str, source: bytes | Path) -> None:
        """Upload always, even when the blob is there: that refreshes its age and repairs it, and costs no read."""
        target = self._key(sha256)
        with self._remote_errors("writing an artifact", sha256):
            key = target
            if not self._atomic_put:
                folder = target.rsplit("/", 1)[0]
                self._fs.makedirs(folder, exist_ok=True)
                key = f"{folder}/{temporary_name(sha256)}"
            if isinstance(source, bytes):
                self._fs.pipe_file(key, source)
            else:
                self._fs.put_file(str(source), key)
                if _hash_file(source)[0] != sha256:
                    self._fs.rm_file(key)
                    raise _changed(source)
            if key != target:
                self._fs.mv(key, target)

    # --- reading

    def has(self, sha256: str) -> bool:
        """Whether there is a blob of this name (its bytes are not read)."""
        if self._local:
            path = self._path(sha256)
            with storage_errors("looking for an artifact", path):
                return path.is_file()
        with self._remote_errors("looking for an artifact", sha256):
            return bool(self._fs.isfile(self._key(sha256)))

    def keep(self, sha256: str) -> bool:
        """Whether there is a blob of this name; on a local disk its age is refreshed, so that it is not collected as garbage."""
        if not self._local:
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
        if self._local:
            return self.fetch(sha256).stat().st_size
        with Path(os.devnull).open("wb") as nowhere:
            return self._download(sha256, nowhere)

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
        where = self._where(sha256)
        try:
            if self._local:
                with storage_errors_but_missing("reading an artifact", where):
                    data = self._path(sha256).read_bytes()
            else:
                with self._remote_errors("reading an artifact", sha256):
                    data = self._fs.cat_file(self._key(sha256))
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
        if self._local:
            path = self._path(sha256)
            try:
                with storage_errors_but_missing("reading an artifact", path):
                    found, size = _hash_file(path)
            except FileNotFoundError:
                raise self._missing(sha256) from None
            if found != sha256:
                raise self._corrupt(sha256, found, size)
            return path
        cached = ArtifactStore(str(self._cache_directory()))
        path = cached._path(sha256)
        if not cached._refresh(sha256):
            cached._publish(sha256, lambda file: self._download(sha256, file))
        return path

    def _download(self, sha256: str, file: BinaryIO) -> int:
        try:
            with self._remote_errors("reading an artifact", sha256), self._fs.open(self._key(sha256), "rb") as source:
                return self._receive(sha256, source, file)
        except FileNotFoundError:
            raise self._missing(sha256) from None

    def _receive(self, sha256: str, source: BinaryIO, file: Any) -> int:
        """Copy a stream and return its size; raises if its hash is not the one expected."""
        hasher, size = hashlib.sha256(), 0
        while chunk := source.read(CHUNK):
            hasher.update(chunk)
            size += len(chunk)
            file.write(chunk)
        if hasher.hexdigest() != sha256:
            raise self._corrupt(sha256, hasher.hexdigest(), size)
        return size

    # --- names and messages

    def _path(self, sha256: str) -> Path:
        assert self._local is not None
        _check_name(sha256)
        return self._local / sha256[:2] / sha256[2:]

    def _key(self, sha256: str) -> str:
        _check_name(sha256)
        return f"{self._root}/{sha256[:2]}/{sha256[2:]}"

    def _where(self, sha256: str) -> str:
        return str(self._path(sha256)) if self._local else self._fs.unstrip_protocol(self._key(sha256))

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

    def _remote_errors(self, doing: str, sha256: str) -> AbstractContextManager[None]:
        return self.client_errors(doing, self._where(sha256))

    @contextmanager
    def client_errors(self, doing: str, where: str = "") -> Iterator[None]:
        """Turn errors of the file system's client into a :class:`StorageError`; a missing file stays what it is."""
        where = where or self.uri
        try:
            with storage_errors_but_missing(doing, where):
                yield
        except _client_errors() as err:
            raise StorageError(
                f"{doing} failed at {where}: {type(err).__name__}: {err}; check the network, the credentials and COEVO_ARTIFACTS"
            ) from err


@contextmanager
def storage_errors_but_missing(doing: str, where: object) -> Iterator[None]:
    """Like :func:`storage_errors`, but a missing file stays a :class:`FileNotFoundError`."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as err:
        with storage_errors(doing, where):
            raise err from None


def _client_errors() -> tuple[type[Exception], ...]:
    """Errors of the object-store clients that are not OSErrors, as far as those clients are loaded."""
    found: list[type[Exception]] = []
    for module, name in (("botocore.exceptions", "BotoCoreError"), ("aiohttp", "ClientError")):
        if module in sys.modules:
            found.append(getattr(sys.modules[module], name))
    return tuple(found)


def _check_name(sha256: str) -> None:
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise ArtifactNotFoundError(f"{sha256!r} names no artifact: expected a sha256, 64 lower-case hexadecimal digits")


def _hash_file(path: Path) -> tuple[str, int]:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
        return found, file.tell()


def _copy_verified(path: Path, file: BinaryIO, sha256: str) -> None:
    """Copy a file whose hash is known; refuse it if it changed in between, or the blob would be born damaged."""
    hasher = hashlib.sha256()

    class _Tee:
        def write(self, chunk: bytes) -> int:
            hasher.update(chunk)
            return file.write(chunk)

    with path.open("rb") as source:
        shutil.copyfileobj(source, _Tee(), CHUNK)
    if hasher.hexdigest() != sha256:
        raise _changed(path)


def _changed(path: Path) -> StorageError:
    return StorageError(f"{path} changed while it was being stored; store it again when nothing writes to it")
