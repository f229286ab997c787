"""Locks between processes that vanish with the process that holds them."""

from __future__ import annotations

import fcntl
import json
import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from coevo.node_store.durable import make_directory, replace_file, storage_errors
from coevo.node_store.runs import busy, this_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# POSIX record locks, not flock: a worker process that was forked off and outlives its killed parent does not keep them. They do
# not exclude threads of one process from each other, and closing any descriptor of the file drops them, hence the registry.
_held: dict[str, threading.Lock] = {}
_registry = threading.Lock()


def _forget_in_child() -> None:
    global _registry
    _held.clear()
    _registry = threading.Lock()


os.register_at_fork(after_in_child=_forget_in_child)


class LockedError(Exception):
    """Another process or thread holds the lock."""


@contextmanager
def file_lock(path: Path, *, wait: bool) -> Iterator[None]:
    """Hold a lock on a file; the kernel releases it when the process ends, however it ends.

    Raises
    ------
    LockedError
        If it is held elsewhere and ``wait`` is false.
    StorageError
        If the file cannot be created or locked.
    """
    with storage_errors("locking", path):
        make_directory(path.parent)
    with _registry:
        inside = _held.setdefault(str(path.resolve()), threading.Lock())
    if not inside.acquire(blocking=wait):
        raise LockedError
    try:
        with storage_errors("locking", path):
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            _lock(descriptor, path, wait=wait)
            yield
        finally:
            os.close(descriptor)
    finally:
        inside.release()


def _lock(descriptor: int, path: Path, *, wait: bool) -> None:
    with storage_errors("locking", path):
        try:
            fcntl.lockf(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            raise LockedError from None


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
