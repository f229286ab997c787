"""Batches that were answered in parts: noted where that happens, told to whoever asked for it around the call.

Which batches there were is a matter of the last digits, so that the job whose results they are says so.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HalvedBatches = dict[str, int]
"""Why batches were halved, such as ``out_of_memory``, to the structures of the smallest part that was answered."""

_noted: ContextVar[HalvedBatches | None] = ContextVar("coevo_halved_batches", default=None)


@contextmanager
def noting_halved_batches() -> Iterator[HalvedBatches]:
    """Collect what :func:`note_halved_batches` is told in this block; what the block is in hears of it, too."""
    found: HalvedBatches = {}
    token = _noted.set(found)
    try:
        yield found
    finally:
        _noted.reset(token)
        note_halved_batches(found)


def note_halved_batches(halved: Mapping[str, int]) -> None:
    """Tell of parts that were answered; the smallest of each reason counts."""
    noted = _noted.get()
    if noted is None:
        return
    for reason, size in halved.items():
        noted[reason] = min(size, noted.get(reason, size))
