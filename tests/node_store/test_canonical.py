"""Canonical JSON and content ids."""

from __future__ import annotations

import hashlib
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pymatgen.core import Lattice, Structure

from coevo.node_store.canonical import (
    canonical_json,
    digest,
    plain,
    structure_document,
    structure_document_id,
    structure_from_document,
    structure_id,
)

floats = st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | floats | st.text(st.characters(codec="utf-8")),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=4),
    max_leaves=20,
)


def test_bytes_of_known_values():
    value = {"b": [1, 1.0, -0.0, 1e16, 1e-7, 0.1 + 0.2], "a": {"é": None, "Z": True}, "": '\n"\u2028'}
    assert canonical_json(value) == (
        '{"":"\\n\\"\u2028","a":{"Z":true,"é":null},"b":[1,1.0,0.0,1e+16,1e-07,0.30000000000000004]}'.encode()
    )
    assert digest({}) == hashlib.sha256(b"{}").hexdigest()


@given(values)
def test_reads_back_to_the_same_value_and_bytes(value):
    encoded = canonical_json(value)
    decoded = json.loads(encoded)
    assert decoded == value
    assert canonical_json(decoded) == encoded


@given(st.dictionaries(st.text(st.characters(codec="utf-8")), values, min_size=2, max_size=6), st.randoms())
def test_order_of_keys_does_not_matter(value, random):
    items = list(value.items())
    random.shuffle(items)
    assert canonical_json(dict(items)) == canonical_json(value)


@given(
    hnp.arrays(st.sampled_from([np.float64, np.float32, np.int64, np.int8, np.bool_]), hnp.array_shapes(max_dims=3, max_side=3))
)
def test_numpy_is_what_its_lists_are(array):
    if array.dtype.kind == "f":
        array = np.nan_to_num(array)
    assert canonical_json(array) == canonical_json(array.tolist())
    first = array.flat[0]
    assert canonical_json({"x": first}) == canonical_json({"x": first.item()})


@given(st.lists(floats, min_size=1), st.sampled_from([math.nan, math.inf, -math.inf]), st.integers(min_value=0))
def test_values_that_are_no_numbers_are_refused_with_their_path(numbers, bad, place):
    place %= len(numbers)
    numbers[place] = bad
    for given_as in (numbers, np.array(numbers)):
        with pytest.raises(ValueError, match=rf"^a\.b\.{place}: .*(nan|inf) has no canonical form"):
            canonical_json({"a": {"b": given_as}})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({1: 2}, "the key 1 is a int; keys of documents are strings"),
        ({"x": {3, 4}}, "x: builtins.set has no canonical form"),
        ({"x": 1j}, "x: builtins.complex has no canonical form"),
        ({"x": np.array([1j])}, "x.0: builtins.complex has no canonical form"),
        ({"x": np.longdouble(1) / 3}, "numpy.longdouble"),
        ({"x": b"raw"}, "builtins.bytes"),
        ({"x": [object()]}, r"x\.0: builtins.object"),
    ],
)
def test_types_without_a_form_are_refused(value, message):
    with pytest.raises(ValueError, match=message):
        canonical_json(value)


def test_plain_leaves_no_numpy_and_no_negative_zero():
    reduced = plain({"a": (np.float64(-0.0), np.int32(3)), "b": np.eye(2, dtype=np.float32), "c": np.str_("x")})
    assert reduced == {"a": [0.0, 3], "b": [[1.0, 0.0], [0.0, 1.0]], "c": "x"}
    assert math.copysign(1, reduced["a"][0]) == 1
    assert [type(item) for item in reduced["a"]] == [float, int]
    assert type(reduced["c"]) is str


# --- structures

lengths = st.floats(min_value=2.0, max_value=20.0)
angles = st.floats(min_value=50.0, max_value=120.0)
fractions = st.floats(min_value=-2.0, max_value=2.0)


@st.composite
def structures(draw) -> Structure:
    species = draw(st.lists(st.sampled_from(["Li", "P", "S", "Li+", "S2-"]), min_size=1, max_size=6))
    while True:
        lattice = Lattice.from_parameters(*draw(st.tuples(lengths, lengths, lengths)), *draw(st.tuples(angles, angles, angles)))
        if np.isfinite(lattice.matrix).all() and lattice.volume > 1:
            break
    coordinates = draw(st.lists(st.tuples(fractions, fractions, fractions), min_size=len(species), max_size=len(species)))
    return Structure(lattice, species, coordinates)


@settings(max_examples=60, deadline=None)
@given(structures())
def test_content_id_survives_documents_and_json(structure):
    identifier = structure_id(structure)
    document = structure_document(structure)
    assert structure_document_id(document) == identifier
    through_json = json.loads(json.dumps(document))
    again = structure_from_document(through_json)
    assert structure_id(again) == identifier
    assert structure_document(again) == document
    assert structure_id(structure_from_document(json.loads(canonical_json(document)))) == identifier
    assert structure_id(Structure.from_dict(structure.as_dict())) == identifier
    assert np.array_equal(again.lattice.matrix, structure.lattice.matrix)
    assert np.array_equal(again.frac_coords, structure.frac_coords)
    assert again.species_and_occu == structure.species_and_occu


@settings(max_examples=30, deadline=None)
@given(structures())
def test_content_id_is_of_the_geometry_only(structure):
    decorated = structure.copy()
    decorated.add_site_property("magmom", list(range(len(structure))))
    decorated.properties["name"] = "x"
    for index, site in enumerate(decorated):
        site.label = f"X{index}"
    assert structure_id(decorated) == structure_id(structure)
    assert structure_document(decorated) == structure_document(structure)
    assert set(structure_document(decorated)) <= {"@module", "@class", "lattice", "sites", "charge"}


@settings(max_examples=30, deadline=None)
@given(structures(), st.integers(min_value=0), st.sampled_from(["lattice", "coordinate", "species"]))
def test_any_change_of_the_geometry_is_another_id(structure, place, what):
    changed = structure.copy()
    index = place % len(structure)
    if what == "lattice":
        matrix = structure.lattice.matrix.copy()
        matrix[index % 3, index % 3] = np.nextafter(matrix[index % 3, index % 3], 100)
        changed = Structure(Lattice(matrix), structure.species, structure.frac_coords)
    elif what == "coordinate":
        coordinates = structure.frac_coords.copy()
        coordinates[index, 0] = np.nextafter(coordinates[index, 0], 100) if coordinates[index, 0] else 1e-300
        changed = Structure(structure.lattice, structure.species, coordinates)
    else:
        changed.replace(index, "Na")
    assert structure_id(changed) != structure_id(structure)


def test_minus_zero_is_zero():
    cell = Lattice.cubic(4.0)
    assert structure_id(Structure(cell, ["Li"], [[-0.0, 0, 0]])) == structure_id(Structure(cell, ["Li"], [[0.0, 0, 0]]))


def test_ids_of_stored_databases_do_not_change():
    """A literal from the first version: changing it would orphan every stored structure."""
    cell = Lattice([[0.0, 2.57, 2.57], [2.57, 0.0, 2.57], [2.57, 2.57, 0.0]])
    rock_salt = Structure(cell, ["Li", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    expected = (
        b'{"abc":[[0.0,0.0,0.0],[0.5,0.5,0.5]],"lattice":[[0.0,2.57,2.57],[2.57,0.0,2.57],[2.57,2.57,0.0]],'
        b'"species":[[{"element":"Li","occu":1}],[{"element":"Cl","occu":1}]]}'
    )
    assert structure_id(rock_salt) == hashlib.sha256(expected).hexdigest()


def test_partial_occupancy_counts():
    cell = Lattice.cubic(4.0)
    half, most = Structure(cell, [{"Li": 0.5}], [[0, 0, 0]]), Structure(cell, [{"Li": 0.75}], [[0, 0, 0]])
    assert structure_id(half) != structure_id(most)
    assert structure_id(structure_from_document(structure_document(half))) == structure_id(half)
