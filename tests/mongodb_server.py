"""A server that speaks MongoDB's wire protocol, for integration tests.

SecantusDB 0.7.0b3 applies each ``$inc`` once, but of concurrent ``find_one_and_update`` calls several may return one document
(3,200 calls of four processes: 1,890 different ones). FireWorks draws the ids of launches so; workers that ask in the same
millisecond can share one. mongod does not do that.
"""

from __future__ import annotations

import os
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


@pytest.fixture(scope="session")
def mongodb_server(tmp_path_factory) -> Iterator[str]:
    """URI of a server that speaks MongoDB's protocol: COEVO_TEST_MONGODB, or a SecantusDB process of our own."""
    given = os.environ.get("COEVO_TEST_MONGODB")
    if given:
        yield given.rstrip("/")
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("mongodb")
    command = [str(Path(sys.executable).with_name("secantusd-py")), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--storage-path", str(folder / "data"), "--cache-size", "512M"]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log, cwd=folder) as server:
        try:
            _wait_for(server, port, folder / "log")
            yield f"mongodb://127.0.0.1:{port}"
        finally:
            server.kill()  # it would write its data to the disk first, which nobody reads again


def _wait_for(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        if server.poll() is not None:
            pytest.fail(f"the MongoDB server ended with code {server.returncode}: {log.read_text()[-2000:]}")
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    pytest.fail(f"the MongoDB server does not listen: {log.read_text()[-2000:]}")


@pytest.fixture
def mongodb_uri(mongodb_server) -> Iterator[str]:
    """A database of its own on the server, dropped afterwards."""
    from pymongo import MongoClient

    name = f"coevo_test_{uuid.uuid4().hex[:12]}"
    yield f"{mongodb_server}/{name}"
    with MongoClient(mongodb_server) as client:
        client.drop_database(name)
