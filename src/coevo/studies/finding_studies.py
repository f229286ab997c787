"""Finding a study beside a state by what a person types: the beginning of its id, or its kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.errors import QueryError
from coevo.node_store.queries.joined_fields import asks_studies
from coevo.output.plain_text import counted
from coevo.studies.study_words import SHORT_ID

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coevo.node_store.store import NodeStore
    from coevo.node_store.study_documents import StoredStudy
    from coevo.node_store.views import StateView


def find_study(store: NodeStore, view: StateView, what: str | None) -> StoredStudy:
    """Return a study: of a state the newest, or the newest of a kind; or the one of its node whose id begins so.

    Raises
    ------
    QueryError
        If there is none, or several begin so.
    """
    studies = view.studies()
    where = f"{view.node}@{view.id[:12]}"
    of_kind = [study for study in studies if what in (None, study.study)]
    if of_kind:
        return of_kind[-1]
    if what is None:
        raise QueryError(f"there is no study of {where}; of other states: coevo study list {view.node}; coevo study makes one")
    found = [study for study in store.studies(view.node) if what and study.id.startswith(what)]
    if len(found) != 1:
        known = ", ".join(f"{study.study} {study.id[:SHORT_ID]}" for study in studies[::-1][:5]) or "none"
        raise QueryError(
            f"{len(found) or 'no'} studies of {view.node} are of the kind, or have an id that begins with {what!r:.80}; "
            f"of {where} there are: {known}"
        )
    return found[0]


def unstudied_hints(view: StateView, query: Mapping[str, Any]) -> list[str]:
    """Say of how many entries studies speak, where a filter asks for what they say; nothing of other filters."""
    if not asks_studies(query):
        return []
    number = view.count_entries({"dynamically_stable": {"$in": [True, False]}})
    said = f"dynamically_stable is said of {counted(number, 'entries')} of this state, by its studies (coevo study list)"
    return [f"{said}; of all others it is unknown"]
