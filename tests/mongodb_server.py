"""A server that speaks MongoDB's wire protocol, for integration tests: SecantusDB, as the local cluster starts it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from coevo.slurm.local_cluster.daemons import find_database, secantus_command
from coevo.slurm.local_cluster.files import free_ports
from coevo.slurm.local_cluster.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def mongodb_server(tmp_path_factory) -> Iterator[str]:
    """URI of a server that speaks MongoDB's protocol: COEVO_TEST_MONGODB, or a SecantusDB process of our own."""
    given = os.environ.get("COEVO_TEST_MONGODB")
    if given:
        yield given.rstrip("/")
        return
    folder = tmp_path_factory.mktemp("mongodb")
    for number in range(5):  # another process may take the port before the server does
        server, port = _start(folder / str(number))
        if _is_up(server, port):
            break
    else:
        pytest.fail(f"the MongoDB server does not start: {(folder / '4' / 'log').read_text()[-2000:]}")
    try:
        yield f"mongodb://127.0.0.1:{port}"
    finally:
        server.kill()  # it would write its data to the disk first, which nobody reads again
        server.wait()


def _start(folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    port = free_ports().database
    folder.mkdir()
    command = [*secantus_command(find_database()), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--storage-path", str(folder / "data"), "--cache-size", "512M"]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=folder), port


def _is_up(server: subprocess.Popen[bytes], port: int) -> bool:
    """Wait until the server listens, or has ended."""
    assert wait_until(lambda: server.poll() is not None or _listens(server.pid, port), 600), "the MongoDB server does not listen"
    return server.poll() is None


def _listens(pid: int, port: int) -> bool:
    """Whether this process, and no other one, listens on a port."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    sockets = {f"socket:[{fields[9]}]" for fields in lines if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port}
    with contextlib.suppress(OSError):  # ended, or a file was closed meanwhile
        return bool(sockets & {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()})
    return False


@pytest.fixture
def mongodb_uri(mongodb_server) -> Iterator[str]:
    """A database of its own on the server, dropped afterwards."""
    from pymongo import MongoClient

    name = f"coevo_test_{uuid.uuid4().hex[:12]}"
    yield f"{mongodb_server}/{name}"
    with MongoClient(mongodb_server) as client:
        client.drop_database(name)
