"""``coevo`` in processes forked from one that has imported what it needs: a command then starts in a fraction of a second.

Each command still has a process, a working directory, an environment and an exit code of its own; what it does not have is a
start of its own. Tests of starting, and those that follow a command while it runs, use processes that are started anew
(``Coevo.start``).

Run as a script, this file is the process that is forked from: it listens on the socket that it is given, one connection a
command. The test processes of a run (the workers of pytest-xdist) share it; it ends with the last of them.
"""

from __future__ import annotations

import array
import atexit
import contextlib
import gc
import importlib
import json
import os
import pkgutil
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from unflushed import leave_flushes_to_the_system

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_IMPORTED = (
    "torch",
    "torch._dynamo",  # which the first optimizer of a process imports
    "chgnet.model",
    "jobflow",
    "pymatgen.core",
    "pymatgen.analysis.phase_diagram",
    "pymatgen.symmetry.analyzer",
    "pymatgen.io.ase",
    "pyxtal",
    "ase.io",
    "scipy.optimize",
    "scipy.spatial",
    "typer",
    "pydantic_settings",
    "mongomock",
    "fsspec",
)
"""Packages of others; the modules of coevo come with them, but for what runs in other environments."""

_READ_AT_IMPORT = ("PYTHON", "LD_", "OMP_", "MKL_", "JOBFLOW", "ATOMATE2", "PMG_", "FW_", "MPL", "TORCH", "HOME", "XDG_")
"""How variables begin that the imported packages read: a command with others than the test process needs a start of its own."""


def _is_as_here(environment: Mapping[str, str]) -> bool:
    """Return whether a command with these variables may be forked from a process with those of the test process."""

    def read(variables: Mapping[str, str]) -> dict[str, str]:
        names = {name for name in variables if name.startswith(_READ_AT_IMPORT)} - {"PYTHONPATH"}
        return {name: variables[name] for name in names}

    return _can_wait() and read(environment) == read(os.environ)


def run_coevo(arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str], timeout: float) -> subprocess.CompletedProcess[str]:
    """Do what ``subprocess.run(["coevo", *arguments], capture_output=True, text=True, …)`` does.

    Raises
    ------
    subprocess.TimeoutExpired
        The command took longer and was killed.
    """
    if not _is_as_here(env):
        return subprocess.run(_command(arguments), cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout)
    return _forked(_listening(), arguments, cwd, env, timeout)


def write_program(path: Path) -> None:
    """Write an executable that shells may call as they call ``coevo``."""
    ask = f"from warm_processes import _ask; _ask({_listening()!r})"
    path.write_text(f"#!{sys.executable}\nimport sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n{ask}\n")
    path.chmod(0o755)


def _ask(address: str) -> None:
    done = _forked(address, sys.argv[1:], Path.cwd(), os.environ, 1800)
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    sys.exit(done.returncode)


def _command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "coevo.app.cli", *arguments]


def _forked(
    address: str, arguments: Sequence[str], cwd: Path, env: Mapping[str, str], timeout: float
) -> subprocess.CompletedProcess[str]:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        request = json.dumps({"arguments": list(arguments), "cwd": str(cwd), "environment": dict(env)}).encode()
        descriptors = array.array("i", [out.fileno(), err.fileno()])
        connection.sendmsg([len(request).to_bytes(8, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptors)])
        connection.sendall(request)
        connection.settimeout(timeout)
        try:
            answer = _received(connection, 4)
        except TimeoutError:
            raise subprocess.TimeoutExpired(_command(arguments), timeout) from None  # the closed connection ends it
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode())
    return subprocess.CompletedProcess(_command(arguments), int.from_bytes(answer, "big", signed=True), *texts)


@cache
def _listening() -> str:
    """Address of the process that is forked from, which the first test process that asks starts and the others use."""
    directory = Path(tempfile.gettempdir()) / f"warm-{os.environ.get('PYTEST_XDIST_TESTRUNUID', os.getpid())}-{os.getuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    address = str(directory / "socket")
    life = socket.socket(socket.AF_UNIX)
    with FileLock(directory / "lock"):
        try:
            life.connect(address)
        except OSError:  # nobody has started it, or those who needed it have ended
            Path(address).unlink(missing_ok=True)
            _start(address)
            life.connect(address)
    life.sendall(_LIFE)
    _kept.append(life)
    return address


def _start(address: str) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        command = [sys.executable, __file__, str(listener.fileno())]
        _kept.append(subprocess.Popen(command, pass_fds=[listener.fileno()], stdin=subprocess.DEVNULL, cwd="/"))


@cache
def _can_wait() -> bool:
    """Whether this system has descriptors of processes: Linux since 5.3."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


_kept: list[Any] = []
"""The process, and the connection that is closed when this test process ends."""
_LIFE = bytes(8)
"""What such a connection begins with, and a command's, the size of a request, never does."""


def _received(connection: socket.socket, size: int) -> bytes:
    parts = b""
    while len(parts) < size:
        part = connection.recv(size - len(parts))
        if not part:
            raise ConnectionError("the process that is forked from ended without an answer")
        parts += part
    return parts


def _serve(listener: socket.socket) -> None:
    """Answer until the last test process has ended; returns only in a process that is to be a command."""
    leave_flushes_to_the_system()
    for package in [*_IMPORTED, *_modules_of_coevo()]:
        importlib.import_module(package)
    _read_what_is_installed()
    _make_commands_once()
    # what is here now is shared by all commands and never collected: no command copies these pages
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    lives: list[socket.socket] = []
    while True:
        ready = select.select([listener, *lives], [], [])[0]
        for life in [life for life in lives if life in ready]:
            lives.remove(life)
            life.close()
        if listener in ready:
            connection, _ = listener.accept()
            if connection.recv(len(_LIFE), socket.MSG_PEEK) == _LIFE:
                connection.recv(len(_LIFE))
                lives.append(connection)
                continue
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                listener.close()
                _answer(connection)
                return
            connection.close()
        elif not lives:
            shutil.rmtree(Path(listener.getsockname()).parent, ignore_errors=True)
            os._exit(0)


def _read_what_is_installed() -> None:
    """What a process reads once, from files that no test changes: known phases with their space groups, published weights."""
    from coevo.configs.references import load_references
    from coevo.models.chgnet.weights import PUBLISHED, published_weights

    load_references("li-p-s", ["Li", "P", "S"])
    for name in PUBLISHED:
        published_weights(name)


def _make_commands_once() -> None:
    """Typer makes its commands anew, from the annotations of all functions, each time that it is called."""
    import typer.main

    from coevo.app.terminal import app

    typer.main.get_command = cache(typer.main.get_command)
    typer.main.get_command(app)


def _modules_of_coevo() -> list[str]:
    import coevo

    names = [module.name for module in pkgutil.walk_packages(coevo.__path__, "coevo.")]
    return [name for name in names if ".runners." not in name and not name.endswith("__main__")]


def _answer(connection: socket.socket) -> None:
    """Fork the command, which alone returns, and tell its exit code when it ends; kill it where the one who asked is gone."""
    size, ancillary, *_ = connection.recvmsg(8, socket.CMSG_SPACE(2 * 4))
    descriptors = array.array("i")
    descriptors.frombytes(ancillary[0][2])
    request = json.loads(_received(connection, int.from_bytes(size, "big")))
    command = os.fork()
    if command == 0:
        connection.close()
        _become(request, *descriptors)
        return
    ended = os.pidfd_open(command)
    if ended not in select.select([connection, ended], [], [])[0]:
        os.kill(command, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(command, 0)[1])
    with contextlib.suppress(BrokenPipeError):
        connection.sendall(code.to_bytes(4, "big", signed=True))
    os._exit(0)


def _become(request: dict[str, Any], out: int, err: int) -> None:
    """Take on what a process that is started as ``coevo`` has from its start."""
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.closerange(3, max(out, err) + 1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(request["cwd"])
    # what the path of this process has of its own goes, what that of the command has comes
    ours, theirs = (_entries(variables.get("PYTHONPATH", "")) for variables in (os.environ, request["environment"]))
    sys.path[:] = [request["cwd"], *theirs, *(place for place in sys.path[1:] if place not in ours)]
    os.environ.clear()
    os.environ.update(request["environment"])
    _make_consoles()
    sys.argv[:] = [str(Path(sys.executable).with_name("coevo")), *request["arguments"]]
    sys.orig_argv[:] = _command(request["arguments"])
    globals().pop("__file__")  # else worker processes of the command would run this file as its program
    for place in theirs:
        if (hook := Path(place) / "sitecustomize.py").is_file():
            runpy.run_path(str(hook))
            break


def _make_consoles() -> None:
    """Those of the command line, which take their width and colours from the environment when they are made."""
    from coevo.app import terminal

    vars(terminal.out).update(vars(terminal.PlainConsole()))
    vars(terminal.err).update(vars(terminal.PlainConsole(stderr=True)))


def _entries(paths: str) -> list[str]:
    return [os.path.abspath(path) for path in paths.split(os.pathsep) if path]  # noqa: PTH100


if __name__ == "__main__":
    _serve(socket.socket(fileno=int(sys.argv[1])))
    from coevo.app import cli

    code: Any = 0
    try:
        cli.main()
    except SystemExit as end:
        code = end.code
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
    # The end of an interpreter without its last step, which takes apart each of the packages and lasts a second.
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else int(code is not None))
