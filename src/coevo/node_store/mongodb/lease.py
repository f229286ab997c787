"""The run lock of a branch on a MongoDB server: a lease that its holder renews, and that ends with the holder."""

from __future__ import annotations

import os
import socket
import threading
import uuid
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from coevo.errors import StorageError
from coevo.node_store.runs import busy, this_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from pymongo.collection import Collection

LEASE = timedelta(seconds=90)
"""A holder that has not renewed for so long is gone (with its machine, or cut off)."""

HEARTBEAT = 20.0
"""Seconds between renewals."""


def process_identity(pid: int | None = None) -> str | None:
    """Name a process beyond its pid: pid, start time and pid namespace of this boot; None if there is no such process."""
    pid = pid or os.getpid()
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        namespace = Path("/proc/self/ns/pid").readlink()
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return None
    state, started = fields[0], fields[19]
    return None if state in {"Z", "X"} else f"{boot}/{namespace}/{pid}/{started}"


def _is_dead_here(holder: dict[str, Any]) -> bool:
    """Whether the holder was a process of this very machine and is gone; False when that cannot be known from here."""
    mine, identity = process_identity(), holder.get("identity")
    if not mine or not identity or holder.get("host") != socket.gethostname():
        return False
    same_kernel = mine.split("/")[:2] == str(identity).split("/")[:2]
    return same_kernel and process_identity(int(holder["pid"])) != identity


@contextmanager
def mongodb_run_lock(
    locks: Collection[dict[str, Any]], node: str, branch: str, errors: Callable[[str], AbstractContextManager[None]]
) -> Iterator[None]:
    """Hold a branch; the lease is renewed by a thread until the end of the block.

    Raises
    ------
    NodeBusyError
        If another process holds it and may be alive.
    StorageError
        If the server cannot be reached.
    """
    owner = uuid.uuid4().hex
    identifier = f"run:{node}@{branch}"
    with errors("locking a branch"):
        _acquire(locks, identifier, (node, branch), owner)
    stop = threading.Event()
    thread = threading.Thread(
        target=_renew, args=(locks, identifier, owner, stop, errors), name=f"lease-{node}@{branch}", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(timeout=HEARTBEAT)
        # a lease that cannot be given back runs out by itself
        with suppress(StorageError), errors("unlocking a branch"):
            locks.delete_one({"_id": identifier, "owner": owner})


def _server_time(locks: Collection[dict[str, Any]]) -> datetime:
    """Time by the server's clock, so that clocks of machines need not agree."""
    found = locks.database.command("hello").get("localTime")
    return found.replace(tzinfo=None) if isinstance(found, datetime) else datetime.now(UTC).replace(tzinfo=None)


def _acquire(locks: Collection[dict[str, Any]], identifier: str, place: tuple[str, str], owner: str) -> None:
    from pymongo.errors import DuplicateKeyError

    lease = {"_id": identifier, "owner": owner, **this_process(), "identity": process_identity()}
    lease["expires"] = _server_time(locks) + LEASE
    for _ in range(3):  # at most: insert, take over from the dead, insert after a release in between
        try:
            locks.insert_one(dict(lease))
        except DuplicateKeyError:
            held = locks.find_one({"_id": identifier})
            if held is None:
                continue
            if held["expires"] > _server_time(locks) and not _is_dead_here(held):
                raise busy(*place, held) from None
            if locks.find_one_and_replace({"_id": identifier, "owner": held["owner"], "expires": held["expires"]}, lease):
                return
        else:
            return
    raise busy(*place, locks.find_one({"_id": identifier}) or {})


def _renew(
    locks: Collection[dict[str, Any]],
    identifier: str,
    owner: str,
    stop: threading.Event,
    errors: Callable[[str], AbstractContextManager[None]],
) -> None:
    while not stop.wait(HEARTBEAT):
        # one lost renewal is no loss: the lease outlasts several
        with suppress(StorageError), errors("renewing a lock"):
            locks.update_one({"_id": identifier, "owner": owner}, {"$set": {"expires": _server_time(locks) + LEASE}})
