"""The artifact store on S3, through s3fs, over HTTP, against a server that speaks the protocol."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import subprocess
import sys
import time
import traceback
from datetime import timedelta

import pytest
import requests
from artifact_contract import DATA, SHA, ArtifactContract
from artifact_race import race
from fsspec import get_filesystem_class
from li_p_s_states import NODE, new_node
from upkeep_cases import VALID_CONFIG

from coevo.errors import StorageError
from coevo.node_store.blobs import remote
from coevo.node_store.blobs.artifacts import ArtifactStore
from coevo.node_store.blobs.stored import remove_blob, stored_blobs
from coevo.node_store.store import open_store
from coevo.node_store.upkeep.garbage import collect_garbage
from coevo.node_store.upkeep.verification import verify
from coevo.settings import Settings

pytestmark = pytest.mark.service

SMALL_PART = 5 << 20
"""The least that S3 takes as a part of several."""
LARGE = SMALL_PART + 1_000_000


@pytest.fixture(autouse=True)
def small_parts(monkeypatch) -> None:
    """In this process, files of some MB have several parts."""
    monkeypatch.setattr(remote, "PART", SMALL_PART)


@pytest.fixture
def uri(s3_bucket) -> str:
    return f"s3://{s3_bucket}/a/prefix"


@pytest.fixture
def store(uri, tmp_path) -> ArtifactStore:
    return ArtifactStore(uri, cache=tmp_path / "cache")


@pytest.fixture
def client(s3_environment):
    import boto3

    return boto3.client("s3")


def large_file(path, size=LARGE):
    """A file with content in every part, but few blocks on the disk."""
    with path.open("wb") as file:
        file.truncate(size)
        for start in range(0, size, 1 << 22):
            file.seek(start)
            file.write(hashlib.sha256(str(start).encode()).digest())
    return path


class TestS3Artifacts(ArtifactContract):
    @pytest.fixture
    def store(self, uri, tmp_path) -> ArtifactStore:
        return ArtifactStore(uri, cache=tmp_path / "cache")

    def overwrite(self, store, sha256, data):
        store.filesystem.pipe_file(f"{store.root}/{sha256[:2]}/{sha256[2:]}", data)


def test_a_blob_is_one_object(store, client, s3_bucket, uri):
    assert store.uri == uri
    assert store.put_bytes(DATA).uri == f"{uri}/{SHA[:2]}/{SHA[2:]}"
    store.put_bytes(DATA)
    found = client.list_objects_v2(Bucket=s3_bucket)["Contents"]
    assert [(item["Key"], item["Size"]) for item in found] == [(f"a/prefix/{SHA[:2]}/{SHA[2:]}", len(DATA))]


@pytest.mark.long
@pytest.mark.timing
def test_processes_put_and_read_the_same_blobs_at_once(uri, store, tmp_path):
    names = race(uri, tmp_path / "race", writers=3, readers=2, rounds=4, size=400_000)
    blobs = list(stored_blobs(store))
    assert len(blobs) == 4 + 3 * 4
    assert set(names) < {blob.sha256 for blob in blobs}


@pytest.mark.long
def test_a_large_blob_is_never_whole_in_memory(uri, client, s3_bucket, tmp_path):
    """200 MB up and down, in a process whose memory is measured, and whose parts are as large as they are."""
    part, size = 16 << 20, 200_000_000
    path = large_file(tmp_path / "checkpoint", size)
    script = """
import json, resource, sys
from pathlib import Path
from coevo.node_store.blobs.artifacts import ArtifactStore
store = ArtifactStore(sys.argv[1], cache=Path(sys.argv[3]))
store.get_bytes(store.put_bytes(b"everything is imported and connected").sha256)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
artifact = store.put_file(sys.argv[2])
up = peak() - before
with open(sys.argv[2], "rb") as source:
    assert store.put_stream(source, artifact.sha256) == artifact
assert store.check(artifact.sha256) == artifact.size
assert store.fetch(artifact.sha256).stat().st_size == artifact.size
print(json.dumps({"up": up, "all": peak() - before, "sha256": artifact.sha256}))
"""
    command = [sys.executable, "-c", script, uri, str(path), str(tmp_path / "cache")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    with path.open("rb") as file:
        assert found["sha256"] == hashlib.file_digest(file, "sha256").hexdigest()
    key = f"a/prefix/{found['sha256'][:2]}/{found['sha256'][2:]}"
    head = client.head_object(Bucket=s3_bucket, Key=key)
    assert head["ContentLength"] == size
    assert head["ETag"].strip('"').endswith(f"-{-(-size // part)}")  # of so many parts
    assert found["up"] < 6 * part
    assert found["all"] < 8 * part
    for file in (path, *(tmp_path / "cache").rglob("??" + "?" * 60)):
        file.unlink()


def test_a_file_that_changes_during_its_upload_becomes_no_blob_and_spoils_none(store, client, s3_bucket, tmp_path, monkeypatch):
    path = large_file(tmp_path / "weights")
    artifact = store.put_file(path)
    before = client.head_object(Bucket=s3_bucket, Key=artifact.uri.partition(f"{s3_bucket}/")[2])
    original = store.filesystem.open

    def change_it(*args, **kwargs):
        with path.open("r+b") as file:
            file.write(b"changed after it was hashed")
        return original(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(store.filesystem, "open", change_it, raising=False)
        # what was hashed are the bytes before the change
        with pytest.raises(StorageError, match="weights changed while it was being stored"):
            store.put_file(path)
    after = client.head_object(Bucket=s3_bucket, Key=artifact.uri.partition(f"{s3_bucket}/")[2])
    assert (after["ETag"], after["LastModified"]) == (before["ETag"], before["LastModified"])
    assert store.check(artifact.sha256) == LARGE
    assert len(list(stored_blobs(store))) == 1
    assert not client.list_multipart_uploads(Bucket=s3_bucket).get("Uploads")


def test_a_blob_can_be_read_while_it_is_put_again(store, client, s3_bucket, tmp_path, monkeypatch):
    """The second upload has one part and the first has two, so the object's tag changes between two reads of its parts."""
    path = large_file(tmp_path / "weights")
    artifact = store.put_file(path)
    key = artifact.uri.partition(f"{s3_bucket}/")[2]
    tags = {client.head_object(Bucket=s3_bucket, Key=key)["ETag"]}
    original = store.filesystem.cat_file

    def read_and_put_again(*args, **kwargs):
        part = original(*args, **kwargs)
        store.put_bytes(path.read_bytes())
        tags.add(client.head_object(Bucket=s3_bucket, Key=key)["ETag"])
        return part

    monkeypatch.setattr(store.filesystem, "cat_file", read_and_put_again, raising=False)
    assert store.check(artifact.sha256) == LARGE
    assert len(tags) == 2


def _put_elsewhere(uri: str, data: bytes) -> None:
    get_filesystem_class("s3").clear_instance_cache()
    ArtifactStore(uri).put_bytes(data)


def _remove_elsewhere(key: str) -> None:
    get_filesystem_class("s3").clear_instance_cache()
    get_filesystem_class("s3")().rm_file(key)


def _in_another_process(work, *arguments) -> None:
    child = multiprocessing.get_context("fork").Process(target=work, args=arguments)
    child.start()
    child.join(timeout=300)
    assert child.exitcode == 0


@pytest.mark.long
def test_a_listing_is_not_remembered(store, uri):
    """s3fs remembers listings; what another process put or removed since then is seen all the same."""
    store.put_bytes(b"first")
    assert len(list(stored_blobs(store))) == 1
    second = hashlib.sha256(b"second").hexdigest()
    _in_another_process(_put_elsewhere, uri, b"second")
    assert store.has(second)
    assert len(list(stored_blobs(store))) == 2
    _in_another_process(_remove_elsewhere, f"{store.root}/{second[:2]}/{second[2:]}")
    assert not store.has(second)
    assert not store.keep(second)


def _read_in_child(store: ArtifactStore, sha256: str, answers) -> None:
    answers.put(store.get_bytes(sha256))


def test_a_forked_process_uses_the_store_of_its_parent(store):
    store.put_bytes(DATA)
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    child = context.Process(target=_read_in_child, args=(store, SHA, answers))
    child.start()
    child.join(timeout=300)
    assert child.exitcode == 0
    assert answers.get() == DATA
    assert store.get_bytes(SHA) == DATA


# --- errors


def _calls(store: ArtifactStore, path):
    yield "writing an artifact", lambda: store.put_bytes(DATA)
    yield "writing an artifact", lambda: store.put_file(path)
    yield "reading an artifact", lambda: store.get_bytes(SHA)
    yield "looking for an artifact", lambda: store.has(SHA)
    yield "looking for an artifact", lambda: store.keep(SHA)
    yield "looking for an artifact", lambda: store.fetch(SHA)
    yield "looking for an artifact", lambda: store.check(SHA)
    yield "listing artifacts", lambda: list(stored_blobs(store))


def test_a_missing_bucket_is_said_whatever_is_asked(s3_environment, tmp_path):
    path = large_file(tmp_path / "weights")
    store = ArtifactStore("s3://no-such-bucket/x", cache=tmp_path / "cache")
    for _, call in _calls(store, path):
        with pytest.raises(StorageError, match=r"there is no bucket 'no-such-bucket'.*COEVO_ARTIFACTS.*; create it") as caught:
            call()
        assert "\n" not in str(caught.value)
    assert not list((tmp_path / "cache").rglob("?" * 62))


@pytest.fixture
def user(s3_server, s3_environment):
    """A user with rights on S3, on a server that asks for signatures until the end of the test."""
    import boto3

    iam = boto3.client("iam")
    iam.create_user(UserName="reader")
    rights = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:*"], "Resource": ["*"]}]}
    iam.put_user_policy(UserName="reader", PolicyName="all", PolicyDocument=json.dumps(rights))
    key = iam.create_access_key(UserName="reader")["AccessKey"]
    requests.post(f"{s3_server}/moto-api/reset-auth", data=b"0", timeout=300).raise_for_status()
    try:
        yield key["AccessKeyId"], key["SecretAccessKey"]
    finally:
        requests.post(f"{s3_server}/moto-api/reset-auth", data=b"inf", timeout=300).raise_for_status()
        iam.delete_access_key(UserName="reader", AccessKeyId=key["AccessKeyId"])
        iam.delete_user_policy(UserName="reader", PolicyName="all")
        iam.delete_user(UserName="reader")


@pytest.mark.long
def test_wrong_credentials_are_an_error_without_the_secret(s3_bucket, user, tmp_path, monkeypatch):
    path = large_file(tmp_path / "weights")

    def as_user(key: str, secret: str) -> ArtifactStore:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", secret)
        get_filesystem_class("s3").clear_instance_cache()
        return ArtifactStore(f"s3://{s3_bucket}/x", cache=tmp_path / "cache")

    right = as_user(*user)
    assert right.put_file(path).size == LARGE
    assert right.get_bytes(right.put_bytes(DATA).sha256) == DATA
    for key, secret, reason in ((user[0], "s3cret" * 6, "signature"), ("AKIANOBODY1234567890", "s3cret" * 6, "Access Key")):
        for doing, call in _calls(as_user(key, secret), path):
            with pytest.raises(
                StorageError, match=rf"^{doing} failed at s3://\S+: .*; check the network, the credentials"
            ) as caught:
                call()
            assert "\n" not in str(caught.value)
            if doing == "writing an artifact":
                assert reason in str(caught.value)
            assert "s3cret" not in "".join(traceback.format_exception(caught.value))


def test_no_server_is_an_error_that_says_where(s3_environment, monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    store = ArtifactStore("s3://bucket/x", cache=tmp_path / "cache")
    monkeypatch.setattr(type(store.filesystem), "retries", 1)
    for doing, call in _calls(store, large_file(tmp_path / "weights")):
        with pytest.raises(StorageError, match=rf"{doing} failed at s3://bucket/x.*Could not connect.*; check the network"):
            call()


# --- the store on S3


@pytest.mark.timing
def test_times_of_blobs_decide_what_is_collected(store):
    start = time.time()
    store.put_bytes(b"other")
    store.put_bytes(DATA)
    found = {blob.sha256: blob for blob in stored_blobs(store)}
    assert set(found) == {SHA, hashlib.sha256(b"other").hexdigest()}
    assert found[SHA].size == len(DATA)
    assert all(start - 1.1 <= blob.modified <= time.time() + 0.1 for blob in found.values())  # S3 knows seconds
    assert not remove_blob(store, SHA, start - 60)
    assert store.has(SHA)
    time.sleep(max(0.0, found[SHA].modified + 1.1 - time.time()))
    store.put_bytes(DATA)
    again = next(blob for blob in stored_blobs(store) if blob.sha256 == SHA)
    assert again.modified >= found[SHA].modified + 1
    assert not remove_blob(store, SHA, again.modified)
    assert remove_blob(store, SHA, again.modified + 1)
    assert not store.has(SHA)
    assert not remove_blob(store, SHA, again.modified + 1)


def test_a_node_with_artifacts_on_s3(uri, s3_environment, tmp_path):
    """Committed here, read in another process that finds the server in fsspec's own variable, verified, and collected."""
    settings = Settings(database=f"file:{tmp_path / 'data'}", artifacts=uri)
    store = open_store(settings)
    lineage = new_node(store)
    store.write_config_text(NODE, VALID_CONFIG)
    states = [lineage.commit(), lineage.commit()]
    store.artifacts.put_bytes(b"nobody wants it")
    assert not (tmp_path / "data" / "blobs").exists()
    assert store.state(NODE).document["checkpoints"]["force_field"]["uri"].startswith(uri)
    script = f"""
import json
from coevo.node_store.store import open_store
with open_store() as store:
    view = store.state({NODE!r})
    weights = store.artifacts.fetch(view.document["checkpoints"]["force_field"]["sha256"]).read_bytes()
    print(json.dumps([view.id, view.parent().id, view.manifest, len(list(view.labels())), weights.decode()]))
"""
    environment = {**os.environ, "COEVO_DATABASE": settings.database, "COEVO_ARTIFACTS": uri}
    environment["FSSPEC_S3_ENDPOINT_URL"] = environment.pop("AWS_ENDPOINT_URL")
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=300, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    manifest = store.state(NODE).manifest
    assert json.loads(done.stdout) == [states[1], states[0], manifest, 6, "weights 1000"]
    verified = verify(store, NODE)
    assert not verified.problems
    assert verified.counts["artifacts"] == 4
    garbage = collect_garbage(store, delete=True, older_than=timedelta(0), artifacts_not_shared=True)
    assert garbage.kinds["artifacts"].count == 1
    assert not verify(open_store(settings), NODE).problems
