"""Fields that studies say of entries, joined when they are asked for: no document of a state holds them.

A condition on such a field becomes one on ids, which every database answers: of the entries that studies say something of, those
that fulfil it. What no study speaks of lacks the field, with the meaning that a missing field has in a filter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.node_store.study_documents import ENTRY_FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from coevo.node_store.study_documents import StoredStudy

Said = dict[str, dict[str, Any]]
"""Structure id to fields and values."""

_LISTS = ("$and", "$or", "$nor")


def said_by(studies: Iterable[StoredStudy], force_field: str) -> Said:
    """Return what studies say of entries and references; of several that do, the newest that was made here counts.

    One that came in a bundle counts only where none that was made here says anything.

    Parameters
    ----------
    studies : iterable of StoredStudy
        Of one state, in the order in which they were stored.
    force_field : str
        sha256 of the state's; studies by another one are left out.
    """
    found: Said = {}
    for study in sorted(studies, key=lambda study: not study.origin):
        if study.document["checkpoints"].get("force_field") == force_field:
            for identifier, fields in study.document["entries"].items():
                found[identifier] = {**found.get(identifier, {}), **{k: v for k, v in fields.items() if k in ENTRY_FIELDS}}
    return found


def asks_studies(query: Any) -> bool:
    """Whether a MongoDB filter has a condition on a field that studies say."""
    if isinstance(query, dict):
        return any(key in ENTRY_FIELDS or (key in _LISTS and asks_studies(value)) for key, value in query.items())
    return isinstance(query, (list, tuple)) and any(map(asks_studies, query))


def with_ids(query: Any, said: Callable[[], Said]) -> Any:
    """Return a MongoDB filter whose conditions on such fields are conditions on ids; any other as it is.

    Parameters
    ----------
    query : dict
    said : callable
        Returns what studies say; called only if it is needed.

    Raises
    ------
    QueryError
        If a condition is not valid.
    """
    return _with_ids(query, said()) if asks_studies(query) else query


def _with_ids(query: Any, said: Said) -> Any:
    if not isinstance(query, dict):
        return query
    others: dict[str, Any] = {}
    conditions = []
    for key, value in query.items():
        if key in ENTRY_FIELDS:
            conditions.append(_condition(key, value, said))
        elif key in _LISTS and isinstance(value, (list, tuple)):
            others[key] = [_with_ids(item, said) for item in value]
        else:
            others[key] = value
    return {"$and": [*([others] if others else []), *conditions]} if conditions else others


def _condition(field: str, condition: Any, said: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The condition that a field fulfils something, as one on ids; what "fulfils" means is the filters' own answer."""
    from coevo.node_store.queries.evaluation_index import EvaluationIndex

    values = {identifier: fields[field] for identifier, fields in said.items() if field in fields}
    kinds = sorted(set(values.values()))
    documents = [{"structure_id": "missing"}, *({"structure_id": f"value {n}", field: value} for n, value in enumerate(kinds))]
    passing = {row["structure_id"] for row in EvaluationIndex(documents).find({field: condition}, ["structure_id"])}
    names = {value: f"value {n}" for n, value in enumerate(kinds)}
    if "missing" in passing:
        return {"structure_id": {"$nin": sorted(i for i, value in values.items() if names[value] not in passing)}}
    return {"structure_id": {"$in": sorted(i for i, value in values.items() if names[value] in passing)}}
