"""The evaluations of a state against mongomock and the rules of MongoDB's language, on random documents and filters."""

from __future__ import annotations

import json
import operator
import re
from typing import Any

import mongomock
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_filters import DOCUMENTS
from random_filters import filters as optimade_filters
from random_queries import COLUMNS, COMPARISONS, documents, queries

from coevo.node_store.queries.evaluation_index import EvaluationIndex
from coevo.node_store.queries.queries import parse_filter

# --- the rules, one document at a time

MISSING = object()


def rank(value: Any) -> int:
    """Types in BSON's order."""
    kinds = [(bool, 5), ((int, float), 1), (str, 2), (dict, 3), (list, 4)]
    return 0 if value is None or value is MISSING else next(number for kind, number in kinds if isinstance(value, kind))


def same(found: Any, wanted: Any) -> bool:
    if rank(found) != rank(wanted):
        return False
    if isinstance(found, list):
        return len(found) == len(wanted) and all(map(same, found, wanted))
    if isinstance(found, dict):
        return set(found) == set(wanted) and all(same(found[key], wanted[key]) for key in found)
    return rank(found) == 0 or found == wanted


def candidates(value: Any) -> list[Any]:
    return [value, *value] if isinstance(value, list) else [value]


def equals(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, re.Pattern):
        return any(isinstance(item, str) and wanted.search(item) for item in candidates(value))
    return any(same(item, wanted) for item in candidates(value))


def compares(name: str, value: Any, wanted: Any) -> bool:
    if wanted is None:
        return name in {"$gte", "$lte"} and equals(value, None)
    return any(rank(item) == rank(wanted) and COMPARISONS[name](item, wanted) for item in candidates(value))


def is_type(value: Any, name: str) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return {
        "null": value is None,
        "bool": isinstance(value, bool),
        "string": isinstance(value, str),
        "object": isinstance(value, dict),
        "array": isinstance(value, list),
        "number": number,
        "double": isinstance(value, float),
        "int": number and isinstance(value, int) and -(2**31) <= value < 2**31,
        "date": False,
    }[name]


def operates(name: str, value: Any, argument: Any, query: dict[str, Any]) -> bool:
    if name in COMPARISONS:
        return compares(name, value, argument)
    return {
        "$eq": lambda: equals(value, argument),
        "$ne": lambda: not equals(value, argument),
        "$in": lambda: any(equals(value, item) for item in argument),
        "$nin": lambda: not any(equals(value, item) for item in argument),
        "$all": lambda: bool(argument) and all(equals(value, item) for item in argument),
        "$exists": lambda: (value is not MISSING) == bool(argument),
        "$size": lambda: isinstance(value, list) and len(value) == argument,
        "$regex": lambda: equals(value, re.compile(argument, re.IGNORECASE if "i" in query.get("$options", "") else 0)),
        "$options": lambda: True,
        "$type": lambda: any(is_type(item, argument) for item in candidates(value)),
        "$not": lambda: not conditions(value, argument),
        "$elemMatch": lambda: isinstance(value, list) and any(conditions(item, argument) for item in value),
    }[name]()


def conditions(value: Any, query: Any) -> bool:
    if isinstance(query, dict) and query and next(iter(query)).startswith("$"):
        return all(operates(name, value, argument, query) for name, argument in query.items())
    return equals(value, query)


def applies(query: dict[str, Any], document: dict[str, Any]) -> bool:
    def entry(name: str, value: Any) -> bool:
        if name == "$and":
            return all(applies(part, document) for part in value)
        if name == "$or":
            return any(applies(part, document) for part in value)
        if name == "$nor":
            return not any(applies(part, document) for part in value)
        return conditions(document.get(name, MISSING), value)

    return all(entry(name, value) for name, value in query.items())


# --- random documents and filters


def oracle(documents: list[dict[str, Any]]) -> Any:
    collection: Any = mongomock.MongoClient().db.evaluations
    if documents:
        collection.insert_many([dict(document) for document in documents])
    return collection


sorts = st.lists(
    st.tuples(st.sampled_from([*COLUMNS, "structure_id", "no_such", "origin.seed"]), st.sampled_from([1, -1])), max_size=3
)


@settings(max_examples=250, deadline=None)
@given(documents(mixed=False), queries(mixed=False), sorts, st.integers(0, 5), st.integers(0, 3))
def test_filters_sort_limit_and_skip_are_as_mongomock_has_them(documents, query, sort, limit, skip):
    cursor = oracle(documents).find(query, {"_id": False}).sort([*sort, ("structure_id", 1)]).skip(skip)
    expected = list(cursor.limit(limit) if limit else cursor)
    found = list(EvaluationIndex(documents).find(query, sort=sort, limit=limit, skip=skip))
    assert found == expected
    assert [sorted(document) for document in found] == [list(document) for document in found]


@pytest.mark.long
@settings(max_examples=350, deadline=None)
@given(documents(mixed=True), queries(mixed=True))
def test_filters_over_values_of_any_type_follow_the_rules(documents, query):
    expected = sorted(document["structure_id"] for document in documents if applies(query, document))
    index = EvaluationIndex(documents)
    assert [document["structure_id"] for document in index.find(query)] == expected
    assert [document["structure_id"] for document in index.find({"$nor": [query]})] == sorted(
        {document["structure_id"] for document in documents} - set(expected)
    )


@settings(max_examples=150, deadline=None)
@given(documents(mixed=True))
def test_documents_come_back_as_they_were_to_the_bit(documents):
    ordered = sorted(documents, key=operator.itemgetter("structure_id"))
    dumped = [json.dumps(document, sort_keys=True) for document in ordered]
    index = EvaluationIndex(iter(documents))
    assert [json.dumps(document) for document in index.find({})] == dumped
    wanted = {"formula", "tags", "uncertainty", "no_such", "elements"}
    for found, document in zip(index.find({}, wanted), ordered, strict=True):
        assert found == {name: value for name, value in document.items() if name in wanted}


@settings(max_examples=60, deadline=None)
@given(optimade_filters)
def test_optimade_filters(random_filter):
    expected = [document["formula"] for document in DOCUMENTS if random_filter.truth(document) is True]
    found = EvaluationIndex(DOCUMENTS).find(parse_filter(random_filter.text), ["formula"])
    assert [document["formula"] for document in found] == expected
