"""The upkeep of a store's database; a database itself does not know that it is kept up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coevo.node_store.directory.database import EmbeddedBackend
from coevo.node_store.mongodb.database import MongoBackend

if TYPE_CHECKING:
    from coevo.node_store.backend import Backend
    from coevo.node_store.backend_upkeep import Upkeep


def upkeep_of(backend: Backend) -> Upkeep:
    """Return what verification, garbage collection and migration need to know of how a database is stored.

    Raises
    ------
    TypeError
        If the backend is of no known kind.
    """
    if isinstance(backend, EmbeddedBackend):
        from coevo.node_store.directory.upkeep import EmbeddedUpkeep

        return EmbeddedUpkeep(backend)
    if isinstance(backend, MongoBackend):
        from coevo.node_store.mongodb.upkeep import MongoUpkeep

        return MongoUpkeep(backend)
    raise TypeError(f"nobody knows the upkeep of a {type(backend).__name__}")
