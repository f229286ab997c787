"""The node store of this process, opened once; commands that only read need nothing of jobs for it."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from coevo.settings import Settings, read_settings

if TYPE_CHECKING:
    from coevo.node_store.store import NodeStore


@lru_cache(maxsize=4)
def _open_store(settings: Settings) -> NodeStore:
    from coevo.node_store.store import open_store

    return open_store(settings)


def current_store() -> NodeStore:
    """Return the node store that this process's settings name."""
    return _open_store(read_settings())
