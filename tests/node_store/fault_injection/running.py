"""Starting the driver of one operation and one fault in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

NODE_STORE_TESTS = Path(__file__).resolve().parents[1]
NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")
TMPFS = "6m"


def inject(
    directory: Path, server: str | None, operation: str, fault: str, *, limit: int, broken: bool = False, timeout: float = 3000
) -> dict[str, Any]:
    """Put a fault into an operation at many points; return how many, and the harm.

    Parameters
    ----------
    directory : Path
        Empty; the database of an embedded backend and all artifacts are made there.
    server : str or None
        ``mongodb://HOST:PORT``, or None for the embedded backend.
    operation : str
        A key of :data:`fault_injection.operations.OPERATIONS`.
    fault : {"kill", "dropped connection", "server dies", "full disk"}
        The server that dies is a process of its own, whatever ``server`` says.
    limit : int
        Faults at most; fewer than possible are spread evenly.
    broken : bool
        Break the order of a commit on purpose, to see that the counters see it.
    """
    directory.mkdir(parents=True, exist_ok=True)
    request: dict[str, Any] = {"directory": str(directory), "server": server, "operation": operation, "fault": fault}
    request |= {"limit": limit, "broken": broken}
    command = [sys.executable, "-m", "fault_injection.driver"]
    if fault == "full disk":
        request["mount"] = TMPFS
        command = [*NAMESPACE, *command]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(
        # the modules that the tests of the store share
        [str(NODE_STORE_TESTS), str(NODE_STORE_TESTS / "upkeep"), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    for name in [name for name in environment if name.startswith("COEVO_")]:
        del environment[name]
    done = subprocess.run(
        [*command, json.dumps(request)], capture_output=True, text=True, env=environment, timeout=timeout, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{fault} in {operation}: {done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def may_mount(directory: Path) -> bool:
    """Whether this kernel lets a user mount a file system of his own."""
    command = [*NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", str(directory)]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False
