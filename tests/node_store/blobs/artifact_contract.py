"""What the artifact store must do on every file system: the suite that the tests of each subclass."""

from __future__ import annotations

import hashlib
import io
import os
import pickle

import pytest

from coevo.errors import ArtifactNotFoundError, CorruptArtifactError, StorageError
from coevo.node_store.blobs.artifacts import Artifact, ArtifactStore

DATA = b"weights" * 1000
SHA = hashlib.sha256(DATA).hexdigest()


class ArtifactContract:
    """Subclasses have a fixture ``store`` and know how to change the stored bytes."""

    def overwrite(self, store: ArtifactStore, sha256: str, data: bytes) -> None:
        raise NotImplementedError

    def test_bytes_read_back_under_their_hash(self, store):
        artifact = store.put_bytes(DATA)
        assert artifact == Artifact(SHA, len(DATA), store.uri_of(SHA))
        assert artifact.uri.endswith(f"/{SHA[:2]}/{SHA[2:]}")
        assert Artifact.from_dict(artifact.to_dict()) == artifact
        assert store.has(SHA)
        assert store.get_bytes(SHA) == DATA
        with store.open(SHA) as file:
            assert file.read(7) == b"weights"
        assert store.fetch(SHA).read_bytes() == DATA
        assert not store.fetch(SHA).stat().st_mode & 0o222

    @pytest.mark.parametrize("size", [0, 1, 3_000_000])
    def test_files_are_stored_as_their_bytes_are(self, store, tmp_path, size):
        data = os.urandom(size)
        (tmp_path / "file").write_bytes(data)
        assert store.put_file(tmp_path / "file") == store.put_bytes(data)
        assert store.get_bytes(hashlib.sha256(data).hexdigest()) == data

    def test_a_missing_blob_is_named(self, store):
        assert not store.has(SHA)
        for read in (store.get_bytes, store.open, store.fetch):
            with pytest.raises(ArtifactNotFoundError, match=f"artifact {SHA} is not in .*COEVO_ARTIFACTS"):
                read(SHA)

    @pytest.mark.parametrize("name", ["", "abc", "../" * 21 + "x", SHA.upper(), SHA + "0", None])
    def test_what_is_no_hash_names_no_blob(self, store, name):
        for read in (store.get_bytes, store.has, store.fetch):
            with pytest.raises(ArtifactNotFoundError, match="names no artifact"):
                read(name)

    @pytest.mark.parametrize("damaged", [b"", DATA[:-1], DATA[:-1] + b"S", DATA + b"!"])
    def test_damaged_bytes_are_never_returned_and_the_next_put_repairs_them(self, store, damaged, tmp_path):
        store.put_bytes(DATA)
        self.overwrite(store, SHA, damaged)
        found = hashlib.sha256(damaged).hexdigest()
        for read in (store.get_bytes, store.open, store.fetch):
            with pytest.raises(CorruptArtifactError, match=f"{SHA[2:]} is damaged: expected sha256 {SHA}, found {found}"):
                read(SHA)
        (tmp_path / "copy").write_bytes(DATA)
        store.put_file(tmp_path / "copy")
        assert store.get_bytes(SHA) == DATA
        self.overwrite(store, SHA, damaged)
        store.put_bytes(DATA)
        assert store.fetch(SHA).read_bytes() == DATA

    @pytest.mark.parametrize("size", [0, len(DATA), 20_000_000])
    def test_streams_are_stored_if_they_are_the_blob_of_the_name(self, store, size):
        data = (DATA * (size // len(DATA) + 1))[:size]
        sha256 = hashlib.sha256(data).hexdigest()
        with pytest.raises(CorruptArtifactError, match=f"expected sha256 {sha256}"):
            store.put_stream(io.BytesIO(data + b"!"), sha256)
        assert not store.has(sha256)
        assert store.put_stream(io.BytesIO(data), sha256) == store.put_bytes(data)
        assert store.check(sha256) == size
        if not store.directory:  # where it is there whole already, it is not read
            with pytest.raises(CorruptArtifactError):
                store.put_stream(io.BytesIO(data + b"!"), sha256)
        assert store.get_bytes(sha256) == data

    def test_a_missing_file_cannot_be_stored(self, store, tmp_path):
        with pytest.raises(StorageError, match=r"reading a file to store failed at .*nothing.pt: No such file"):
            store.put_file(tmp_path / "nothing.pt")

    def test_goes_to_another_process(self, store):
        store.put_bytes(DATA)
        assert pickle.loads(pickle.dumps(store)).get_bytes(SHA) == DATA
