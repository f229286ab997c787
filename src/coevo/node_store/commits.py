"""The commit protocol: artifacts, then documents, then the state document, then the branch by compare-and-swap."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from coevo.errors import ArtifactNotFoundError, BranchMovedError, ConfigError
from coevo.node_store.backend import KINDS
from coevo.node_store.documents import BRANCH_NAME
from coevo.node_store.runs import now
from coevo.node_store.states import prepare
from coevo.node_store.views import open_state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coevo.node_store.backend import Backend
    from coevo.node_store.blobs.artifacts import ArtifactStore
    from coevo.node_store.prepared_documents import PreparedState
    from coevo.node_store.states import StateDraft


def check_branch_name(branch: str) -> None:
    """Refuse a name that no branch can have.

    Raises
    ------
    ConfigError
    """
    if not re.fullmatch(BRANCH_NAME, branch):
        raise ConfigError(
            f"{branch!r} cannot name a branch: allowed are letters, digits and . - _, the first a letter or digit, at most 100"
        )
    if re.fullmatch(r"[0-9a-f]{64}", branch):
        raise ConfigError(f"{branch!r} cannot name a branch: it could be the id of a state, which would be hidden")


def kept_names(branch: str, state: str) -> Iterator[str]:
    """Yield names of branches for a state that cannot be put on a branch, the usual first."""
    for digits in (8, 16, 64):
        yield f"{branch[: 99 - digits]}-{state[:digits]}"  # at most as long as a name may be


def commit(backend: Backend, artifacts: ArtifactStore, draft: StateDraft, branch: str, expected: str | None) -> str:
    """Store a state and move a branch to it; see :meth:`coevo.node_store.store.NodeStore.commit`."""
    check_branch_name(branch)
    prepared = prepare(draft)
    node = draft.node
    if _has_arrived(backend, artifacts, node, backend.branches(node).get(branch), prepared):
        return prepared.id
    _check_complete(backend, artifacts, draft, prepared)
    manifest = artifacts.put_bytes(prepared.manifest_bytes)
    document = {**prepared.document, "manifest": manifest.to_dict(), "created": now()}
    backend.write_state(node, document, prepared)
    found = backend.move_branch(node, branch, expected, prepared.id)
    if found == expected or _has_arrived(backend, artifacts, node, found, prepared):
        return prepared.id
    raise _lost_race(backend, node, branch, expected, found, prepared.id)


def _has_arrived(backend: Backend, artifacts: ArtifactStore, node: str, head: str | None, prepared: PreparedState) -> bool:
    """Whether a branch is at a state, or descends from it."""
    # a parent cannot descend from its child: the usual commit need not look at the states before its parent
    if head is None or head in prepared.document["parents"]:
        return False
    if head == prepared.id:
        return True
    iteration = prepared.document["iteration"]
    view = open_state(backend, artifacts, node, head)
    for ancestor in view.ancestors():
        if ancestor.id == prepared.id:
            return True
        if ancestor.iteration < iteration:  # they come newest first
            return False
    return False


def _check_complete(backend: Backend, artifacts: ArtifactStore, draft: StateDraft, prepared: PreparedState) -> None:
    """Refuse a state whose parents, documents or artifacts are not stored: it could not be read back."""
    parents = [open_state(backend, artifacts, draft.node, parent).manifest for parent in draft.parents]
    for kind in KINDS:
        inherited = set(prepared.manifest[kind]).difference(getattr(prepared, kind).ids())
        missing = inherited.difference(*(parent[kind] for parent in parents))
        if missing:
            raise ValueError(
                f"{len(missing)} {kind} of the draft are neither new in it nor documents of its parents, e.g. {min(missing)}"
            )
    named = {f"checkpoint {kind}": document["sha256"] for kind, document in prepared.document["checkpoints"].items()}
    named |= {f"sample of iteration {iteration}": sha256 for iteration, sha256 in prepared.manifest["samples"].items()}
    for what, sha256 in named.items():
        if not artifacts.keep(sha256):
            raise ArtifactNotFoundError(f"the {what}, artifact {sha256}, is not in {artifacts.uri}; store it before the commit")


def _lost_race(backend: Backend, node: str, branch: str, expected: str | None, found: str | None, state: str) -> BranchMovedError:
    for kept_as in kept_names(branch, state):
        if backend.move_branch(node, kept_as, None, state) in {None, state}:
            break
    return BranchMovedError(
        f"branch {branch} of node {node} moved while this state was made: expected {expected}, found {found}; "
        f"nothing is lost: the work is branch {kept_as}, to be merged (coevo merge {node}@{branch} {node}@{kept_as} --into "
        f"{node}@{branch}) or continued",
        expected=expected,
        found=found,
        kept_as=kept_as,
    )
