"""A server that speaks MongoDB's protocol, to be killed and started again on the same files."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path


class OwnServer:
    """A SecantusDB process of our own.

    Parameters
    ----------
    directory : Path
        For its files and its log.
    """

    def __init__(self, directory: Path):
        self._directory = directory
        directory.mkdir(parents=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.uri = f"mongodb://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, unless it runs."""
        if self._process and self._process.poll() is None:
            return
        command = [str(Path(sys.executable).with_name("secantusd-py")), "--host", "127.0.0.1", "--port", str(self.port)]
        command += ["--storage-path", str(self._directory / "data"), "--cache-size", "256M"]
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self._directory)
        deadline = time.monotonic() + 180
        while time.monotonic() < deadline and self._process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise RuntimeError(f"the server does not start: {(self._directory / 'log').read_text()[-2000:]}")

    def kill(self) -> None:
        """SIGKILL, from whichever process."""
        assert self._process
        os.kill(self._process.pid, signal.SIGKILL)

    def wait(self) -> None:
        """Wait until it has ended."""
        assert self._process
        self._process.wait(timeout=600)
