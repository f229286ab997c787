"""Which checkpoints may be loaded: by the loader that would read them, and where their bytes came from.

A loader (:mod:`coevo.families`) either cannot run code, and then checks what it reads, or it can. What the second kind reads must
have been computed here, name published weights only, or be trusted by its sha256. Blobs that a bundle brings are marked in every
role (:mod:`coevo.node_store.trust.provenance`); the mark stops loaders that can run code and nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from coevo.errors import CheckpointError
from coevo.families import find_loader, loader_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from coevo.families import Loader
    from coevo.node_store.store import NodeStore

Condition = Literal["here", "untrusted", "not here", "not loadable"]

UNSEEN = "its bytes were not in the bundle, so nobody has looked at them"
"""How the reasons begin of marks that an older coevo made for checkpoints which a thin bundle left out."""

COMPUTED_HERE = "it was computed here"
"""Reason of the record of a checkpoint that a step of this installation computed."""


def loader_for(checkpoint: Mapping[str, Any], role: str) -> Loader:
    """Return the loader that would read a checkpoint.

    Parameters
    ----------
    checkpoint : mapping
        As a state or a job result holds it.
    role : {"force_field", "generator"}
        What it is wanted for; in a state, the slot that it stands in.

    Raises
    ------
    CheckpointError
        If there is none here; saying that the checkpoint is trusted does not change that.
    """
    try:
        return find_loader(str(checkpoint.get("family")), str(checkpoint.get("format")), role)
    except CheckpointError as err:
        slot = role.replace("_", " ")[:80]
        raise CheckpointError(
            f"checkpoint {checkpoint['sha256']} cannot be loaded here as {slot}: {err}; `coevo trust` does not change that, for "
            "nothing here is known to read it"
        ) from None


def is_trusted(store: NodeStore, checkpoint: Mapping[str, Any], role: str) -> bool:
    """Whether a checkpoint was computed here, only names published weights, or was trusted by somebody.

    This is what a loader that can run code is told; raises as :func:`loader_for`.
    """
    sha256 = checkpoint["sha256"]
    mark = store.backend.mark(sha256)
    return mark is None or bool(mark.trusted) or sha256 in loader_for(checkpoint, role).published.values()


def condition(store: NodeStore, checkpoint: Mapping[str, Any], role: str) -> Condition:
    """Say whether a checkpoint can be loaded here."""
    try:
        loader = loader_for(checkpoint, role)
    except CheckpointError:
        return "not loadable"
    if not store.artifacts.has(checkpoint["sha256"]):
        return "not here"
    return "untrusted" if loader.runs_code and not is_trusted(store, checkpoint, role) else "here"


def fetch_checkpoint(store: NodeStore, checkpoint: Mapping[str, Any], role: str) -> Path:
    """Return a verified local file with a checkpoint that may be loaded.

    Parameters
    ----------
    store : NodeStore
    checkpoint : mapping
        As a state or a job result holds it.
    role : {"force_field", "generator"}
        What it is wanted for.

    Raises
    ------
    CheckpointError
        If nothing here reads it in that role, it is not here, or its loader can run code and it is not trusted.
    CorruptArtifactError
        If its bytes are damaged.
    """
    sha256 = checkpoint["sha256"]
    loader = loader_for(checkpoint, role)
    if not store.artifacts.has(sha256):
        uri, mark = checkpoint.get("uri"), store.backend.mark(sha256)
        where = f"its state says that it was written to {uri}" if uri else ""
        where = where or (mark.reason if mark else "nothing says where it was written")
        raise CheckpointError(
            f"checkpoint {sha256} (family {loader.family}) is not in {store.artifacts.uri}: a bundle without checkpoints was "
            f"imported, or the blob was removed; {where}; get it by importing a bundle that has it, by `coevo import FILE "
            f"--fetch-checkpoints` if you trust that place, or copy the file to {store.artifacts.uri_of(sha256)}"
        )
    if loader.runs_code and not is_trusted(store, checkpoint, role):
        mark = store.backend.mark(sha256)
        reason = f"{mark.reason}; " if mark else ""
        raise CheckpointError(
            f"checkpoint {sha256} (family {loader.family}, format {loader.format}) is not trusted and was not loaded: {reason}"
            f"loading it may run code of whoever made it; if you know where it comes from: coevo trust {sha256}"
        )
    return store.artifacts.fetch(sha256)


def trust(store: NodeStore, names: Iterable[str]) -> list[str]:
    """Allow blobs to be loaded, whatever their loader; return those that were not trusted before, sorted."""
    found = sorted(set(names).intersection(store.backend.untrusted()))
    for sha256 in found:
        store.backend.mark_trusted(sha256)
    return found


def computed_here(store: NodeStore, sha256: str, family: str, role: str) -> None:
    """Record that a step of this installation computed a checkpoint, so that no bundle that has the same can put it in doubt.

    Only a step that computed it as a checkpoint says so: other blobs of the same bytes (a log, a shard, a user's file) prove
    nothing. Where the loader cannot run code no record is needed.
    """
    try:
        harmless = not loader_of(family, role).runs_code
    except CheckpointError:  # nothing here reads it, today
        harmless = False
    if not harmless:
        store.backend.mark_trusted(sha256, COMPUTED_HERE)
