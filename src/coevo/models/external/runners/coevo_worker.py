"""The family's side of a worker: answers with energies, forces and stresses of batches until its standard input ends.

A runner of force fields imports this module before anything else: with ``serve`` as its argument the process keeps standard
output for answers alone, and whatever packages print goes to the log. It needs Python 3.8 or newer and numpy.

A frame is ``coevo-f1``, the length of a JSON head (8 bytes, little-endian), the head, and the arrays that ``head["arrays"]``
lists as ``[name, dtype, shape]``, one after another in C order.
"""

from __future__ import annotations

import json
import math
import os
import re
import select
import struct
import sys
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn, Optional

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PROTOCOL = 1
"""Version of the protocol, in the request and in the greeting."""

MAGIC = b"coevo-f1"
HEAD_LIMIT = 1 << 20
"""Bytes of a head, at most."""
ARRAY_LIMIT = 1 << 32
"""Bytes of one array, at most."""

SERVING = sys.argv[1:] == ["serve"]
"""Whether this process is a worker; otherwise the runner does the one task of ``request.json``."""

_OUT_OF_MEMORY = re.compile(r"out of memory|allocate memory", re.IGNORECASE)
"""What torch says where the memory of a GPU, or that of the machine, is too small."""

_answers: Optional[BinaryIO] = None  # noqa: UP045 - evaluated where Python is 3.8

if SERVING:
    # A private copy of standard output, made before a package can print; what prints to number 1 goes to the log.
    _answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)


class OutOfMemory(Exception):  # noqa: N818 - a word of the protocol
    """A batch that is too large for the memory; coevo asks again for the halves of it."""


def serve(
    family: str, open_model: Callable[[dict[str, Any]], tuple[dict[str, Any], Callable[..., Mapping[str, Any]]]]
) -> NoReturn:
    """Open the model of ``request.json`` and answer; never returns.

    Parameters
    ----------
    family : str
        Name of the family; a request for another one is refused.
    open_model : callable
        Called with the request (``model``, ``document``, ``device``, ``trusted``, ``sources``); returns what is said of the
        model, ``elements`` (atomic numbers), ``cutoff`` (Å), ``energy_scale``, ``versions``, ``device`` and, if it is known,
        ``element_energies`` (atomic number to eV), and a function of ``numbers`` (N,), ``counts`` (n,), ``positions`` (N, 3; Å)
        and ``cells`` (n, 3, 3; rows, Å) that returns ``energies`` (n,; eV per cell), ``forces`` (N, 3; eV/Å) and ``stresses``
        (n, 3, 3; eV/Å³, positive where the crystal is under tension, as in ASE).
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        request = json.loads(Path("request.json").read_text(encoding="utf-8"))
        if request.get("protocol") != PROTOCOL or request.get("family") != family:
            raise ValueError(f"the request is of protocol {request.get('protocol')!r} for {request.get('family')!r}")
        about, predict = open_model(request)
    except Exception as err:  # noqa: BLE001 - the boundary of the process: whatever it is, the other side is told
        traceback.print_exc()
        _send({"ok": False, "reason": getattr(err, "reason", "error"), "message": f"{type(err).__name__}: {err}"[:2000]})
        _end(1)
    _send({"ok": True, "protocol": PROTOCOL, "family": family, **about})
    print(f"{family} serves on {about.get('device')}: {about.get('versions')}", flush=True)
    while True:
        head, arrays = _receive()
        answer, refusal = _answer(predict, arrays)
        if refusal.get("reason") == "out_of_memory":
            _free_memory()  # not while the error was handled, which held what the batch had made
        _send({"ok": not refusal, "call": head.get("call"), **refusal}, answer)


def _answer(predict: Callable[..., Mapping[str, Any]], arrays: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arrays of an answer, or why there is none."""
    try:
        found = predict(**{name: arrays[name] for name in ("numbers", "counts", "positions", "cells")})
        return {name: _plain(found[name]) for name in ("energies", "forces", "stresses")}, {}
    except Exception as err:  # noqa: BLE001 - as above
        traceback.print_exc()
        text = f"{type(err).__name__}: {err}"
        reason = "out_of_memory" if isinstance(err, (MemoryError, OutOfMemory)) or _OUT_OF_MEMORY.search(text) else "error"
        return {}, {"reason": reason, "message": text[:2000]}


def _plain(array: Any) -> Any:
    import numpy as np

    return np.ascontiguousarray(array, dtype="<f8")


def _send(head: dict[str, Any], arrays: Optional[dict[str, Any]] = None) -> None:  # noqa: UP045
    arrays = arrays or {}
    head["arrays"] = [[name, array.dtype.str, list(array.shape)] for name, array in arrays.items()]
    text = json.dumps(head).encode()
    out = _answers
    if out is None:
        raise RuntimeError("this process is no worker: it was not started with `serve`")
    for data in (MAGIC + struct.pack("<Q", len(text)) + text, *(array.tobytes() for array in arrays.values())):
        view = memoryview(data)
        try:
            while view:
                view = view[out.write(view) :]
        except BrokenPipeError:
            _end(0)


def _receive() -> tuple[dict[str, Any], dict[str, Any]]:
    """The next question; the process ends with its standard input."""
    import numpy as np

    start = _read(len(MAGIC) + 8)
    (size,) = struct.unpack("<Q", start[len(MAGIC) :])
    if start[: len(MAGIC)] != MAGIC or size > HEAD_LIMIT:
        sys.stderr.write("what came on standard input is no frame; ending\n")
        _end(70)
    head = json.loads(_read(size))
    arrays = {}
    for name, kind, shape in head["arrays"]:
        dtype = np.dtype(kind)
        length = dtype.itemsize * math.prod(shape)
        if not 0 <= length <= ARRAY_LIMIT:
            sys.stderr.write(f"an array of {length} bytes on standard input; ending\n")
            _end(70)
        arrays[name] = np.frombuffer(_read(length), dtype).reshape(shape)
    return head, arrays


def _read(size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        block = os.read(0, min(size - len(data), 1 << 20))
        if not block:
            _end(0)
        data += block
    return bytes(data)


def _free_memory() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _end_with_parent() -> None:
    """End at once when standard input is closed, also in the middle of a batch: nobody waits for the answer."""
    poll = select.poll()
    poll.register(0, select.POLLHUP | select.POLLERR)
    poll.poll()
    _end(0)


def _end(code: int) -> NoReturn:
    sys.stdout.flush()
    sys.stderr.flush()
    # Some packages leave threads that would keep the process from ending.
    os._exit(code)
