"""The OPTIMADE filter language over evaluation documents."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from typing import Any

import mongomock
import pytest
from hypothesis import given, settings
from random_filters import DOCUMENTS, filters

from coevo.errors import QueryError
from coevo.node_store.documents import EvaluationDocument
from coevo.node_store.queries.queries import parse_filter, parse_sort
from coevo.node_store.queries.query_fields import FIELDS
from coevo.node_store.study_documents import ENTRY_FIELDS


@pytest.fixture(scope="module")
def collection() -> Any:
    found = mongomock.MongoClient().db.evaluations
    found.insert_many([dict(document) for document in DOCUMENTS])  # a server adds an id to what it is given
    return found


def formulas(collection: Any, text: str) -> set[str]:
    return {document["formula"] for document in collection.find(parse_filter(text))}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('elements HAS "P" AND energy_above_hull < 0.05', {"Li3P", "Li3PS4"}),
        ("nelements=3", {"Li3PS4", "Li2PS3"}),
        ('elements HAS ALL "Li","S"', {"Li2S", "Li3PS4", "Li2PS3"}),
        ('elements HAS ANY "P","S" AND nsites<20', {"Li2S", "Li3P", "Li3PS4"}),
        ('elements HAS ONLY "Li","S"', {"Li2S", "Li", "S"}),
        ('NOT elements HAS ONLY "Li","S"', {"Li3P", "Li3PS4", "Li2PS3", "P2S5"}),
        ("elements LENGTH 2", {"Li2S", "Li3P", "P2S5"}),
        ("elements LENGTH >= 2 AND NOT elements LENGTH 2", {"Li3PS4", "Li2PS3"}),
        ("is_stable=TRUE", {"Li2S", "Li3P", "Li3PS4", "S"}),
        ("is_stable=FALSE", {"Li2PS3", "Li"}),
        ("NOT is_stable=TRUE", {"Li2PS3", "Li"}),
        ("is_stable IS UNKNOWN", {"P2S5"}),
        ("energy_above_hull IS KNOWN AND duplicate_of IS UNKNOWN", {"Li2S", "Li3PS4", "Li2PS3", "S"}),
        ("energy_above_hull < -1e-3", {"S"}),
        ("0.1 < energy_above_hull", {"Li2PS3", "Li"}),
        ('formula STARTS WITH "Li3"', {"Li3P", "Li3PS4"}),
        ('formula ENDS "S4" OR formula="S"', {"Li3PS4", "S"}),
        ('formula CONTAINS "P(S" OR formula CONTAINS "."', set()),
        ('"Li2S" = formula', {"Li2S"}),
        (f'id="{"0" * 63}2"', {"Li3PS4"}),
        ("", {document["formula"] for document in DOCUMENTS}),
    ],
)
def test_filters(collection, text, expected):
    assert formulas(collection, text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("energy_above_hul < 0.1", r"no field 'energy_above_hul' \(did you mean energy_above_hull\?\); fields: id, .*nsites"),
        ("lattice.a < 3", "no field 'lattice.a'; fields:"),
        ("structures.id = 3", "no field 'structures.id'"),
        ("Energy < 3", "cannot be read from column 1 on: >>>Energy < 3"),
        ("nsites < 3 ANT nsites > 1", "cannot be read from column 12 on: nsites < 3 >>>ANT|cannot be read from column 13"),
        ("nsites <", r"stops in the middle of a comparison \(column 9\)"),
        ("is_stable", "stops in the middle"),
        ("nsites<5 nsites<6", "join them with AND or OR"),
        ('elements = "P"', 'elements is a list of strings; ask for it with HAS "P"'),
        ('nsites HAS "P"', "nsites is a number; ask for it with = !="),
        ("elements HAS 3", "elements is a list of strings and is compared with 3"),
        ("formula = 3", "formula is a string and is compared with 3; write a text in double quotes"),
        ('is_stable = "yes"', 'is_stable is a boolean and is compared with "yes"; write TRUE or FALSE'),
        ("is_stable = 1", "is_stable is a boolean and is compared with 1"),
        ("nsites = TRUE", "nsites is a number and is compared with TRUE"),
        ('nsites CONTAINS "3"', "CONTAINS, STARTS and ENDS are for texts"),
        ("formula CONTAINS 3", "CONTAINS needs a text in double quotes"),
        ("fmax < energy_above_hull", "fields are compared with values only"),
        ("formula CONTAINS chemsys", "CONTAINS needs a text in double quotes"),
        ('elements:nelements HAS "Li":3', "not supported: Correlated list queries"),
        ("elements HAS < 3", "not supported"),
    ],
)
def test_bad_filters_name_the_field_or_the_place(text, message):
    with pytest.raises(QueryError, match=message):
        parse_filter(text)


def test_quotes_in_a_text_are_kept():
    assert parse_filter(r'formula = "a\"b\\c"') == {"formula": {"$eq": 'a"b\\c'}}


def test_every_field_is_one_of_the_evaluation_document_or_derived():
    stored = {field.stored for field in FIELDS.values()}
    known = set(EvaluationDocument.model_fields) | {
        "nelements",
        "chemical_formula_reduced",
        "chemical_formula_anonymous",
        "volume_per_atom",
    }
    assert stored - known == {field.stored for field in FIELDS.values() if field.joined} == set(ENTRY_FIELDS)


def test_sort():
    assert parse_sort("-energy_above_hull, formula,id") == [("energy_above_hull", -1), ("formula", 1), ("structure_id", 1)]
    with pytest.raises(QueryError, match="no field 'energy'"):
        parse_sort("energy")
    with pytest.raises(QueryError, match="is a list and has no order"):
        parse_sort("-elements")
    with pytest.raises(QueryError, match="no field ''"):
        parse_sort("")


@pytest.mark.long
@settings(max_examples=120, deadline=None)
@given(filters)
def test_random_filters_find_what_they_say(collection, random_filter):
    expected = {document["formula"] for document in DOCUMENTS if random_filter.truth(document) is True}
    assert formulas(collection, random_filter.text) == expected, random_filter.text


def test_nothing_of_the_optimade_server_is_started(tmp_path):
    """No configuration file is read, nothing is written, no connection is made."""
    script = textwrap.dedent(
        """
        import os, sys
        seen = []
        def audit(event, arguments):
            if event in {"os.mkdir", "socket.connect", "socket.getaddrinfo", "subprocess.Popen"}:
                seen.append((event, arguments))
            elif event == "open" and (arguments[1] not in (None, "r", "rb") or ".optimade" in str(arguments[0])):
                seen.append((event, arguments))
        sys.dont_write_bytecode = True
        sys.addaudithook(audit)
        from coevo.node_store.queries.queries import parse_filter
        parse_filter('elements HAS "P" AND is_stable=TRUE')
        print(seen)
        """
    )
    (tmp_path / ".optimade.json").write_text("not json")
    environment = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".optimade.json"]
