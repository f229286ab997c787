"""Documents as text: canonical JSON is cut, joined and read, and no number is written twice or another way."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from li_p_s_states import evaluation, make_structure, structure_row

from coevo.node_store.canonical import dump_plain, plain, read_plain, reduced, structure_document_id, structure_text_id
from coevo.node_store.documents import DERIVED_EVALUATION_FIELDS, with_derived_fields
from coevo.node_store.prepared_documents import (
    CheckedDocuments,
    Line,
    ReadTexts,
    cut_out,
    joined_evaluation,
    joined_text,
    split_evaluation,
    without_fields,
)

floats = st.floats(allow_nan=False, allow_infinity=False)
leaves = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | floats | st.text()
keys = st.text(max_size=6)
values = st.recursive(leaves, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=8)
documents = st.dictionaries(keys, values, max_size=5)


@given(documents)
def test_reduced_values_are_the_plain_ones(document):
    try:
        expected = dump_plain(plain(document))
    except UnicodeEncodeError:  # half a surrogate pair is no text
        with pytest.raises(ValueError):
            reduced(document)
        return
    text, found = reduced(document)
    assert text == expected
    assert dump_plain(found) == expected
    assert found == document


@given(st.lists(floats))
def test_numbers_are_read_as_the_standard_library_reads_them(numbers):
    text = json.dumps(numbers).encode()
    assert [x.hex() for x in read_plain(text)] == [x.hex() for x in json.loads(text)]


def test_what_is_no_plain_json_is_reduced_or_refused():
    row = {"a": np.float32(0.1), "b": np.arange(3), "c": (1, -0.0), "d": np.bool_(True), "e": [np.array([-0.0])]}
    text, found = reduced(row)
    assert text == b'{"a":0.10000000149011612,"b":[0,1,2],"c":[1,0.0],"d":true,"e":[[0.0]]}'
    assert math.copysign(1, found["c"][1]) == 1
    for wrong in ({1: "a"}, {None: 1}, {"a": math.nan}, {"a": {2}}, {"a": b"bytes"}, {"a": [{"b": math.inf}]}, {"a": {True: 1}}):
        with pytest.raises(ValueError):
            reduced(wrong)


@given(st.sampled_from(["Li2S", "Li3PS4", "P2S5"]), st.integers(0, 10**6), st.sampled_from([1.0, 1e-20, 1e18, -1.0, 0.0]))
def test_the_id_of_a_text_is_that_of_its_structure(formula, seed, factor):
    row = structure_row(make_structure(formula, seed))
    row["structure"]["sites"][0]["abc"] = [factor * x for x in row["structure"]["sites"][0]["abc"]]
    text, document = reduced(row["structure"])
    assert structure_text_id(text) == structure_document_id(document)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d["sites"][1]["species"][0].update(occu=0.5),
        lambda d: d["sites"][1]["species"][0].update(oxidation_state=1),
        lambda d: d["sites"][0]["species"].append({"element": "P", "occu": 0.25}),
        lambda d: d.update(charge=1.0),
        lambda d: d["sites"][0].update(label="Li1"),
        lambda d: d["sites"].clear(),
    ],
)
def test_ids_of_texts_of_other_structures(change):
    document = structure_row(make_structure("Li2S", 1))["structure"]
    change(document)
    assert structure_text_id(dump_plain(document)) == structure_document_id(document)


@given(documents, st.dictionaries(keys, values, min_size=1, max_size=4), st.text(max_size=3))
def test_a_dictionary_is_cut_out_of_a_text(document, part, key):
    try:
        text, document = reduced({**document, key: part})
    except ValueError:
        return
    rest, cut = cut_out(document, text, key)
    assert (rest, cut) == (dump_plain({**document, key: {}}), dump_plain(document[key]))


@pytest.mark.parametrize("note", [None, {"relaxed": {}}, {"relaxed": {"a": 1}}, 'a "relaxed":{} text'])
@pytest.mark.parametrize("moved", [True, False])
def test_evaluations_are_split_and_joined(moved, note):
    text, document = reduced({**evaluation(make_structure("Li3P", 2), "entry", 2, moved=moved), "note": note})
    split = split_evaluation(document, text)
    assert (split.geometry is not None) == moved
    assert joined_evaluation(split) == document
    assert joined_text(split) == text
    del document["relaxed"]
    assert joined_text(split_evaluation(document, dump_plain(document))) == dump_plain(document)


@pytest.mark.parametrize("note", [None, {"nelements": 2}, "x"])
def test_derived_fields_are_cut_out_of_a_text(note):
    document = plain({**evaluation(make_structure("Li3P", 2), "entry", 2, moved=True), "note": note})
    whole = with_derived_fields(document)
    assert without_fields(whole, dump_plain(whole), DERIVED_EVALUATION_FIELDS) == dump_plain(document)
    assert without_fields(document, dump_plain(document), DERIVED_EVALUATION_FIELDS) == dump_plain(document)


def test_documents_are_the_same_however_they_are_read():
    rows = [plain(structure_row(make_structure("Li2S", seed))) for seed in range(3)]
    texts = [dump_plain(row) for row in rows]
    lines = [Line(row["_id"], text) for row, text in zip(rows, texts, strict=True)]
    one, two = CheckedDocuments(lines), ReadTexts(lambda: iter(texts))
    for _ in range(2):
        assert list(one) == list(two) == rows
        assert list(one.lines()) == list(two.lines()) == lines
        assert list(one.texts()) == list(two.texts()) == texts
        assert list(one.ids()) == list(two.ids())
