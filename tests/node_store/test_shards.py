"""Shards of records."""

from __future__ import annotations

import numpy as np
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from coevo.errors import ArtifactNotFoundError, CorruptArtifactError
from coevo.node_store.blobs.artifacts import ArtifactStore
from coevo.node_store.shards import read_shard, write_shard


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> ArtifactStore:
    return ArtifactStore(tmp_path_factory.mktemp("blobs").as_uri())


numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
records = st.lists(st.dictionaries(st.text(max_size=5), numbers | st.text(max_size=20)), max_size=8)


@settings(max_examples=40, deadline=None)
@given(records)
def test_records_read_back_in_order(store, rows):
    assert list(read_shard(store, write_shard(store, rows).sha256)) == rows


def test_the_same_records_are_the_same_artifact(store):
    rows = [{"a": np.float64(-0.0), "b": np.arange(3)}, {"text": "line\u2028 \r\n separators \x85 stay"}]
    first = write_shard(store, rows)
    assert write_shard(store, iter([{"b": [0, 1, 2], "a": 0.0}, rows[1]])) == first
    assert list(read_shard(store, first.sha256))[1] == rows[1]


def test_a_shard_is_an_ordinary_zst_file_of_json_lines(store):
    artifact = write_shard(store, [{"n": n} for n in range(1000)])
    data = store.get_bytes(artifact.sha256)
    assert zstandard.frame_content_size(data) > 1000
    assert zstandard.decompress(data).splitlines()[-1] == b'{"n":999}'
    assert artifact.size < 4000


def test_an_empty_shard_has_no_records(store):
    assert list(read_shard(store, write_shard(store, []).sha256)) == []


def test_what_is_no_shard_is_refused(store):
    with pytest.raises(CorruptArtifactError, match="cannot be decompressed"):
        read_shard(store, store.put_bytes(b"a checkpoint").sha256)
    with pytest.raises(CorruptArtifactError, match=r"line 1 of shard .* is not JSON"):
        list(read_shard(store, store.put_bytes(zstandard.compress(b"{broken")).sha256))
    with pytest.raises(ArtifactNotFoundError):
        read_shard(store, "0" * 64)


def test_a_record_without_a_canonical_form_stores_nothing(store):
    with pytest.raises(ValueError, match=r"^energy: nan"):
        write_shard(store, [{"energy": 1.0}, {"energy": float("nan")}])
