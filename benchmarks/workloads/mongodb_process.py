"""The server for the MongoDB backend: the one that COEVO_TEST_MONGODB names, or a SecantusDB process of our own."""

from __future__ import annotations

import importlib.metadata
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True)
class Server:
    """A server.

    Attributes
    ----------
    uri : str
        Without a database.
    what : str
        For tables.
    pid : int or None
        Of a process of this machine, whose CPU time can be read.
    """

    uri: str
    what: str
    pid: int | None


@contextmanager
def mongodb_server(directory: Path) -> Iterator[Server]:
    """Run a server while the context is open; its files are in the directory."""
    given = os.environ.get("COEVO_TEST_MONGODB")
    if given:
        yield Server(given.rstrip("/"), "the server that COEVO_TEST_MONGODB names", None)
        return
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).with_name("secantusd-py")), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--storage-path", str(directory / "data"), "--cache-size", "1G"]
    log = directory / "log"
    with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=file, cwd=directory) as process:
        try:
            _wait_for(process, port, log)
            what = f"SecantusDB {importlib.metadata.version('SecantusDB')}, not mongod"
            yield Server(f"mongodb://127.0.0.1:{port}", what, process.pid)
        finally:
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError(f"the server does not listen: {log.read_text()[-2000:]}")
