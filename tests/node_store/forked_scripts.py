"""Scripts in processes forked from one that has imported what they need, so that each starts at once.

A script still has a process, standard streams and an exit code of its own; it may end itself by any signal.

Run as a script, this file is the process that is forked from: it takes requests from a socket that it is given, and ends with
the test process that started it.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import traceback
from functools import cache
from pathlib import Path
from typing import IO, Any

IMPORTED = (
    "coevo.node_store.directory.database",
    "coevo.node_store.mongodb.database",
    "coevo.node_store.store",
    "coevo.settings",
    "pydantic_settings",
    "pymatgen.core",
    "pymongo",
)


class ForkedScript:
    """What ``subprocess.Popen([python, "-c", script, *arguments], …, text=True)`` is, with pipes for all streams.

    Attributes
    ----------
    pid : int
    stdin, stdout, stderr : text file
    returncode : int or None
        Negative: the signal that ended it. None until :meth:`wait` or :meth:`communicate` returned.
    """

    def __init__(self, script: str, *arguments: str) -> None:
        pipes = [os.pipe() for _ in range(4)]
        theirs = [pipes[0][0], *(writing for _, writing in pipes[1:])]
        request = json.dumps({"script": script, "arguments": arguments, "environment": dict(os.environ)}).encode()
        socket.send_fds(_server(), [request], theirs)
        for descriptor in theirs:
            os.close(descriptor)
        self.stdin: IO[str] = os.fdopen(pipes[0][1], "w")
        self.stdout: IO[str] = os.fdopen(pipes[1][0])
        self.stderr: IO[str] = os.fdopen(pipes[2][0])
        self._told: IO[str] = os.fdopen(pipes[3][0])
        self.pid = int(self._told.readline())
        self.returncode: int | None = None

    def wait(self, timeout: float) -> int:
        """Wait until it ended; return its exit code."""
        if self.returncode is None:
            (line,) = _within(timeout, self._told.readline)
            self._told.close()
            self.returncode = int(line)
        return self.returncode

    def communicate(self, text: str = "", timeout: float = 300) -> tuple[str, str]:
        """Write the text and close its standard input; return what it wrote when it ended."""
        try:
            self.stdin.write(text)
            self.stdin.close()
        except BrokenPipeError:
            pass
        out, err = _within(timeout, self.stdout.read, self.stderr.read)
        self.wait(timeout)
        self.stdout.close()
        self.stderr.close()
        return out, err


def _within(timeout: float, *reads: Any) -> list[str]:
    """Do some reading at the same time."""
    found: dict[int, str] = {}

    def read(number: int) -> None:
        found[number] = reads[number]()

    threads = [threading.Thread(target=read, args=(number,), daemon=True) for number in range(len(reads))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout)
    if len(found) < len(reads):
        raise subprocess.TimeoutExpired("a script", timeout)
    return [found[number] for number in range(len(reads))]


@cache
def _server() -> socket.socket:
    """The way to the process that is forked from, which is started here."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        descriptor = theirs.fileno()
        _kept.append(
            subprocess.Popen([sys.executable, __file__, str(descriptor)], pass_fds=[descriptor], stdin=subprocess.DEVNULL)
        )
    return ours


_kept: list[subprocess.Popen[bytes]] = []


def _serve(requests: socket.socket) -> dict[str, Any]:
    """Fork at each request; returns only in a process that is to be a script."""
    sys.path.insert(1, str(Path(__file__).parents[1]))
    importlib.import_module("unflushed").leave_flushes_to_the_system()
    for module in IMPORTED:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        request, descriptors, *_ = socket.recv_fds(requests, 1 << 20, 4)
        if not request:  # the test process has ended
            os._exit(0)
        if os.fork() == 0:
            requests.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _become(*descriptors)
            found: dict[str, Any] = json.loads(request)
            return found
        for descriptor in descriptors:
            os.close(descriptor)


def _become(stdin: int, stdout: int, stderr: int, told: int) -> None:
    """Fork the script, which alone returns; tell its number, and its exit code when it ended."""
    script = os.fork()
    if script:
        for descriptor in (stdin, stdout, stderr):
            os.close(descriptor)
        os.write(told, f"{script}\n".encode())
        os.write(told, f"{os.waitstatus_to_exitcode(os.waitpid(script, 0)[1])}\n".encode())
        os._exit(0)
    os.close(told)
    for number, descriptor in enumerate((stdin, stdout, stderr)):
        os.dup2(descriptor, number)
        os.close(descriptor)
    signal.signal(signal.SIGINT, signal.default_int_handler)


if __name__ == "__main__":
    # the folder of this file is on the path as it is that of the script
    asked = _serve(socket.socket(fileno=int(sys.argv[1])))
    sys.argv[:] = ["-c", *asked["arguments"]]
    os.environ.clear()
    os.environ.update(asked["environment"])
    code: Any = 0
    try:
        exec(compile(asked["script"], "<script>", "exec"), {"__name__": "__main__"})
    except SystemExit as end:
        code = end.code or 0
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else 1)
