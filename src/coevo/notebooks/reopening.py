"""The store of a node or state that was pickled, opened again in another process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coevo.errors import ConfigError
from coevo.node_store.store import open_store
from coevo.settings import EMBEDDED_PREFIX, MONGODB_PREFIXES, read_settings

if TYPE_CHECKING:
    from coevo.node_store.store import NodeStore


def address_of(store: NodeStore) -> tuple[str, str]:
    """Where a store is: its place and its artifacts. The password of a server is not in it: a pickle may lie on a disk."""
    return store.place, store.artifacts.uri


def open_again(place: str, artifacts: str) -> NodeStore:
    """Open a store by its address; how a server is reached, the settings of this process say.

    Raises
    ------
    ConfigError
        The settings lead to another database than that server.
    """
    if not place.startswith(MONGODB_PREFIXES):
        return open_store(read_settings(database=f"{EMBEDDED_PREFIX}{place}", artifacts=artifacts))
    store = open_store(read_settings(artifacts=artifacts))
    if store.place != place:
        raise ConfigError(
            f"a node or state was pickled in a process that reads {place}, and COEVO_DATABASE of this process leads to "
            f"{store.place}: set it to the same"
        )
    return store
