"""The faults: SIGKILL before a call that changes something, a dropped connection, a server that dies, a disk that is full."""

from __future__ import annotations

import os
import signal
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

OS_CALLS = ("fsync", "replace", "rename", "link", "mkdir", "fchmod", "unlink", "utime", "rmdir")
"""Calls of the operating system that change what is on disk (bytes reach it at the fsync)."""
DRIVER_CALLS = (
    "insert_one",
    "insert_many",
    "update_one",
    "update_many",
    "replace_one",
    "find_one_and_update",
    "bulk_write",
    "delete_one",
    "delete_many",
)
"""Writes of the driver."""
WRITE_COMMANDS = (b"insert", b"update", b"delete", b"findAndModify")
OP_MSG = 2013


class Calls:
    """Counts calls that change something, and does something before the one of a given number.

    Parameters
    ----------
    point : int or None
        Number of the call, from 1; None only counts.
    fault : callable
    """

    def __init__(self, point: int | None, fault: Callable[[], None]):
        self.count = 0
        self._point = point
        self._fault = fault

    def _watch(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            if self.count == self._point:
                self._fault()
            return original(*args, **kwargs)

        return call

    def watch(self, *, system: bool, driver: bool) -> None:
        """Patch this process for good: it is a child that ends soon."""
        if system:
            for name in OS_CALLS:
                setattr(os, name, self._watch(getattr(os, name)))
        if driver:
            from pymongo.collection import Collection

            for name in DRIVER_CALLS:
                setattr(Collection, name, self._watch(getattr(Collection, name)))


def kill_this_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class DroppingProxy:
    """A TCP proxy to a MongoDB server that cuts all connections at a given write command, and takes no new ones from then on.

    Parameters
    ----------
    host, port
        Of the server.
    point : int
        Number of the write command, from 1.
    after : bool
        Whether the server still gets that command, so that only its answer is lost.
    """

    def __init__(self, host: str, port: int, point: int, *, after: bool):
        self._server = (host, port)
        self._point, self._after = point, after
        self.writes = 0
        self.dropped = False
        self._lock = threading.Lock()
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            upstream = socket.create_connection(self._server)
            self._sockets += [client, upstream]
            threading.Thread(target=self._requests, args=(client, upstream), daemon=True).start()
            threading.Thread(target=self._answers, args=(upstream, client), daemon=True).start()

    def _requests(self, client: socket.socket, upstream: socket.socket) -> None:
        with suppress(OSError):
            while message := _read_message(client):
                with self._lock:
                    self.writes += _is_write(message)
                    drop = _is_write(message) and self.writes == self._point
                    if drop and self._after:
                        upstream.sendall(message)
                        _read_message(upstream)  # the server has done it
                    if drop or self.dropped:
                        self._drop()
                        return
                upstream.sendall(message)
        self._close(client, upstream)

    def _answers(self, upstream: socket.socket, client: socket.socket) -> None:
        """Hand answers back; a dropped one is read by the thread of the requests, which holds the lock."""
        with suppress(OSError, ValueError):
            while True:
                ready = upstream.recv(1, socket.MSG_PEEK)
                with self._lock:
                    if self.dropped or not ready:
                        break
                    upstream.setblocking(False)
                    try:
                        data = upstream.recv(1 << 20)
                    except BlockingIOError:
                        continue
                    finally:
                        upstream.setblocking(True)
                client.sendall(data)
        self._close(client, upstream)

    def _drop(self) -> None:
        self.dropped = True
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._close(*self._sockets)

    @staticmethod
    def _close(*sockets: socket.socket) -> None:
        for item in sockets:
            with suppress(OSError):
                item.shutdown(socket.SHUT_RDWR)
            item.close()


def _read_message(source: socket.socket) -> bytes:
    """Read one message of the wire protocol; empty at the end of the connection."""
    head = _read(source, 16)
    if not head:
        return b""
    (length,) = struct.unpack("<i", head[:4])
    return head + _read(source, length - 16)


def _read(source: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = source.recv(size - len(data))
        if not chunk:
            return b""
        data += chunk
    return data


def _is_write(message: bytes) -> bool:
    """Whether a message is a command that writes: header, flags, section kind 0, a document whose first key is the command."""
    (operation,) = struct.unpack("<i", message[12:16])
    if operation != OP_MSG or message[20] != 0:
        return False
    return message[26:].split(b"\0", 1)[0] in WRITE_COMMANDS


@contextmanager
def branch_moved_first() -> Iterator[None]:
    """Break the commit protocol on purpose: the branch is moved before the documents are written."""
    from coevo.node_store.directory.database import EmbeddedBackend
    from coevo.node_store.durable import replace_file
    from coevo.node_store.mongodb.database import MongoBackend

    kept = EmbeddedBackend.write_state, MongoBackend.write_state

    def embedded(self: Any, node: str, document: Any, prepared: Any) -> None:
        replace_file(self.directory / node / "refs" / "main", prepared.id.encode() + b"\n")
        kept[0](self, node, document, prepared)

    def mongodb(self: Any, node: str, document: Any, prepared: Any) -> None:
        self.connection.collection("nodes").update_one({"_id": node}, {"$set": {"branches.main": prepared.id}})
        kept[1](self, node, document, prepared)

    EmbeddedBackend.write_state, MongoBackend.write_state = embedded, mongodb  # type: ignore[method-assign]
    try:
        yield
    finally:
        EmbeddedBackend.write_state, MongoBackend.write_state = kept  # type: ignore[method-assign]
