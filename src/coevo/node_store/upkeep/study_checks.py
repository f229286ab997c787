"""Checks of the studies of a node: each is the document of its id, complete and known, and of a state that is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coevo.errors import CorruptArtifactError
from coevo.node_store.backend_upkeep import Finding
from coevo.node_store.study_documents import checked_study, misplaced, note_key, read_study, study_keys
from coevo.node_store.upkeep.backends import upkeep_of
from coevo.node_store.views import open_state

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Collection, Iterator

    from coevo.node_store.backend import Backend
    from coevo.node_store.store import NodeStore
    from coevo.node_store.study_documents import StoredStudy
    from coevo.node_store.upkeep.artifact_checks import ArtifactChecks

AGAIN = "restore it from a copy, or run the study again"


def check_studies(
    store: NodeStore, node: str, states: Collection[str], checks: ArtifactChecks, counts: Counter[str]
) -> Iterator[Finding]:
    """Check all studies of a node.

    Parameters
    ----------
    store : NodeStore
    node : str
    states : collection of str
        States whose documents are whole.
    checks : ArtifactChecks
        Is told of the files.
    counts : Counter
        Gets the number of ``studies``.
    """
    upkeep = upkeep_of(store.backend)
    reader = upkeep.reader()
    for state, identifier in study_keys(reader, node):
        counts["studies"] += 1
        where = f"study {identifier} of {node}@{state}"
        try:
            reader.note(node, note_key(state, identifier))
        except upkeep.damage:
            continue  # the note itself is damaged, which is said where notes are looked at
        try:
            study = read_study(reader, node, state, identifier)
            problem = "" if study is None else _problem(store, reader, node, study, states)
        except CorruptArtifactError as err:
            study, problem = None, str(err)
        except upkeep.damage as err:
            study, problem = None, f"{type(err).__name__}: {err}"
        if problem:
            yield Finding("problem", problem, where, AGAIN)
        elif study is not None:
            checks.study(where, study.document["artifacts"])


def _problem(store: NodeStore, reader: Backend, node: str, study: StoredStudy, states: Collection[str]) -> str:
    try:
        checked_study(study.document)
    except ValueError as err:
        return str(err)
    if study.state not in states:
        return "its state is damaged or not stored"
    view = open_state(reader, store.artifacts, node, study.state)
    return misplaced(study.document, view.document, view.manifest)
