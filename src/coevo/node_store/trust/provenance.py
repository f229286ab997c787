"""Where blobs came from: what a bundle brings is marked in every role, unless it is a checkpoint that was computed here.

That a blob is in the artifact store proves nothing: an earlier bundle may have brought it in another role, a user may have added
the file, or another database may share the store. What proves it are the documents of this database, which no bundle can write: a
record of the step that computed it, a job result that names it as its checkpoint, or a state with it whose checkpoint bears no
mark (every import marks what its states name before it stores anything; states of an older coevo keep the trust that they had).
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from coevo.errors import CheckpointError, CorruptArtifactError
from coevo.node_store.trust.loading import loader_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from coevo.node_store.store import NodeStore

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
