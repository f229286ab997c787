"""Bringing a node from an older schema version to the present one; states keep their ids.

Each step may be killed anywhere and run again; the version number is written last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from coevo.errors import ConfigError, NodeNotFoundError
from coevo.node_store.directory.database import EmbeddedBackend
from coevo.node_store.documents import SCHEMA_VERSION
from coevo.node_store.mongodb.database import MongoBackend
from coevo.node_store.upkeep.backends import upkeep_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from coevo.node_store.blobs.artifacts import ArtifactStore
    from coevo.node_store.store import NodeStore


def _places(backend: EmbeddedBackend, artifacts: ArtifactStore, node: str) -> None:
    from coevo.node_store.directory.migrations import write_missing_places

    write_missing_places(backend, artifacts, node)


def _rows(backend: MongoBackend, artifacts: ArtifactStore, node: str) -> None:
    from coevo.node_store.mongodb.migrations import complete_rows

    complete_rows(backend, artifacts, node)


@dataclass(frozen=True)
class Step:
    """How a node gets from one version to the next.

    Attributes
    ----------
    version : int
        The version that it starts from.
    what : str
        What changes, for people.
    embedded, mongodb : callable
        Do it, for one node; doing it again changes nothing.
    """

    version: int
    what: str
    embedded: Callable[[EmbeddedBackend, ArtifactStore, str], None]
    mongodb: Callable[[MongoBackend, ArtifactStore, str], None]


STEPS: tuple[Step, ...] = (
    Step(1, "store where each document of a state is; on a server: readable fields, times and hashes of rows", _places, _rows),
)
"""In the order of versions, one for each version before the present one."""


def migrate(store: NodeStore, node: str, *, again: bool = False) -> list[Step]:
    """Bring a node to the present schema version; a node that is there already is left alone.

    Parameters
    ----------
    store : NodeStore
    node : str
    again : bool
        Run all steps, also of versions that the node has passed: that writes again what follows from the states.

    Returns
    -------
    list of Step
        The steps that were done.

    Raises
    ------
    NodeNotFoundError
        If there is no such node.
    ConfigError
        If it is of a newer version.
    NodeBusyError
        If a process of the older version runs a campaign on it.
    CorruptArtifactError
        If a state cannot be read; the version stays what it was.
    """
    document = store.backend.node_document(node) if node in store.nodes() else None
    if document is None:
        raise NodeNotFoundError(
            f"there is no node {node!r}; nodes of the database {store.place}: {', '.join(store.nodes()) or 'none'}"
        )
    version = document["schema_version"]
    if version > SCHEMA_VERSION:
        raise ConfigError(
            f"node {node} has schema version {version}, this coevo reads up to {SCHEMA_VERSION}; install a newer coevo"
        )
    done = []
    for step in STEPS:
        if step.version < version and not again:
            continue
        if isinstance(store.backend, EmbeddedBackend):
            step.embedded(store.backend, store.artifacts, node)
        else:
            assert isinstance(store.backend, MongoBackend)
            step.mongodb(store.backend, store.artifacts, node)
        upkeep_of(store.backend).write_schema_version(node, max(version, step.version + 1))
        done.append(step)
    return done
