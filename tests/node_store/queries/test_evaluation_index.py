"""The embedded index of evaluations: MongoDB's meaning of filters, compared with mongomock and with rules written out here.

mongomock is wrong in places (against MongoDB's documentation and its matcher's source), so that it is asked about filters in
which it is right, and a small matcher of this module about all: in mongomock true equals 1, ``{"$gte": None}`` overlooks missing
fields, ``{"$all": []}`` matches everything, ``$size`` counts scalars as lists, ``$not`` in ``$elemMatch`` is always true, and
arguments are checked only when a document gets that far.
"""

from __future__ import annotations

import gc
import json
import operator
import random
import re
import threading
from typing import Any

import mongomock
import pytest
from bson.regex import Regex
from hypothesis import given, settings
from hypothesis import strategies as st
from pymongo import MongoClient
from random_filters import filters as optimade_filters

from coevo.errors import QueryError
from coevo.node_store.queries.evaluation_index import MOST_COLUMNS, EvaluationIndex
from coevo.node_store.queries.queries import parse_filter

# --- the rules, one document at a time

MISSING = object()
COMPARISONS = {"$gt": operator.gt, "$gte": operator.ge, "$lt": operator.lt, "$lte": operator.le}


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

NUMBERS = [-1, 0, 1, 1.0, 0.05, 0.1, 2, 3, 16, 1e300, -0.5, 2**40, 2**53 + 1, float(2**53)]
TEXTS = ["", "Li", "P", "S", "Li3PS4", "li", "Ünï🜨", "x'00", 'a"; DROP TABLE evaluation; --', "\x00", "0.1", "1"]
ANYTHING = [[None], NUMBERS, TEXTS, [False, True]]
ODD = [[1, "x"], {"a": 1}, 2**70, []]
numbers, texts = st.sampled_from(NUMBERS), st.sampled_from(TEXTS)
booleans = st.booleans()
lists = st.lists(st.sampled_from(["Li", "P", "S", "Ü"]), max_size=3)
anything = st.none() | numbers | texts | booleans
OF_NUMBERS = ["nsites", "energy_above_hull", "space_group", "fmax", "uncertainty"]
OF_TEXTS = ["formula", "chemsys", "chemical_formula_reduced", "duplicate_of", "kind", "a remark"]
OF_BOOLEANS = ["is_stable", "is_sun", "checked"]
COLUMNS = {
    name: values for names, values in ((OF_NUMBERS, numbers), (OF_TEXTS, texts), (OF_BOOLEANS, booleans)) for name in names
}


def documents(*, mixed: bool) -> Any:
    """Documents in which fields are null or missing at random; mixed ones have values of other types, too.

    They are drawn from a seed: if hypothesis made each of the hundreds of choices, that would take longer than what is tested.
    """

    def drawn(seed: int, most: int) -> list[dict[str, Any]]:
        rng = random.Random(seed)
        return [{"structure_id": f"{i:064x}", **one(rng)} for i in rng.sample(range(10**6), most)]

    def one(rng: random.Random) -> dict[str, Any]:
        def some(*pools: list[Any]) -> Any:
            return rng.choice(rng.choice(pools))

        listed, tagged = (rng.choices(["Li", "P", "S", "Ü"], k=rng.randrange(4)) for _ in range(2))
        row: dict[str, Any] = {
            "elements": some([None], [listed]),
            "relaxed": some([None, {}]),
            "origin": {"seed": 1},
            "tags": tagged,
        }
        for pool, names in ((NUMBERS, OF_NUMBERS), (TEXTS, OF_TEXTS), ([False, True], OF_BOOLEANS)):
            row |= {name: some([None], pool, pool, *ANYTHING) if mixed else some([None], pool) for name in names}
        if mixed:
            row |= {"tags": some([tagged], *ANYTHING, ODD), "fmax": some(NUMBERS, *ANYTHING, ODD), "odd": some(ODD, *ANYTHING)}
        names = [name for name in row if rng.random() < 0.6]
        rng.shuffle(names)
        return {name: row[name] for name in names}

    return st.builds(drawn, st.integers(0, 2**64 - 1), st.integers(0, 14))


def operators(values: Any, *, mixed: bool) -> Any:
    """Conditions on a field of such values."""
    regexes = st.sampled_from(["^Li", "p", "S4$", "", "Ü|Li", r"\d"])
    plain = [
        values,
        *(st.builds(lambda value, name=name: {name: value}, values) for name in (*COMPARISONS, "$eq", "$ne")),
        st.builds(lambda low, high: {"$gte": low, "$lt": high}, values, values),
        st.builds(lambda name, found: {name: found}, st.sampled_from(["$in", "$nin"]), st.lists(values, max_size=3)),
        st.just(None),
        st.sampled_from([{"$ne": None}, {"$eq": None}, {"$exists": True}, {"$exists": False}, {"$in": [None]}, {"$nin": [None]}]),
        st.builds(lambda found: {"$all": found}, st.lists(values, min_size=0 if mixed else 1, max_size=2)),
        st.builds(lambda text, options: {"$regex": text, **options}, regexes, st.sampled_from([{}, {"$options": "i"}])),
        regexes.map(re.compile),
    ]
    if mixed:
        names = ["null", "bool", "string", "object", "array", "number", "double", "int", "date"]
        plain += [
            st.sampled_from([{"$gte": None}, {"$lte": None}, {"$lt": None}]),
            st.sampled_from(names).map(lambda name: {"$type": name}),
            st.integers(0, 3).map(lambda size: {"$size": size}),
        ]
    found = st.one_of(plain)
    return found | st.one_of(plain[1:3] + plain[8:9]).flatmap(
        lambda inner: st.just({"$not": inner if isinstance(inner, dict) else {"$eq": inner}})
    )


def queries(*, mixed: bool) -> Any:
    of_lists = [
        operators(st.sampled_from(["Li", "P", "S", "Na", "Ü"]), mixed=mixed),
        st.integers(0, 3).map(lambda size: {"$size": size}),
        st.builds(lambda bad: {"$not": {"$elemMatch": {"$nin": bad}}}, lists),
        st.builds(lambda low: {"$elemMatch": {"$gt": low, "$ne": "S"}}, st.sampled_from(["", "Li", "P"])),
        st.sampled_from([{"$regex": "^L"}, ["Li", "P"], {"$in": [["Li"], "S", None]}][: 3 if mixed else 2]),
    ]
    if mixed:
        of_lists.append(st.builds(lambda text: {"$elemMatch": {"$not": {"$eq": text}}}, st.sampled_from(["Li", "P"])))
    leaves = [
        st.builds(lambda condition, name=name: {name: condition}, operators(anything if mixed else values, mixed=mixed))
        for name, values in COLUMNS.items()
    ]
    names = ["elements", "tags"]
    leaves += [st.builds(lambda condition, name=name: {name: condition}, st.one_of(of_lists)) for name in names for _ in range(3)]
    leaves.append(st.builds(lambda condition: {"no_such": condition}, operators(anything if mixed else texts, mixed=mixed)))
    leaves.append(st.sampled_from([{"relaxed": None}, {"relaxed": {"$ne": None}}, {"relaxed": {"$exists": True}}]))
    leaf = st.one_of(leaves)
    return st.recursive(
        leaf,
        lambda inner: (
            st.builds(
                lambda word, parts: {word: parts},
                st.sampled_from(["$and", "$or", "$nor"]),
                st.lists(inner, min_size=1, max_size=3),
            )
            | st.builds(lambda first, second: {**first, **second}, inner, inner)
        ),
        max_leaves=5,
    )


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
    from random_filters import DOCUMENTS

    expected = [document["formula"] for document in DOCUMENTS if random_filter.truth(document) is True]
    found = EvaluationIndex(DOCUMENTS).find(parse_filter(random_filter.text), ["formula"])
    assert [document["formula"] for document in found] == expected


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
