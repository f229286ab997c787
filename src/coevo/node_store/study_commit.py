"""Storing a study that was made here: its state is there and has what it names, and so are its files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.errors import ArtifactNotFoundError
from coevo.node_store.runs import now
from coevo.node_store.study_documents import checked_study, misplaced, put_study

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coevo.node_store.store import NodeStore


def commit_study(store: NodeStore, document: Mapping[str, Any]) -> str:
    """Store a study beside its state and return its id; the same study again changes nothing.

    Parameters
    ----------
    store : NodeStore
    document : mapping
        Of :class:`~coevo.node_store.study_documents.StudyDocument`.

    Raises
    ------
    StateNotFoundError
        If the node does not have the state.
    ArtifactNotFoundError
        If a file that it names is not in the artifact store.
    ValueError
        If it is not complete and known, or names what its state has not.
    """
    _, found = checked_study(document)
    view = store.state(f"{found['node']}@{found['state']}")
    if problem := misplaced(found, view.document, view.manifest):
        raise ValueError(problem)
    for file in found["artifacts"]:
        if not store.artifacts.keep(file["sha256"]):
            raise ArtifactNotFoundError(
                f"file {file['name']} ({file['sha256']}) of the study is not in the artifact store; run it again"
            )
    return put_study(store.backend, view.node, found, now())
