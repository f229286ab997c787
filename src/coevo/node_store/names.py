"""Names of states: ``node``, ``node@branch``, ``node@branch~n`` and ``node@<beginning of an id>``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from coevo.errors import CorruptArtifactError, StateNotFoundError
from coevo.node_store.views import StateView, open_state

if TYPE_CHECKING:
    from coevo.node_store.backend import Backend
    from coevo.node_store.blobs.artifacts import ArtifactStore

MAIN = "main"
_REFERENCE = re.compile(r"(?P<node>[^@~\s]+)(?:@(?P<name>[^@~\s]+))?(?:~(?P<back>[0-9]{1,9}))?")
_PREFIX = re.compile(r"[0-9a-f]{4,64}")


class Reference(NamedTuple):
    """A parsed name of a state.

    Attributes
    ----------
    text : str
        As it was written.
    node : str
    name : str
        A branch, or the beginning of an id.
    back : int
        How many states before it.
    """

    text: str
    node: str
    name: str
    back: int


def parse_reference(text: str) -> Reference:
    """Read the name of a state.

    Raises
    ------
    StateNotFoundError
        If it cannot be a name.
    """
    match = _REFERENCE.fullmatch(text)
    if not match:
        what = "is no reference" if text.strip() else "is empty and no reference"
        raise StateNotFoundError(f"{text!r} {what} to a state; write NODE, NODE@BRANCH, NODE@BRANCH~N or NODE@ID, without blanks")
    return Reference(text, match["node"], match["name"] or MAIN, int(match["back"] or 0))


def find_state(backend: Backend, artifacts: ArtifactStore, reference: Reference) -> StateView:
    """Open the state of that name in an existing node.

    Raises
    ------
    StateNotFoundError
        If no state answers to it; the message says what there is.
    CorruptArtifactError
        If the branch is at a state that is not stored.
    """
    node = reference.node
    view = open_state(backend, artifacts, node, _find(backend, node, reference.name))
    for step in range(reference.back):
        parent = view.parent()
        if parent is None:
            raise StateNotFoundError(
                f"{reference.text!r} goes {reference.back} states back, but {node}@{reference.name} has only {step} before it"
            )
        view = parent
    return view


def _find(backend: Backend, node: str, name: str) -> str:
    branches = backend.branches(node)
    if name in branches:
        if backend.state_document(node, branches[name]) is None:
            raise CorruptArtifactError(
                f"branch {name} of node {node} is at state {branches[name]}, which is not stored any more; restore the state "
                "from a copy"
            )
        return branches[name]
    found = backend.state_ids(node, name) if _PREFIX.fullmatch(name) else []
    if len(found) == 1:
        return found[0]
    if found:
        shown = ", ".join(state[:16] for state in found[:10])
        raise StateNotFoundError(f"{node}@{name} is ambiguous: {len(found)} states start with it ({shown}); give more digits")
    if not branches:
        raise StateNotFoundError(f"node {node} has no state yet; run coevo init again, which makes the first one")
    if _PREFIX.fullmatch(name.lower()) and name != name.lower():
        raise StateNotFoundError(f"node {node} has no branch {name!r}; an id is written in small letters: {node}@{name.lower()}")
    known = ", ".join(f"{branch} ({state[:8]})" for branch, state in branches.items())
    raise StateNotFoundError(f"node {node} has no branch or state {name!r}; branches: {known}; an id needs at least 4 digits")
