"""Migrations of embedded nodes."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from coevo.errors import CorruptArtifactError, NodeBusyError
from coevo.node_store.backend import KINDS
from coevo.node_store.directory.locks import LockedError, file_lock
from coevo.node_store.directory.places import NAME as PLACES
from coevo.node_store.directory.places import read_places, write_places
from coevo.node_store.directory.segments import Segment
from coevo.node_store.durable import read_sealed, replace_file, seal, storage_errors, sync_directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from coevo.node_store.backend import Kind
    from coevo.node_store.blobs.artifacts import ArtifactStore
    from coevo.node_store.directory.database import EmbeddedBackend

Places = dict["Kind", dict[str, str]]


def write_missing_places(backend: EmbeddedBackend, artifacts: ArtifactStore, node: str) -> None:
    """From version 1 to 2: write for each state which state added each of its documents.

    Version 1 searched the segments of all ancestors, nearest first.

    Raises
    ------
    NodeBusyError
        If a process of version 1 runs a campaign on the node.
    CorruptArtifactError
        If a state cannot be read, or one of its documents is nowhere.
    """
    directory = backend.directory / node
    try:
        with file_lock(directory / ".run-lock", wait=False), backend.write_lock(node):
            states = directory / "states"
            for state in _parents_first({name: _stored(states / name) for name in backend.state_ids(node)}):
                _complete(states, state, artifacts)
    except LockedError:
        raise NodeBusyError(
            f"a process of an older coevo runs a campaign on node {node}; wait for it to end, or stop it"
        ) from None
    with storage_errors("removing the lock of version 1", directory):
        for name in ("run.json", ".run-lock"):
            (directory / name).unlink(missing_ok=True)


def _stored(directory: Path) -> dict[str, Any]:
    return read_sealed(directory / "state.json", f"state {directory.name}")


def _parents_first(stored: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Order states; a parent that is missing is noticed where its documents are wanted."""
    waiting = {state: [parent for parent in found["state"]["parents"] if parent in stored] for state, found in stored.items()}
    while waiting:
        ready = sorted(state for state, parents in waiting.items() if not any(parent in waiting for parent in parents))
        yield from ready
        for state in ready:
            del waiting[state]


def _complete(states: Path, state: str, artifacts: ArtifactStore) -> None:
    directory = states / state
    stored = _stored(directory)
    if "places" in stored:
        return
    manifest = json.loads(artifacts.get_bytes(stored["state"]["manifest"]["sha256"]))
    own = {kind: _ids(states, state, kind) for kind in KINDS}
    with storage_errors("writing the places of documents", directory):
        (directory / PLACES).unlink(missing_ok=True)  # of a migration that was killed
        try:
            sha256 = write_places(
                directory, state, manifest, own, [_places(states, parent) for parent in stored["state"]["parents"]]
            )
        except CorruptArtifactError:
            # a document that no parent has, but an earlier ancestor: version 1 found those as well
            (directory / PLACES).unlink(missing_ok=True)
            sha256 = write_places(directory, state, manifest, own, [_places_by_search(states, state)])
        sync_directory(directory)
    replace_file(directory / "state.json", seal({**stored, "places": sha256}))


def _ids(states: Path, state: str, kind: Kind) -> list[str]:
    return Segment(states / state, kind, _stored(states / state)["segments"][kind]).ids()


def _places(states: Path, state: str) -> Places:
    return read_places(states / state, _stored(states / state)["places"])


def _places_by_search(states: Path, state: str) -> Places:
    """Find every document of the ancestors of a state, in the nearest one that added it."""
    found: Places = defaultdict(dict)
    queue = list(_stored(states / state)["state"]["parents"])
    seen = set(queue)
    while queue:
        ancestor = queue.pop(0)
        for kind in KINDS:
            for identifier in _ids(states, ancestor, kind):
                found[kind].setdefault(identifier, ancestor)
        for parent in _stored(states / ancestor)["state"]["parents"]:
            if parent not in seen:
                seen.add(parent)
                queue.append(parent)
    return found
