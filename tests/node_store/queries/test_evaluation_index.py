"""The embedded index of evaluations: MongoDB's meaning of filters, compared with mongomock and with rules written out here.

mongomock is wrong in places (against MongoDB's documentation and its matcher's source), so that it is asked about filters in
which it is right, and a small matcher of this module about all: in mongomock true equals 1, ``{"$gte": None}`` overlooks missing
fields, ``{"$all": []}`` matches everything, ``$size`` counts scalars as lists, ``$not`` in ``$elemMatch`` is always true, and
arguments are checked only when a document gets that far.
"""

from __future__ import annotations

import gc
import re
import threading
from typing import Any

import pytest
from bson.regex import Regex
from hypothesis import given, settings
from pymongo import MongoClient
from random_queries import documents, queries

from coevo.errors import QueryError
from coevo.node_store.queries.evaluation_index import MOST_COLUMNS, EvaluationIndex

# --- single cases

DOCUMENTS = [
    {
        "structure_id": f"{i:064x}",
        "kind": "entry",
        "formula": formula,
        "elements": elements,
        "nsites": nsites,
        "energy_above_hull": e_hull,
        "is_stable": stable,
        "relaxed": {} if i % 2 else None,
        "origin": {"operator": "random", "seeds": [i, 10]},
        "tags": ["new"] if i % 2 else [],
    }
    for i, (formula, elements, nsites, e_hull, stable) in enumerate(
        [
            ("Li2S", ["Li", "S"], 3, 0.0, True),
            ("Li3P", ["Li", "P"], 8, None, None),
            ("Li3PS4", ["Li", "P", "S"], 16, 0.04, True),
            ("P2S5", ["P", "S"], 28, 0.3, False),
        ]
    )
]


@pytest.fixture(scope="module")
def index() -> EvaluationIndex:
    return EvaluationIndex(DOCUMENTS)


def formulas(index: EvaluationIndex, query: Any, **how: Any) -> list[str]:
    return [document["formula"] for document in index.find(query, ["formula"], **how)]


FOUND: list[tuple[dict[str, Any], list[str]]] = [
    ({"energy_above_hull": {"$lt": "x"}}, []),
    ({"energy_above_hull": {"$gte": None}}, ["Li3P"]),
    ({"is_stable": 1}, []),
    ({"nsites": 8.0}, ["Li3P"]),
    ({"nsites": {"$in": [3, 28.0, "8", None]}}, ["Li2S", "P2S5"]),
    ({"nsites": {"$in": list(range(4, 5000))}}, ["Li3P", "Li3PS4", "P2S5"]),
    ({"nsites": {"$nin": [*range(4, 5000), None]}}, ["Li2S"]),
    ({"nsites": {"$gt": float("nan")}}, []),
    ({"nsites": {"$lt": float("inf")}}, ["Li2S", "Li3P", "Li3PS4", "P2S5"]),
    ({"nsites": {"$all": []}}, []),
    ({"nsites": {"$size": 1}}, []),
    ({"nsites.x": None, "nsites": 3}, ["Li2S"]),
    ({"elements": ["Li", "S"]}, ["Li2S"]),
    ({"elements": ["S", "Li"]}, []),
    ({"elements": {"$all": [re.compile("^L"), "P"]}}, ["Li3P", "Li3PS4"]),
    ({"elements": {"$all": [{"$elemMatch": {"$gt": "P"}}, {"$elemMatch": {"$lt": "M"}}]}}, ["Li2S", "Li3PS4"]),
    ({"elements": {"$elemMatch": {"symbol": "Li"}}}, []),
    ({"elements": {"$size": 2.0}, "elements.0": "P"}, ["P2S5"]),
    ({"elements": {"$gt": ["Li", "P"]}}, ["Li2S", "Li3PS4", "P2S5"]),
    (
        {"elements": {"$type": "array"}, "nsites": {"$type": 16}, "kind": {"$type": ["int", "string"]}, "formula": "Li3P"},
        ["Li3P"],
    ),
    ({"formula": {"$in": [re.compile("^li2", re.IGNORECASE), Regex("5$"), "Li3P"]}}, ["Li2S", "Li3P", "P2S5"]),
    ({"formula": {"$not": re.compile("S")}}, ["Li3P"]),
    ({"formula": {"$regex": re.compile("^LI3"), "$options": "i"}}, ["Li3P", "Li3PS4"]),
    ({"formula": {"$eq": re.compile("Li")}}, []),
    ({"$comment": "mine", "kind": "entry", "nsites": {"$gt": 20}}, ["P2S5"]),
    ({"origin.operator": "random", "nsites": 3}, ["Li2S"]),
    ({"origin.seeds": {"$gte": 11}}, []),
    ({"origin.seeds": 3}, ["P2S5"]),
    ({"origin": {"$type": "object"}, "tags": "new"}, ["Li3P", "P2S5"]),
    ({"tags": {"$not": {"$size": 1}}}, ["Li2S", "Li3PS4"]),
    ({"$expr": {"$gt": ["$nsites", 10]}}, ["Li3PS4", "P2S5"]),
    ({"$or": [{"$expr": {"$gt": ["$nsites", 20]}}, {"nsites": 3}]}, ["Li2S", "P2S5"]),
    ({"is_stable": {"$type": "bool"}}, ["Li2S", "Li3PS4", "P2S5"]),
    ({"energy_above_hull": {"$type": 10}}, ["Li3P"]),
    ({"no_such": {"$type": "null"}}, []),
    ({"relaxed": {"$ne": None}}, ["Li3P", "P2S5"]),
    ({"relaxed": {"$type": "object"}}, ["Li3P", "P2S5"]),
]


@pytest.mark.parametrize(("query", "expected"), FOUND)
def test_what_filters_find(index, query, expected):
    assert formulas(index, query) == expected


@pytest.mark.service
def test_a_server_finds_the_same(mongodb_uri):
    """The rules of this module and those of a server that others wrote."""
    with MongoClient(mongodb_uri) as client:
        collection = client.get_default_database().evaluations
        collection.insert_many([dict(document) for document in DOCUMENTS])
        for query, expected in FOUND:
            assert [document["formula"] for document in collection.find(query).sort("structure_id", 1)] == expected, query

        @settings(max_examples=80, deadline=None)
        @given(documents(mixed=True), queries(mixed=True))
        def compare(documents, query):
            stored = [{name: value for name, value in document.items() if value != 2**70} for document in documents]
            collection.delete_many({})
            if stored:
                collection.insert_many([dict(document) for document in stored])
            expected = list(collection.find(query, {"_id": False}).sort("structure_id", 1))
            assert list(EvaluationIndex(stored).find(query)) == expected

        compare()


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (
            {"nsites": {"$nonsense": 1}},
            r"the filter \{'nsites': \{'\$nonsense': 1\}\} is not valid: unknown operator: \$nonsense;",
        ),
        ({"nsites": {"$gt": 1, "x": 2}}, "unknown operator: x"),
        ({"$nonsense": 1}, r"unknown operator: \$nonsense"),
        ({"no_such": {"$nonsense": 1}}, r"unknown operator: \$nonsense"),
        ({"tags": {"$not": {"$nonsense": 1}}}, r"unknown operator: \$nonsense"),
        ({"nsites": {"$elemMatch": {"$nonsense": 1}}}, r"unknown operator: \$nonsense"),
        (
            {"$or": [{"nsites": 3}, {"nsites": {"$elemMatch": {"$or": [{"x": {"$nonsense": 1}}]}}}]},
            r"unknown operator: \$nonsense",
        ),
        ({"nsites": {"$mod": [2, 0]}}, r"does not support the operator \$mod"),
        ({"$where": "this.nsites > 3"}, r"does not support the operator \$where"),
        ({"$and": []}, r"\$and needs a list of filters that is not empty, got \[\]"),
        ({"$or": {"nsites": 3}}, r"\$or needs a list"),
        ({"$nor": [3]}, "a filter is a dictionary, got 3"),
        ([], r"a filter is a dictionary, got \[\]"),
        ({"nsites": {"$in": 3}}, r"\$in needs a list, got 3"),
        ({"nsites": {"$nin": "abc"}}, r"\$nin needs a list, got 'abc'"),
        ({"nsites": {"$in": [{"$gt": 3}]}}, r"\$in needs a list of values, and no operators"),
        ({"elements": {"$all": "Li"}}, r"\$all needs a list"),
        ({"elements": {"$all": ["Li", {"$elemMatch": {"$gt": "a"}}]}}, r"\$all needs a list of values, or of \$elemMatch only"),
        ({"elements": {"$size": -1}}, r"\$size needs a whole number"),
        ({"elements": {"$size": "2"}}, r"\$size needs a whole number"),
        ({"elements": {"$elemMatch": "Li"}}, r"\$elemMatch needs operators or a filter, got 'Li'"),
        ({"nsites": {"$not": 3}}, r"\$not needs a regular expression or operators, got 3"),
        ({"nsites": {"$not": {}}}, r"\$not needs a regular expression or operators"),
        ({"formula": {"$regex": "("}}, r"\$regex '\(' is not a regular expression: missing \)"),
        ({"formula": {"$regex": 3}}, r"\$regex needs a text"),
        ({"formula": re.compile(b"x")}, r"\$regex needs a text"),
        ({"formula": {"$regex": "x", "$options": "q"}}, r"\$options are letters of imsxu, got 'q'"),
        ({"formula": {"$options": "i"}}, r"\$options needs a \$regex beside it"),
        ({"formula": {"$ne": re.compile("x")}}, r"\$ne cannot compare with a regular expression"),
        ({"formula": {"$gt": re.compile("x")}}, r"\$gt cannot compare with a regular expression"),
        ({"nsites": {"$type": "nonsense"}}, r"\$type needs names or numbers of types \(double, .*\), got 'nonsense'"),
        ({"nsites": {"$gt": 2**63}}, "9223372036854775808 is a int, and documents hold .* integers of 64 bits"),
        ({"nsites": {1, 2}}, "is a set, and documents hold"),
        ({"formula": "\ud800"}, "is not a text of Unicode"),
        ({3: 1}, "names of fields are texts, got 3"),
        ({"relaxed": {"lattice": 1}}, "a relaxed geometry can only be compared with null"),
        ({"relaxed": {"$in": [None, {}]}}, "a relaxed geometry can only be compared with null"),
        ({"relaxed.lattice": 1}, r"cannot look into 'relaxed\.lattice'"),
        ({"$expr": {"$nonsense": 1}}, r"the filter .*\$expr.* is not valid: .*\$nonsense"),
    ],
)
def test_bad_filters_name_the_filter_and_the_operator(index, query, message):
    for found in (index, EvaluationIndex([])):
        if "$expr" in query and found is not index:
            continue  # its argument is only looked at together with a document
        with pytest.raises(QueryError, match=message):
            list(found.find(query))


def test_no_word_of_a_user_is_part_of_a_statement(index):
    hostile = "c0) OR 1=1; DROP TABLE evaluation; --"
    document = {"structure_id": "a" * 64, hostile: hostile, 'x"': 1, "x'": 2, "c0": 3, "present": 4, "?": 5}
    small = EvaluationIndex([document])
    statements: list[str] = []
    original = small._rows
    small._rows = lambda sql, parameters, query: [statements.append(sql), original(sql, parameters, query)][1]
    for name, value in list(document.items())[1:]:
        for query in ({name: value}, {name: {"$in": [value]}}, {name: {"$gte": value}}, {"$nor": [{name: {"$ne": value}}]}):
            assert list(small.find(query, [name], [(name, -1)])) == [{name: value}]
    assert list(small.find({"formula": hostile, hostile: {"$regex": re.escape(hostile)}}, sort=[(hostile + "x", 1)])) == []
    assert statements
    for sql in statements:
        assert re.fullmatch(r"[\w\s?(),=<>&'.|]*", sql), sql
        assert "DROP" not in sql
    assert list(small.find({})) == [dict(sorted(document.items()))]
    with pytest.raises(QueryError):
        list(small.find({hostile: {hostile: 1, "$gt": 1}, "nsites": {"$" + hostile: 1}}))


def test_nested_and_long_filters(index):
    query: dict[str, Any] = {"nsites": {"$gt": 3}}
    for _ in range(24):
        query = {"$or": [{"$and": [query, {"kind": "entry"}]}, {"$nor": [{"kind": "entry"}]}]}
    assert formulas(index, query) == ["Li3P", "Li3PS4", "P2S5"]
    with pytest.raises(QueryError, match="nested more than 50 levels"):
        list(index.find({"$and": [{"$and": [{"$and": [query]}]}, {"$or": [query]}]}))
    condition: dict[str, Any] = {"$gt": 3}
    for _ in range(14):
        condition = {"$not": condition}
    assert formulas(index, {"nsites": condition}) == ["Li3P", "Li3PS4", "P2S5"]
    for _ in range(30):
        condition = {"$not": {"$lt": 99, "$not": condition}}
    with pytest.raises(QueryError, match="nested"):
        list(index.find({"nsites": condition}))
    many = [{"nsites": i, "kind": "entry"} for i in range(5, 3000)]
    assert formulas(index, {"$or": many}) == ["Li3P", "Li3PS4", "P2S5"]


def test_sorting(index):
    assert formulas(index, {}, sort=[("energy_above_hull", 1)]) == ["Li3P", "Li2S", "Li3PS4", "P2S5"]
    assert formulas(index, {}, sort=[("is_stable", -1), ("nsites", -1)]) == ["Li3PS4", "Li2S", "P2S5", "Li3P"]
    assert formulas(index, {}, sort=[("structure_id", -1), ("nsites", 1)]) == ["P2S5", "Li3PS4", "Li3P", "Li2S"]
    assert formulas(index, {}, sort=[("origin.operator", 1), ("no_such", 1), ("nsites", -1)], limit=1, skip=1) == ["Li3PS4"]
    for sort, message in (
        ([("elements", 1)], "elements is a list or a dictionary and has no order"),
        ([("tags", 1)], "sort: tags is a list in a document and has no order"),
        ([("origin", -1)], "sort: origin is a dict in a document"),
        ([("nsites", 2)], r"\('nsites', 2\) is no pair of a field and a direction"),
    ):
        with pytest.raises(QueryError, match=message):
            list(index.find({}, sort=sort))
    for how in ({"limit": -1}, {"skip": -1}, {"limit": 1.5}):
        with pytest.raises(QueryError, match="whole number that is not negative"):
            list(index.find({}, **how))


def test_iterators_do_not_disturb_each_other():
    index = EvaluationIndex([{"structure_id": f"{i:064x}", "nsites": i, "tags": [i]} for i in range(500)])
    first = index.find({"tags": {"$gte": 100}}, sort=[("nsites", -1)])
    second = index.find({"nsites": {"$regex": "x"}})
    third = index.find({"tags": {"$gte": 100}})
    assert next(first)["nsites"] == 499
    assert list(second) == []
    pairs = [(a["nsites"], b["nsites"]) for a, b in zip(first, third, strict=False)]
    assert pairs == [(498 - i, 100 + i) for i in range(399)]
    abandoned = index.find({"tags": {"$gte": 0}})
    next(abandoned)
    abandoned.close()
    del first, third
    gc.collect()
    assert index._calls._functions == {}
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.extend(index.find({"tags": 7})))
    thread.start()
    thread.join()
    assert [document["nsites"] for document in found] == [7]


def test_an_iterator_keeps_its_index():
    found = EvaluationIndex(DOCUMENTS).find({"tags": "new"})
    gc.collect()
    assert [document["formula"] for document in found] == ["Li3P", "P2S5"]


def test_more_fields_than_columns():
    documents = [{"structure_id": f"{i:064x}", f"f{i}": i, "f0": -i} for i in range(2 * MOST_COLUMNS)]
    index = EvaluationIndex(documents)
    assert list(index.find({})) == [dict(sorted(document.items())) for document in documents]
    last = 2 * MOST_COLUMNS - 1
    assert list(index.find({f"f{last}": {"$gt": 3}})) == [{"f0": -last, f"f{last}": last, "structure_id": f"{last:064x}"}]
    assert next(index.find({}, ["f0"], sort=[(f"f{last}", -1)])) == {"f0": -last}
