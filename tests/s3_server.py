"""A server that speaks the protocol of S3 (moto's, in a process of its own), for integration tests."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "testing"}


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory) -> Iterator[str]:
    """URL of a server of our own; it is skipped (in CI: failed) where moto or s3fs is not installed."""
    missing = [name for name in ("moto", "flask_cors", "s3fs") if importlib.util.find_spec(name) is None]
    if missing:
        reason = f"no {', '.join(missing)} here, so S3 is not tested; pip install 'coevo[test]' brings it"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("s3")
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    # large objects are files in its temporary directory
    environment = {**os.environ, **CREDENTIALS, "TMPDIR": str(folder)}
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log, env=environment) as server:
        try:
            _wait_for(server, port, folder / "log")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            try:
                server.wait(timeout=10)
            except subprocess.TimeoutExpired:
                server.kill()
    shutil.rmtree(folder, ignore_errors=True)


def _wait_for(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        if server.poll() is not None:
            pytest.fail(f"the S3 server ended with code {server.returncode}: {log.read_text()[-2000:]}")
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.fail(f"the S3 server does not listen: {log.read_text()[-2000:]}")


@pytest.fixture
def s3_environment(s3_server, monkeypatch) -> Iterator[dict[str, str]]:
    """The variables that lead to the server, set, and nothing of the user's own."""
    from fsspec import get_filesystem_class

    for name in [name for name in os.environ if name.startswith(("AWS_", "FSSPEC_S3"))]:
        monkeypatch.delenv(name)
    nowhere = {"AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "AWS_EC2_METADATA_DISABLED": "true"}
    place = {"AWS_ENDPOINT_URL": s3_server, "AWS_DEFAULT_REGION": "us-east-1", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    variables = {**CREDENTIALS, **nowhere, **place}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    filesystem = get_filesystem_class("s3")
    filesystem.clear_instance_cache()
    yield variables
    filesystem.clear_instance_cache()


@pytest.fixture
def s3_bucket(s3_environment) -> Iterator[str]:
    """The name of a bucket of its own, removed afterwards with all that is in it."""
    import boto3

    name = f"coevo-{uuid.uuid4().hex[:12]}"
    bucket = boto3.resource("s3").Bucket(name)
    bucket.create()
    yield name
    bucket.objects.delete()
    bucket.delete()
