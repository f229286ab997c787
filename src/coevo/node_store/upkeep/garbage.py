"""Garbage collection: what no branch, no job result and no unfinished campaign needs, and nothing young refers to.

Roots are the heads of all branches of all nodes, where unfinished campaigns started, and every state that was stored or wanted
within the limit, each with its whole history; and every sha256 in a stored job result. If one of them cannot be read, nothing
is removed. A put, a commit and a moved branch refresh the age of what they refer to, and nothing is removed without a look at
its age in the same step (embedded states: under the node's write lock; rows: in the same operation; local blobs: after they were
moved aside), so that work in progress loses nothing.

States go first, children before their parents, then shared rows, then blobs: a collection that is killed leaves things that
nobody refers to, and the next one removes them.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from coevo.errors import ConfigError, CorruptArtifactError, StateNotFoundError
from coevo.node_store.backend import KINDS
from coevo.node_store.blobs.stored import Tally, blob_leftovers, remove_blob, stored_blobs
from coevo.node_store.canonical import dump_plain
from coevo.node_store.directory.database import EmbeddedBackend
from coevo.node_store.study_documents import forget_study, note_key, studies_by_state, study_keys
from coevo.node_store.upkeep.artifact_checks import named_sha256
from coevo.node_store.upkeep.backends import upkeep_of
from coevo.node_store.upkeep.state_checks import closure
from coevo.node_store.views import StateView, open_state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coevo.node_store.backend import Backend, Kind
    from coevo.node_store.store import NodeStore

LIMIT = timedelta(days=14)
"""What is younger stays: a job's results wait for the commit that will refer to them."""
LEFTOVER_LIMIT = timedelta(days=1)
"""A temporary file that is older was left by a process that died."""
KINDS_OF_GARBAGE = (
    "states",
    "structures",
    "references",
    "labels",
    "evaluations",
    "labels of states",
    "studies",
    "artifacts",
    "temporary files",
)


@dataclass
class Garbage:
    """What was, or would be, removed.

    Attributes
    ----------
    deleted : bool
        False for a dry run.
    older_than : timedelta
    kinds : dict of str to Tally
    warnings : list of str
        What to know before it is removed.
    """

    deleted: bool
    older_than: timedelta
    kinds: dict[str, Tally] = field(default_factory=lambda: {kind: Tally() for kind in KINDS_OF_GARBAGE})
    warnings: list[str] = field(default_factory=list)

    @property
    def total(self) -> Tally:
        """Everything together."""
        return Tally(sum(tally.count for tally in self.kinds.values()), sum(tally.bytes for tally in self.kinds.values()))

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON dictionary; sizes in bytes, of rows on a server before compression."""
        return {
            "deleted": self.deleted,
            "older_than_days": self.older_than / timedelta(days=1),
            "kinds": {kind: {"count": tally.count, "bytes": tally.bytes} for kind, tally in self.kinds.items()},
            "count": self.total.count,
            "bytes": self.total.bytes,
            "warnings": self.warnings,
        }


@dataclass
class _Kept:
    """What the states that stay, and all job results, refer to."""

    states: set[str] = field(default_factory=set)
    blobs: set[str] = field(default_factory=set)
    documents: dict[Kind, set[str]] = field(default_factory=lambda: {kind: set() for kind in KINDS})


def collect_garbage(
    store: NodeStore, *, delete: bool = False, older_than: timedelta = LIMIT, artifacts_not_shared: bool = False
) -> Garbage:
    """Find what nothing refers to, in all nodes of a database, and remove it if wanted.

    Parameters
    ----------
    store : NodeStore
    delete : bool
        Remove it; otherwise only say what there is.
    older_than : timedelta
        What was stored, put or wanted since then stays. With less than a day nothing else may write to the database.
    artifacts_not_shared : bool
        Whether the artifact store serves this database only. It is needed with ``delete``, unless the artifact store is the
        directory of an embedded database: blobs of another database would be garbage to this one.

    Returns
    -------
    Garbage

    Raises
    ------
    ConfigError
        If it is not said that the artifact store serves this database only, or a node is of another schema version.
    CorruptArtifactError
        If a branch, state, campaign or job result cannot be read; nothing was removed.
    """
    if older_than < timedelta(0):
        raise ConfigError(f"garbage cannot be older than {older_than}: give days, 0 or more")
    garbage = Garbage(delete, older_than)
    _warn(store, garbage, delete=delete, artifacts_not_shared=artifacts_not_shared)
    now = time.time()
    before = now - older_than.total_seconds()
    left_before = now - LEFTOVER_LIMIT.total_seconds()
    upkeep = upkeep_of(store.backend)
    # everything is read before anything is removed: a job result or a state that is damaged may name what looks like garbage
    kept = _kept(store, before)
    for node in store.nodes():
        if delete:
            for size in upkeep.remove_states(node, lambda node=node: doomed_states(store, node, before), before):  # type: ignore[misc]
                garbage.kinds["states"].add(size)
            gone = None
        else:
            gone = set(doomed_states(store, node, before))
            for state in sorted(gone):
                garbage.kinds["states"].add(upkeep.state_size(node, state))
        _remove_studies(store, node, gone, garbage)
    if delete:
        kept = _kept(store, before)
    garbage.kinds |= upkeep.shared_garbage(kept.states, lambda kind: kept.documents[kind], before, delete=delete)
    garbage.kinds["temporary files"] = upkeep.leftovers(left_before, delete=delete)
    left = blob_leftovers(store.artifacts, left_before, delete=delete)
    garbage.kinds["temporary files"].count += left.count
    garbage.kinds["temporary files"].bytes += left.bytes
    for blob in stored_blobs(store.artifacts):
        old = blob.modified < before and blob.sha256 not in kept.blobs
        if old and (not delete or remove_blob(store.artifacts, blob.sha256, before)):
            garbage.kinds["artifacts"].add(blob.size)
    return garbage


def _warn(store: NodeStore, garbage: Garbage, *, delete: bool, artifacts_not_shared: bool) -> None:
    if not (artifacts_not_shared or _artifacts_are_inside(store)):
        shared = (
            f"the artifact store {store.artifacts.uri} may serve other databases too, whose artifacts are garbage to this one; "
            "if this database is the only one there, add --artifacts-not-shared"
        )
        if delete:
            raise ConfigError(f"nothing was removed: {shared}")
        garbage.warnings.append(shared)
    if garbage.older_than < LEFTOVER_LIMIT:
        garbage.warnings.append("with a limit of less than a day nothing else may write to this database meanwhile")


def _artifacts_are_inside(store: NodeStore) -> bool:
    """Whether the artifacts are in the directory of the database, where no other database has any."""
    return isinstance(store.backend, EmbeddedBackend) and store.artifacts.directory == store.backend.directory / "blobs"


def _remove_studies(store: NodeStore, node: str, gone: set[str] | None, garbage: Garbage) -> None:
    """Forget the studies of states that are not there (any more), or, of a dry run, count those of states that would go."""
    keys = list(study_keys(store.backend, node))  # before the states: a study is stored after its state, by others meanwhile too
    here = set(upkeep_of(store.backend).reader().state_ids(node)) - (gone or set())
    for state, identifier in keys:
        if state not in here:
            noted = store.backend.note(node, note_key(state, identifier))
            garbage.kinds["studies"].add(0 if noted is None else len(dump_plain(noted)))
            if garbage.deleted:
                forget_study(store.backend, node, state, identifier)


def doomed_states(store: NodeStore, node: str, before: float) -> list[str]:
    """Return the states of a node that nothing needs, as the database is now, children before their parents.

    Raises
    ------
    CorruptArtifactError
        If a branch, a campaign or a state that may be needed cannot be read.
    """
    backend = upkeep_of(store.backend).reader()
    ids = backend.state_ids(node)
    kept = _history(store, backend, node, _roots(store, backend, node, ids, before))
    going = [state for state in ids if state not in kept]
    return list(reversed(_parents_first(store, backend, node, going)))


def _roots(store: NodeStore, backend: Backend, node: str, ids: list[str], before: float) -> set[str]:
    upkeep = upkeep_of(store.backend)
    roots = set(backend.branches(node).values())
    for campaign in store.campaigns(node):
        if campaign.status == "running" and campaign.start:
            roots.add(campaign.start)
    return roots | {state for state in ids if upkeep.stored_at(node, state) >= before}


def _history(store: NodeStore, backend: Backend, node: str, roots: set[str]) -> dict[str, StateView]:
    """Open states and all their ancestors; every one of them must be there."""
    found: dict[str, StateView] = {}
    queue = sorted(roots)
    while queue:
        state = queue.pop()
        if state in found:
            continue
        if backend.state_document(node, state) is None:
            raise CorruptArtifactError(
                f"state {state} of node {node} is missing, and a branch, a campaign or another state needs it; nothing was "
                f"removed: look at it first with coevo verify {node}"
            )
        found[state] = open_state(backend, store.artifacts, node, state)
        queue += found[state].parents
    return found


def _parents_first(store: NodeStore, backend: Backend, node: str, states: list[str]) -> list[str]:
    """Order states that go; one that cannot be read has no known parents, and comes first."""
    parents: dict[str, tuple[str, ...]] = {}
    for state in states:
        try:
            parents[state] = open_state(backend, store.artifacts, node, state).parents
        except (CorruptArtifactError, StateNotFoundError):
            parents[state] = ()
    return sorted(states, key=lambda state: (len(closure([state], parents)), state))


def _kept(store: NodeStore, before: float) -> _Kept:
    """Read all that stays, and what it refers to."""
    kept = _Kept()
    backend = upkeep_of(store.backend).reader()
    for node in store.nodes():
        store.node(node)  # of this schema version, or nothing is known of how it is stored
        ids = backend.state_ids(node)
        views = _history(store, backend, node, _roots(store, backend, node, ids, before))
        for studies in studies_by_state(backend, node, views.keys()).values():
            kept.blobs |= {file["sha256"] for study in studies for file in study.document["artifacts"]}
        for view in views.values():
            kept.states.add(view.id)
            kept.blobs |= named_sha256(view.document) | named_sha256({k: view.manifest[k] for k in ("samples", "offsets")})
            if upkeep_of(store.backend).shares_documents:
                for kind in KINDS:
                    kept.documents[kind].update(view.manifest[kind])
    for document in _job_results(store, backend):
        kept.blobs |= named_sha256(document)
    return kept


def _job_results(store: NodeStore, backend: Backend) -> Iterator[dict[str, Any]]:
    for key in store.backend.job_keys():
        document = backend.job_result(key)
        if document is not None:
            yield document
