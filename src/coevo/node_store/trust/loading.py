"""Which checkpoints may be loaded: by the loader that would read them, and where their bytes came from.

A loader (:mod:`coevo.families`) either cannot run code, and then checks what it reads, or it can. What the second kind reads must
have been computed here, name published weights only, or be trusted by its sha256. Blobs that a bundle brings are marked in every
role (:mod:`coevo.node_store.trust.loading`); the mark stops loaders that can run code and nothing else.

Also here, where blobs came from: what a bundle brings is marked in every role, unless it is a checkpoint that was computed here.

That a blob is in the artifact store proves nothing: an earlier bundle may have brought it in another role, a user may have added
the file, or another database may share the store. What proves it are the documents of this database, which no bundle can write: a
record of the step that computed it, a job result that names it as its checkpoint, or a state with it whose checkpoint bears no
mark (every import marks what its states name before it stores anything; states of an older coevo keep the trust that they had).
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

from coevo.errors import CheckpointError, CorruptArtifactError
from coevo.families import find_loader, loader_of, role_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
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
    role : str
        What it is wanted for, ``force_field`` or ``generator``; in a state, the slot that it stands in.

    Raises
    ------
    CheckpointError
        If there is none here; saying that the checkpoint is trusted does not change that.
    """
    try:
        return find_loader(str(checkpoint.get("family")), str(checkpoint.get("format")), role_of(role))
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


def came_from_elsewhere(store: NodeStore, sha256: str) -> bool:
    """Whether a blob was brought or named by a bundle; that somebody trusts it does not say what it is."""
    mark = store.backend.mark(sha256)
    return mark is not None and mark.reason != COMPUTED_HERE


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


Declared = dict[str, list[tuple[str, dict[str, Any]]]]
"""Checkpoints of states by sha256: the roles in which they are declared, with what is declared."""


def declared_checkpoints(documents: Iterable[Mapping[str, Any]]) -> Declared:
    """Collect the checkpoints of state documents, each (role, family, format) once."""
    found: Declared = {}
    seen: set[tuple[str, str, str, str]] = set()
    for document in documents:
        for role, checkpoint in document["checkpoints"].items():
            key = (checkpoint["sha256"], role, checkpoint["family"], checkpoint["format"])
            if key not in seen:
                seen.add(key)
                found.setdefault(checkpoint["sha256"], []).append((role, checkpoint))
    return found


def mark_imported(store: NodeStore, names: Iterable[str], declared: Declared, origin: str) -> None:
    """Mark blobs that come from elsewhere, before any of them is stored.

    Parameters
    ----------
    store : NodeStore
    names : iterable of str
        Every blob that is brought, and every checkpoint that is named.
    declared : dict
        As :func:`declared_checkpoints` gives it.
    origin : str
        Where they come from; the reason of the mark.
    """
    unmarked = {*names, *declared}.difference(store.backend.marks())
    here = {sha256 for sha256 in unmarked if store.artifacts.has(sha256)}
    for sha256 in sorted(unmarked.difference(_computed_here(store, here, declared))):
        store.backend.mark_untrusted(sha256, origin)


def mark_fetched(store: NodeStore, checkpoint: dict[str, Any], origin: str) -> None:
    """Mark one checkpoint that is fetched from elsewhere, unless there is a record of it, or it was computed here."""
    sha256 = checkpoint["sha256"]
    declared: Declared = {sha256: [("", checkpoint)]}  # whatever it is wanted for
    if store.backend.mark(sha256) is None and not _computed_here(store, {sha256}, declared):
        store.backend.mark_untrusted(sha256, origin)


def _computed_here(store: NodeStore, candidates: set[str], declared: Declared) -> set[str]:
    """Which of these unmarked blobs are checkpoints of this database, of the very family and format that is declared."""
    if not candidates:
        return set()
    known = _Known(found for found in _of_states(store) if found[0] in candidates)
    left = {sha256 for sha256 in candidates if not known.covers(sha256, declared) and _asked_of(declared.get(sha256, []))}
    if left:  # job results are many, and are looked at only for what a loader would ask about
        known.update(found for found in _of_jobs(store) if found[0] in left)
    return {sha256 for sha256 in candidates if known.covers(sha256, declared)}


class _Known(set[tuple[str, str, str]]):
    """Checkpoints of this database: sha256, family, format."""

    def covers(self, sha256: str, declared: Declared) -> bool:
        """Whether a blob is one of them, as everything that a loader which can run code would be told it is."""
        asked = _asked_of(declared.get(sha256, []))
        return (asked <= self) if asked else any(known == sha256 for known, _, _ in self)


def _asked_of(uses: list[tuple[str, dict[str, Any]]]) -> set[tuple[str, str, str]]:
    """Declarations whose loader can run code, or is not known here: its family may be installed later."""
    asked = set()
    for role, checkpoint in uses:
        try:
            harmless = not loader_for(checkpoint, role).runs_code
        except CheckpointError:
            harmless = False
        if not harmless:
            asked.add((checkpoint["sha256"], checkpoint["family"], checkpoint["format"]))
    return asked


def _of_states(store: NodeStore) -> Iterator[tuple[str, str, str]]:
    for node in store.nodes():
        for state in store.backend.state_ids(node):
            with suppress(CorruptArtifactError):  # what is damaged proves nothing
                yield from _checkpoints_in((store.backend.state_document(node, state) or {}).get("checkpoints"))


def _of_jobs(store: NodeStore) -> Iterator[tuple[str, str, str]]:
    for key in store.backend.job_keys():
        with suppress(CorruptArtifactError):
            yield from _checkpoints_in(store.backend.job_result(key))


def _checkpoints_in(value: Any) -> Iterator[tuple[str, str, str]]:
    """Everything in a document that is described as a checkpoint, with family and format."""
    if isinstance(value, dict):
        if all(isinstance(value.get(key), str) for key in ("sha256", "family", "format")):
            yield value["sha256"], value["family"], value["format"]
        for item in value.values():
            yield from _checkpoints_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from _checkpoints_in(item)
