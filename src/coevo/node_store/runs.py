"""One run at a time on a branch: who holds it, and the lock of a branch of an embedded node."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime
from typing import Any

from coevo.errors import NodeBusyError
from coevo.node_store.canonical import digest


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
