"""Pieces of work in processes of this machine, or here where there are only a few."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, TypeVar

from coevo.processes import map_chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    R = TypeVar("R")

_WITHOUT_PROCESSES = 4
"""Pieces that are done here: starting a process takes seconds."""


@dataclass(frozen=True)
class Workers:
    """Worker processes, started when there is enough to do.

    Attributes
    ----------
    count : int
        With 1, everything runs in this process. The results are the same.
    """

    count: int

    def map(self, function: Callable[..., R], pieces: Iterable[Any], *arguments: Any) -> Iterator[R]:
        """Yield ``function(piece, *arguments)`` of each piece, in order.

        Raises
        ------
        AnalysisError
            If a worker process dies.
        """
        remaining = iter(pieces)
        first = list(islice(remaining, _WITHOUT_PROCESSES + 1))
        few = len(first) <= _WITHOUT_PROCESSES
        work = partial(_apply, function, arguments)
        yield from map_chunks(work, chain(first, remaining), workers=1 if few else self.count)


def _apply(function: Callable[..., R], arguments: tuple[Any, ...], piece: Any) -> R:
    return function(piece, *arguments)
