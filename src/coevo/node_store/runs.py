"""One run at a time on a branch: who holds it, and the lock of a branch of an embedded node."""

from __future__ import annotations

import json
import os
import socket
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from coevo.errors import NodeBusyError
from coevo.node_store.canonical import digest
from coevo.node_store.directory.locks import LockedError, file_lock
from coevo.node_store.durable import replace_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def now() -> str:
    """Return the time as ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def campaign_id(node: str, branch: str, start: str | None, iterations: int, number: int) -> str:
    """Name a campaign; numbered, because it may start where an earlier one of the branch started and ended without a state."""
    return digest({"node": node, "branch": branch, "start": start, "iterations": iterations, "number": number})[:24]


def this_process() -> dict[str, Any]:
    """Describe this process as the holder of a lock: pid, host, since when."""
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": now()}


def busy(node: str, branch: str, holder: dict[str, Any]) -> NodeBusyError:
    """Make the error that names the process that holds a branch."""
    who = "another process"
    if holder:
        who = f"process {holder.get('pid')} on {holder.get('host')} since {holder.get('since')}"
    return NodeBusyError(
        f"branch {branch} of node {node} is being run by {who}; wait for it to end, or stop it, and run the same command again"
    )


@contextmanager
def embedded_run_lock(directory: Path, node: str, branch: str) -> Iterator[None]:
    """Hold a branch of an embedded node; the kernel frees it when this process ends, however it ends.

    Raises
    ------
    NodeBusyError
        If another process (or thread) holds it.
    """
    holder = directory / f"{branch}.json"
    lock = file_lock(directory / f".{branch}.lock", wait=False)
    try:
        lock.__enter__()
    except LockedError:
        raise busy(node, branch, _read_holder(holder)) from None
    with _closing(lock):
        replace_file(holder, json.dumps(this_process()).encode() + b"\n")
        try:
            yield
        finally:
            holder.unlink(missing_ok=True)


@contextmanager
def _closing(lock: Any) -> Iterator[None]:
    try:
        yield
    finally:
        lock.__exit__(None, None, None)


def _read_holder(path: Path) -> dict[str, Any]:
    """Read who holds the lock; it is for a message only, so a file that is just being written is no error."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
