"""Which state added each document of a state, so that reading one does not walk the lineage.

Kept in the directory of every state as ``places.zst``: the owners (ids of the state and of ancestors), and for each kind the ids
of the state's manifest with the number of their owner. A state's places are made from those of its parents alone.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from coevo.errors import CorruptArtifactError
from coevo.node_store.backend import KINDS, Kind
from coevo.node_store.canonical import canonical_json
from coevo.node_store.durable import storage_errors, write_synced
from coevo.node_store.shards import compress, decompress

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

NAME = "places.zst"


def write_places(
    directory: Path,
    state: str,
    manifest: dict[str, Any],
    added: Mapping[Kind, Iterable[str]],
    inherited: Sequence[dict[Kind, dict[str, str]]],
) -> str:
    """Write the places of a new state; its own documents are found in itself, all others where its parents find them.

    Parameters
    ----------
    directory : Path
    state : str
        Id of the state.
    manifest : dict
    added : mapping
        Ids of the documents that are stored with the state.
    inherited : sequence
        Places of the parents, the first one first.

    Returns
    -------
    str
        sha256 of the file.

    Raises
    ------
    CorruptArtifactError
        If a document of the manifest is neither new nor found by a parent.
    """
    owners: dict[str, int] = {}
    content: dict[str, Any] = {}
    for kind in KINDS:
        own = set(added[kind])
        ids = list(manifest[kind])
        numbers = []
        for identifier in ids:
            owner = state if identifier in own else _inherited(kind, identifier, inherited, state)
            numbers.append(owners.setdefault(owner, len(owners)))
        content[kind] = {"ids": ids, "owners": numbers}
    data = compress(canonical_json({"owners": list(owners), **content}))
    write_synced(directory / NAME, data)
    return hashlib.sha256(data).hexdigest()


def _inherited(kind: Kind, identifier: str, inherited: Sequence[dict[Kind, dict[str, str]]], state: str) -> str:
    for places in inherited:
        if identifier in places[kind]:
            return places[kind][identifier]
    raise CorruptArtifactError(
        f"{kind[:-1]} {identifier} of state {state} is neither new in it nor a document of its parents; nothing was stored"
    )


def read_places(directory: Path, expected: str) -> dict[Kind, dict[str, str]]:
    """Read for each kind which state added each document.

    Raises
    ------
    CorruptArtifactError
        If the file is not the one that was written.
    """
    path = directory / NAME
    with storage_errors("reading the places of documents", path):
        data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != expected:
        raise CorruptArtifactError(
            f"{path} is damaged: expected sha256 {expected}, found {found}; restore the file from a copy, or remove the state's "
            "directory and run the campaign again, which rebuilds it"
        )
    content = json.loads(decompress(data, str(path)))
    owners = content["owners"]
    return {
        kind: dict(zip(content[kind]["ids"], (owners[number] for number in content[kind]["owners"]), strict=True))
        for kind in KINDS
    }
