"""The artifact store on a local disk and on a remote file system (fsspec's memory and a non-atomic one)."""

from __future__ import annotations

import os
import stat
import uuid

import fsspec
import pytest
from artifact_contract import DATA, SHA, ArtifactContract
from artifact_race import race
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

from coevo.errors import ConfigError, CorruptArtifactError, StorageError
from coevo.node_store.blobs.artifacts import ArtifactStore


class TestLocalArtifacts(ArtifactContract):
    @pytest.fixture
    def store(self, tmp_path) -> ArtifactStore:
        return ArtifactStore(f"file://{tmp_path}/blöbs 1%20")

    def overwrite(self, store, sha256, data):
        path = store._path(sha256)
        path.chmod(0o644)
        path.write_bytes(data)

    def test_a_blob_is_a_read_only_file_that_is_not_copied(self, store, tmp_path):
        store.put_bytes(DATA)
        path = store.fetch(SHA)
        assert path == tmp_path / "blöbs 1%20" / SHA[:2] / SHA[2:]
        assert stat.S_IMODE(path.stat().st_mode) == 0o444

    def test_storing_again_refreshes_the_age_and_keeps_the_file(self, store):
        store.put_bytes(DATA)
        path = store.fetch(SHA)
        os.utime(path, (1, 1))
        inode = path.stat().st_ino
        store.put_bytes(DATA)
        assert path.stat().st_mtime > 1_000_000
        assert path.stat().st_ino == inode

    def test_no_space_leaves_no_half_written_blob(self, store, monkeypatch):
        def full(descriptor):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", lambda descriptor: None)
            store.put_bytes(b"first")  # the directories are there
            patched.setattr(os, "fsync", full)
            with pytest.raises(StorageError, match=r"writing an artifact failed at .*: No space left on device; free some space"):
                store.put_bytes(DATA)
        assert not store.has(SHA)
        assert len([path for path in store._local.rglob("*") if path.is_file()]) == 1

    def test_a_file_that_changes_while_it_is_stored_is_refused(self, store, tmp_path, monkeypatch):
        source = tmp_path / "growing.log"
        source.write_bytes(DATA)
        original = store._refresh

        def grow(sha256):
            source.write_bytes(DATA + b"more")
            return original(sha256)

        monkeypatch.setattr(store, "_refresh", grow)
        with pytest.raises(StorageError, match=r"growing\.log changed while it was being stored"):
            store.put_file(source)
        assert not [path for path in store._local.rglob("*") if path.is_file()]

    @pytest.mark.timing
    def test_processes_put_and_read_the_same_blobs_at_once(self, tmp_path):
        folder = tmp_path / "blobs"
        names = race(folder.as_uri(), tmp_path / "race", writers=4, readers=3, rounds=8, size=300_000)
        files = [path for path in folder.rglob("*") if path.is_file()]
        assert len(files) == 8 + 4 * 8
        assert {path.parent.name + path.name for path in files} > set(names)
        assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o444}

    def test_a_plain_path_is_a_local_store(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        store = ArtifactStore("some/blobs")
        assert store.uri == f"file://{tmp_path}/some/blobs"
        store.put_bytes(DATA)
        assert ArtifactStore(store.uri).get_bytes(SHA) == DATA


class TestMemoryArtifacts(ArtifactContract):
    @pytest.fixture
    def store(self, tmp_path) -> ArtifactStore:
        return ArtifactStore(f"memory://{uuid.uuid4().hex}/blobs", cache=tmp_path / "cache")

    def overwrite(self, store, sha256, data):
        store.filesystem.pipe_file(f"{store.root}/{sha256[:2]}/{sha256[2:]}", data)

    def test_a_copy_is_cached_and_verified(self, store, tmp_path):
        store.put_bytes(DATA)
        path = store.fetch(SHA)
        assert path.is_relative_to(tmp_path / "cache")
        self.overwrite(store, SHA, b"gone bad")
        assert store.fetch(SHA).read_bytes() == DATA, "the cached copy is good"
        path.chmod(0o644)
        path.write_bytes(b"gone bad too")
        with pytest.raises(CorruptArtifactError):
            store.fetch(SHA)
        store.put_bytes(DATA)
        assert store.fetch(SHA).read_bytes() == DATA

    def test_the_cache_of_the_user_is_the_default(self, tmp_path):
        store = ArtifactStore(f"memory://{uuid.uuid4().hex}")
        store.put_bytes(DATA)
        assert store.fetch(SHA).is_relative_to(tmp_path / "cache" / "coevo" / "blobs")

    def test_an_error_of_the_client_says_where(self, store, monkeypatch):
        def refused(*args, **kwargs):
            raise PermissionError("Access Denied")

        monkeypatch.setattr(store.filesystem, "pipe_file", refused, raising=False)
        with pytest.raises(StorageError, match=r"writing an artifact failed at memory://.*: Access Denied"):
            store.put_bytes(DATA)


class SlowFileSystem(DirFileSystem):
    """A remote file system without atomic uploads, such as SFTP: a local directory behind another protocol."""

    protocol = "slowtest"
    cachable = False

    def __init__(self, **kwargs):
        super().__init__(path=os.environ["SLOWTEST_ROOT"], fs=LocalFileSystem(), **kwargs)


class TestNonAtomicArtifacts(ArtifactContract):
    @pytest.fixture
    def store(self, tmp_path, monkeypatch) -> ArtifactStore:
        monkeypatch.setenv("SLOWTEST_ROOT", str(tmp_path / "remote"))
        fsspec.register_implementation("slowtest", SlowFileSystem, clobber=True)
        return ArtifactStore("slowtest://blobs", cache=tmp_path / "cache")

    def overwrite(self, store, sha256, data):
        store.filesystem.pipe_file(f"{store.root}/{sha256[:2]}/{sha256[2:]}", data)

    def test_nothing_is_left_beside_the_blobs(self, store, tmp_path):
        store.put_bytes(DATA)
        assert [path.name for path in (tmp_path / "remote").rglob("*") if path.is_file()] == [SHA[2:]]

    def test_nothing_is_left_of_an_upload_that_fails(self, store, tmp_path, monkeypatch):
        def lost(*args, **kwargs):
            raise ConnectionResetError("the connection was lost")

        (tmp_path / "file").write_bytes(DATA)
        monkeypatch.setattr(SlowFileSystem, "mv", lost)
        for put in (lambda: store.put_bytes(DATA), lambda: store.put_file(tmp_path / "file")):
            with pytest.raises(
                StorageError, match=r"writing an artifact failed at .*: the connection was lost; check the network"
            ):
                put()
        assert not [path for path in (tmp_path / "remote").rglob("*") if path.is_file()]


@pytest.mark.parametrize("uri", ["nosuch://bucket/x", "s3://bucket/x"])
def test_a_protocol_that_cannot_be_opened_says_what_to_install(uri):
    try:
        import s3fs  # noqa: F401
    except ImportError:
        pass
    else:
        uri = "nosuch://bucket/x"
    with pytest.raises(ConfigError, match=r"cannot be opened: .*use file://, s3:// \(coevo\[s3\]\)"):
        ArtifactStore(uri)


def test_a_password_in_the_uri_is_refused_and_not_repeated():
    with pytest.raises(ConfigError, match="holds a password") as caught:
        ArtifactStore("s3://AKIA:s3cret@bucket/x")
    assert "s3cret" not in str(caught.value)
