"""Questions to a worker and its answers: a JSON head and raw arrays, each length bounded, each wait limited."""

from __future__ import annotations

import json
import os
import select
import struct
import time
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    Array = NDArray[Any]

MAGIC = b"coevo-f1"
"""Beginning of each frame; ``runners/coevo_worker.py`` has the same."""
HEAD_LIMIT = 1 << 20
"""Bytes of a head, at most."""

_BLOCK = 1 << 20
_LARGEST_NUMBER = 1e12
"""No number of a head is larger than this in magnitude."""


class FrameError(Exception):
    """What came is no frame, or not the one that was asked for; ``ended`` says that there is nothing more to come."""

    def __init__(self, message: str, *, ended: bool = False):
        super().__init__(message)
        self.ended = ended


class NoAnswerError(FrameError):
    """Nothing more came, or nothing more was taken, within the time that was given."""


def encoded(head: Mapping[str, Any], arrays: Mapping[str, Array]) -> bytes:
    """Return the bytes of a frame."""
    listed = [[name, array.dtype.str, list(array.shape)] for name, array in arrays.items()]
    text = json.dumps({**head, "arrays": listed}, allow_nan=False).encode()
    return b"".join([MAGIC, struct.pack("<Q", len(text)), text, *(np.ascontiguousarray(a).tobytes() for a in arrays.values())])


class Pipes:
    """Both ends of a conversation with a process.

    Parameters
    ----------
    incoming, outgoing : int
        File descriptors, read and written without blocking.
    """

    def __init__(self, incoming: int, outgoing: int):
        self._incoming, self._outgoing = incoming, outgoing
        os.set_blocking(incoming, False)
        os.set_blocking(outgoing, False)

    def send(self, data: bytes, patience: float) -> None:
        """Write all of it.

        Raises
        ------
        FrameError
            If the other side is gone.
        NoAnswerError
            If it did not take it in ``patience`` seconds.
        """
        deadline = time.monotonic() + patience
        view = memoryview(data)
        while view:
            _wait(self._outgoing, deadline, writing=True)
            try:
                view = view[os.write(self._outgoing, view[:_BLOCK]) :]
            except BlockingIOError:
                continue
            except OSError as err:
                raise FrameError(f"it takes no question: {err.strerror}", ended=True) from None

    def receive(self, shapes: Mapping[str, tuple[int, ...]], patience: float) -> tuple[dict[str, Any], dict[str, Array]]:
        """Read a frame.

        Parameters
        ----------
        shapes : mapping of str to tuple
            Arrays of float64 that it has to have, if its head says ``ok``, in this order; otherwise it must have none.
        patience : float
            Seconds.

        Raises
        ------
        FrameError
            If something else comes.
        NoAnswerError
            If it is not whole after ``patience`` seconds.
        """
        deadline = time.monotonic() + patience
        start = self._read(len(MAGIC) + 8, deadline, first=True)
        (size,) = struct.unpack("<Q", start[len(MAGIC) :])
        if start[: len(MAGIC)] != MAGIC:
            raise FrameError(f"its answer begins with {start[:8]!r}, which is no frame")
        if size > HEAD_LIMIT:
            raise FrameError(f"the head of its answer has {size} bytes, allowed: {HEAD_LIMIT}")
        head = _parsed(self._read(size, deadline))
        wanted = [[name, "<f8", list(shape)] for name, shape in shapes.items()] if head.get("ok") is True else []
        if head.pop("arrays", None) != wanted:
            raise FrameError(f"the arrays of its answer are not those asked for: {', '.join(shapes) or 'none'}")
        arrays: dict[str, Array] = {}
        for name, shape in shapes.items() if wanted else ():
            data = self._read(8 * int(np.prod(shape)), deadline)
            arrays[name] = np.frombuffer(data, dtype="<f8").reshape(shape)
        return head, arrays

    def _read(self, size: int, deadline: float, *, first: bool = False) -> bytes:
        data = bytearray()
        while len(data) < size:
            _wait(self._incoming, deadline)
            try:
                block = os.read(self._incoming, min(size - len(data), _BLOCK))
            except BlockingIOError:
                continue
            if not block:
                raise FrameError("it ended" if first and not data else "it ended in the middle of an answer", ended=True)
            data += block
        return bytes(data)


def _wait(descriptor: int, deadline: float, *, writing: bool = False) -> None:
    poll = select.poll()  # unlike select(), without a limit on the number of a descriptor
    poll.register(descriptor, select.POLLOUT if writing else select.POLLIN)
    remaining = deadline - time.monotonic()
    if remaining <= 0 or not poll.poll(1e3 * remaining):
        raise NoAnswerError("no answer in the time that it was given")


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        head = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as err:
        raise FrameError(f"the head of its answer is not JSON: {str(err)[:200]}") from None
    if not isinstance(head, dict):
        raise FrameError("the head of its answer is no mapping")
    return head


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not allowed")


def finite_number(value: Any) -> float | None:
    """A number of a head as a float, if it is one that can be used."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= _LARGEST_NUMBER:
        return None
    return float(value)
