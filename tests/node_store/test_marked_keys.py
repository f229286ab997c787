"""Keys that a decoder acts on: none passes, at whatever depth, and nothing else is taken for one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings, strategies
from monty.json import MontyDecoder

from coevo.node_store.canonical import dump_plain, structure_document
from coevo.node_store.known_fields import (
    GEOMETRY,
    refuse_marked_geometry,
    refuse_marked_keys,
    refuse_marked_text,
)

PLAIN_MARKS = ("@module", "@class", "@callable", "@bound", "@version", "@enum", "@object_type", "@", "$", "$oid", "$where")
MARKED = (*PLAIN_MARKS, '@"x', "$\\", "_fw_name")
texts = strategies.one_of(
    strategies.text(max_size=6), strategies.sampled_from([*MARKED, '{"@module":"os"}', '","@class":"', '\\","@x":', "a@b", "x$"])
)
keys = texts.filter(lambda key: key[:1] not in {"@", "$"} and key != "_fw_name")
leaves = strategies.one_of(strategies.none(), strategies.booleans(), strategies.integers(-5, 5), texts)
trees = strategies.recursive(
    leaves, lambda inner: strategies.lists(inner, max_size=3) | strategies.dictionaries(keys, inner, max_size=3), max_leaves=12
)
mappings = strategies.dictionaries(keys, trees, max_size=4)


def with_key(tree: Any, key: str, path: list[int]) -> Any:
    """The tree with one more key, as deep as the path leads."""
    if path and isinstance(tree, (dict, list)) and tree:
        places = sorted(tree) if isinstance(tree, dict) else list(range(len(tree)))
        place = places[path[0] % len(places)]
        changed = with_key(tree[place], key, path[1:])
        return {**tree, place: changed} if isinstance(tree, dict) else [*tree[:place], changed, *tree[place + 1 :]]
    return {**tree, key: 1} if isinstance(tree, dict) else [tree, [{key: "x"}]]


@settings(deadline=None)
@given(mappings)
@example({"a": ["@module", "x,", "@callable"], "b": '{"@module":"os","@callable":"system"}'})
def test_texts_that_look_like_one_are_only_texts(document):
    refuse_marked_keys(document)
    refuse_marked_text(dump_plain(document), document)


@settings(deadline=None)
@given(mappings, strategies.sampled_from(MARKED), strategies.lists(strategies.integers(0, 9), max_size=6))
def test_no_such_key_passes_at_any_depth(document, key, path):
    hostile = with_key(document, key, path)
    with pytest.raises(ValueError, match="operator or the mark of a class"):
        refuse_marked_keys(hostile)
    with pytest.raises(ValueError, match="operator or the mark of a class"):
        refuse_marked_text(dump_plain(hostile), hostile, ["structure", "path"])
    inner = {"structure": {"lattice": {}, "more": hostile}, "path": [hostile]}
    with pytest.raises(ValueError, match="operator or the mark of a class"):
        refuse_marked_text(dump_plain(inner), inner, ["structure", "path"])


@settings(deadline=None)
@given(mappings)
def test_what_passes_is_what_a_decoder_leaves_alone(document):
    refuse_marked_keys(document)
    assert MontyDecoder().process_decoded(json.loads(json.dumps(document))) == document


@pytest.fixture
def geometry() -> dict:
    from pymatgen.core import Lattice, Structure

    return structure_document(Structure(Lattice.cubic(3.0), ["Li"], [[0.0, 0.0, 0.0]]))


def test_a_geometry_says_exactly_what_a_geometry_says(geometry):
    assert {key: value for key, value in geometry.items() if key.startswith("@")} == GEOMETRY
    good = {"structure": geometry, "path": [geometry, geometry], "relaxed": None}
    refuse_marked_text(dump_plain(good), good, ["structure", "path", "relaxed"])
    refuse_marked_geometry(dump_plain(geometry))
    for hostile in (
        {"structure": {**geometry, "@module": "os"}},
        {"structure": {**geometry, "@class": "IStructure"}},
        {"structure": {**geometry, "@version": "1"}},
        {"structure": {**geometry, "lattice": {**geometry["lattice"], "@class": "Lattice"}}},
        {"structure": {**geometry, "sites": [{**geometry["sites"][0], "properties": {"@module": "os", "@callable": "x"}}]}},
        {"structure": {"x": geometry}},
        {"structure": [[geometry]]},
        {"path": [geometry, {"@class": "Structure"}]},
        {"origin": geometry},
        {"origin": {"parents": [geometry]}},
        {"structure": geometry, "origin": {"$set": 1}},
    ):
        with pytest.raises(ValueError, match="operator or the mark of a class"):
            refuse_marked_text(dump_plain(hostile), hostile, ["structure", "path"])
    for hostile in ({**geometry, "@module": "os"}, {**geometry, "charge": {"@x": 1}}, {"a": geometry}):
        with pytest.raises(ValueError, match="operator or the mark of a class"):
            refuse_marked_geometry(dump_plain(hostile))


def test_the_message_says_where():
    with pytest.raises(ValueError, match=r"origin\.parents\[1\]\.@callable"):
        refuse_marked_keys({"origin": {"parents": [1, {"@callable": "x"}]}})
