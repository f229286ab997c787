"""States and documents in bundles that a stranger made to do harm: each is refused with one clear error."""

from __future__ import annotations

import pytest
from bundle_files import embedded
from forgeries import SMALL

from coevo.node_store.bundles.documents import read_line
from coevo.node_store.bundles.importing import import_bundle
from coevo.node_store.canonical import canonical_json, structure_from_document
from coevo.node_store.identity import label_id

# --- states and documents


def test_a_state_that_is_not_the_one_of_its_id(forgery, refuse, tmp_path):
    document = forgery.state()
    document["metrics"]["sun"] = 999
    forgery.members[f"states/{forgery.head}/state.json"] = canonical_json(document)
    forgery.declare()
    refuse(forgery.write(tmp_path / "b.zip"), "is damaged: its document has another id")


NOWHERE = {"sha256": "0" * 64, "family": "a", "format": "b"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parents": ["0" * 64]}, "parent 000.* is not among the states before it"),
        ({"counts": {"entries": 10**6, "references": 2, "labels": 6}}, "it counts 1000000 entries"),
        ({"counts": {}}, "KeyError"),
        ({"elements": ["U"]}, "has elements that its node has not: U"),
        ({"created": 5}, "created"),
        ({"iteration": "1"}, "iteration"),
        ({"schema_version": 99.5}, "schema_version"),
        ({"schema_version": 99}, "install a newer coevo"),
        ({"unknown": 1}, "unknown"),
        ({"message": "\x1b[2Jharm"}, "control characters"),
        ({"metrics": {"$where": "1"}}, "a key that is an operator"),
        ({"metrics": {"a": [[{"@module": "os", "@callable": "system"}]]}}, r"metrics\.a\[0\]\[0\]\.@"),
        ({"provenance": {"jobs": [{"@object_type": "OutputReference"}]}}, r"provenance\.jobs\[0\]\.@object_type"),
        ({"config": {"generator": {"_fw_name": "{{os.system}}"}}}, "config.generator._fw_name"),
        ({"metrics": {"a": 2**63}}, "does not fit in 64 bits"),
        ({"metrics": {"a": "\0"}}, "a zero character"),
        ({"evaluations": {"digest": "0" * 64, "count": 10}}, "the digest of its evaluations"),
        ({"evaluations": {"digest": "0" * 64, "count": 11}}, "it has 10 evaluations"),
        ({"manifest": {"sha256": "0" * 64, "size": 1}}, "the manifest of state .* is missing"),
        ({"manifest": {"sha256": "../../x", "size": 1}}, r"manifest\.sha256"),
        ({"manifest": {"sha256": {}, "size": 1}}, r"manifest\.sha256"),
        ({"iteration": -1}, "iteration"),
        ({"checkpoints": {"generator": {"sha256": "../x", "family": "a", "format": "b"}}}, "sha256"),
        ({"checkpoints": {"generator": NOWHERE}}, "the checkpoint generator of state .* is missing"),
        ({"checkpoints": {"committee/a_1": NOWHERE}}, "the checkpoint committee/a_1 of state .* is missing"),
        ({"checkpoints": {"f": NOWHERE}}, "got 'f', allowed: force_field, generator, generator/FAMILY, committee/NAME"),
        ({"checkpoints": {"generator/random-cells": NOWHERE}}, "the checkpoint generator/random-cells of state .* is missing"),
        ({"checkpoints": {"generator/": NOWHERE}}, "got 'generator/', allowed: generator/FAMILY"),
        ({"checkpoints": {"generator/../x": NOWHERE}}, "got 'generator/../x', allowed: generator/FAMILY"),
        ({"checkpoints": {f"generator/a{n}": NOWHERE for n in range(16)}}, "got 17 generators, allowed: 16"),
        ({"checkpoints": {"committee/": NOWHERE}}, "checkpoints: got '', allowed: names of members"),
        ({"checkpoints": {"committee/A.B": NOWHERE}}, "got 'A.B', allowed: names of members"),
        ({"checkpoints": {f"committee/{'a' * 81}": NOWHERE}}, "allowed: names of members"),
        ({"checkpoints": {f"committee/a_{n}": NOWHERE for n in range(25)}}, "got 25 members of a second opinion, allowed: 24"),
    ],
)
def test_state_documents_that_are_wrong(forgery, refuse, tmp_path, change, message):
    forgery.put_state({**forgery.state(), **change})
    forgery.declare()
    refuse(forgery.write(tmp_path / "b.zip"), message)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"note": 1}, r"checkpoints\.force_field\.note: unknown key; allowed keys: sha256, family, format"),
        ({"note": {"@module": "evil", "@callable": "f"}}, r"checkpoints\.force_field\.note\.@"),
        ({"@module": "evil", "@callable": "f"}, r"checkpoints\.force_field\.@"),
        ({"size": {"a": 1}}, "size"),
        ({"parents": [{"a": 1}]}, "parents"),
        ({"uri": ["a"]}, "uri"),
    ],
)
def test_checkpoints_that_say_more_than_they_may(forgery, refuse, tmp_path, more, message):
    """None of these changes the id of the state, and all of a checkpoint was once handed to jobs."""
    document = forgery.state()
    document["checkpoints"]["force_field"] |= more
    forgery.put_state(document)
    assert forgery.head == document["_id"]
    forgery.declare()
    refuse(forgery.write(tmp_path / "b.zip"), message)


@pytest.mark.parametrize("segment", ["structures", "references", "labels", "evaluations"])
def test_each_kind_of_document_is_held_to_its_fields(forgery, segment):
    state = forgery.contents["states"][0]
    row = forgery.lines(segment, state)[0]
    assert read_line(segment, canonical_json(row)) == row
    for more, message in (({"more": 1}, "more: unknown key"), ({"more": {"@module": "os", "@callable": "x"}}, "more.@")):
        with pytest.raises(ValueError, match=message):
            read_line(segment, canonical_json(row | more))


def test_a_table_of_contents_with_a_key_that_a_decoder_acts_on(forgery, refuse, tmp_path):
    forgery.contents["node"]["config"]["more"] = [{"@module": "os", "@callable": "system"}]
    refuse(forgery.write(tmp_path / "b.zip"), r"node\.config\.more\[0\]\.@")


def test_every_field_that_is_stored_is_declared(forgery, tmp_path):
    """Labels with their reasons, evaluations with their notes, merged checkpoints: what jobs write is imported."""
    document = forgery.state()
    document["checkpoints"]["force_field"] |= {"parent": None, "training_set": None, "parents": ["0" * 64]}
    forgery.put_state(document)
    more = {"reason": "", "detail": "", "how": "random", "anion_corrected": True, "functional": "PBE"}
    plain = [{key: value for key, value in more.items() if key != "reason"} | label for label in forgery.lines("labels")]
    forgery.put_lines("labels", plain)
    forgery.put_lines("structures", [{**row, "volume_per_atom": 10.0} for row in forgery.lines("structures")])
    forgery.declare()
    assert import_bundle(embedded(tmp_path / "db"), forgery.write(tmp_path / "b.zip"), limits=SMALL).states_added == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(structures="x"), "structures"),
        (lambda m: m["structures"].pop(), "it counts|not those of"),
        (lambda m: m["structures"].reverse(), "not those of the structures"),
        (lambda m: m["labels"].update({next(iter(m["labels"])): "mine"}), "labels"),
        (lambda m: m["samples"].update({"1": "0" * 64}), "the sample of iteration 1 .* is missing"),
        (lambda m: m["samples"].update({"1": "../x"}), "samples"),
        (lambda m: m.pop("offsets"), "offsets"),
        (lambda m: m["offsets"].update(a=_nested(60)), "nested more than 50 levels"),
        (lambda m: m["offsets"].update(a={"b": {"@class": "Offsets"}}), "offsets.a.b.@class"),
        (lambda m: m.update(more=1), "more"),
        (lambda m: m.update(refuted={m["structures"][0]: -1.0}), "what labels refuted .* is not what its manifest says"),
        (lambda m: m.update(refuted={"an entry": -1.0}), "refuted"),
        (lambda m: m.update(refuted={m["structures"][0]: "low"}), "refuted"),
        (lambda m: m["samples"].update({"one": next(iter(m["samples"].values()))}), "samples"),
    ],
)
def test_manifests_that_are_wrong(forgery, refuse, tmp_path, change, message):
    forgery.put_manifest(change)
    forgery.declare()
    refuse(forgery.write(tmp_path / "b.zip"), message)


def _nested(depth: int) -> list:
    value: list = []
    for _ in range(depth):
        value = [value]
    return value


def _with(documents: list[dict], **changes) -> list[dict]:
    return [{**documents[0], **changes}, *documents[1:]]


def _properties(geometry: dict) -> dict:
    return {**geometry, "sites": [{**site, "properties": {"x": 1}} for site in geometry["sites"]]}


@pytest.mark.parametrize(
    ("segment", "change", "message"),
    [
        ("structures", lambda d: d[1:], "1 structures are missing"),
        ("structures", lambda d: d[::-1], "not in the order of their ids"),
        ("structures", lambda d: [d[0], *d], "not in the order of their ids"),
        ("structures", lambda d: _with(d, nsites="3"), "nsites"),
        ("structures", lambda d: _with(d, _id="x"), "_id"),
        ("structures", lambda d: _with(d, _id="0" * 64), "the content id of structure"),
        ("structures", lambda d: _with(d, structure=d[1]["structure"]), "its geometry has 4"),
        ("structures", lambda d: _with(d, structure=_properties(d[0]["structure"])), "its geometry: sites.0.properties"),
        ("structures", lambda d: _with(d, origin={"a": _nested(60)}), "nested more than 50 levels"),
        ("structures", lambda d: _with(d, origin={"$set": 1}), "operator"),
        ("structures", lambda d: _with(d, origin={"a": [{"@module": "os", "@callable": "system"}]}), r"origin\.a\[0\]\.@"),
        ("structures", lambda d: _with(d, origin=d[0]["structure"]), "origin.@"),
        ("structures", lambda d: _with(d, structure={**d[0]["structure"], "@module": "os"}), "structure.@"),
        ("structures", lambda d: _with(d, structure={**d[0]["structure"], "@version": "1"}), "structure.@version"),
        ("structures", lambda d: _with(d, more=1), "more: unknown key; allowed keys: _id, structure, formula"),
        ("structures", lambda d: _with(d, energy_above_hull=0.1), "energy_above_hull: unknown key"),
        ("labels", lambda d: _with(d, more=1, further=2), "further, more: unknown key; allowed keys: _id, frame"),
        ("evaluations", lambda d: _with(d, more=1), "more: unknown key; allowed keys: structure_id, kind"),
        ("evaluations", lambda d: _with(d, relaxed={"@module": "os", "@class": "x"}), "relaxed.@"),
        ("labels", lambda d: _with(d, energy_per_atom=-1000.0), "the content id of label"),
        ("labels", lambda d: [], "labels are missing"),
        ("evaluations", lambda d: _with(d, energy_above_hull=0.0), "the digest of its evaluations"),
        ("evaluations", lambda d: _with(d, energy_above_hull="0"), "energy_above_hull"),
        ("evaluations", lambda d: _with(d, kind="other"), "kind"),
        ("evaluations", lambda d: d[1:], "are not those of"),
        ("evaluations", lambda d: _with(d, chemical_formula_reduced="Au"), "do not follow from"),
        ("evaluations", lambda d: _with(d, structure_id="../../x"), "structure_id"),
        ("evaluations", lambda d: b"[1]\n", "expected an object"),
        ("evaluations", lambda d: b"{}", "its last line does not end"),
        ("evaluations", lambda d: b'{"a": 1}\n', "not canonical JSON"),
        ("evaluations", lambda d: b'{"a":1,"a":2}\n', "not canonical JSON"),
        ("evaluations", lambda d: b'{"a":-0.0}\n', "not canonical JSON"),
        ("evaluations", lambda d: b'{"a":[1,-0]}\n', "not canonical JSON"),
        ("evaluations", lambda d: b'{"a":1e999}\n', "Out of range"),
        ("evaluations", lambda d: b'{"a":1.50}\n', "not canonical JSON"),
        ("evaluations", lambda d: b'{"a":"\\ud800"}\n', "surrogates"),
        ("evaluations", lambda d: b'{"a":"' + bytes(range(97, 122)) * 200_000 + b'"}\n', "a line of more than|500-fold"),
    ],
)
def test_documents_that_are_wrong(forgery, refuse, tmp_path, segment, change, message):
    forgery.put_lines(segment, change(forgery.lines(segment)))
    forgery.declare()
    refuse(forgery.write(tmp_path / "b.zip"), message)


def test_a_label_on_another_geometry(forgery, refuse, tmp_path):
    """The id of a label covers the id of its frame, so the frame must be the geometry that has this id."""
    labels = forgery.lines("labels")
    label = {**labels[0], "structure": labels[1]["structure"]}
    assert label_id(label) == label["_id"]
    forgery.put_lines("labels", [label, *labels[1:]])
    forgery.declare()
    refuse(forgery.write(tmp_path / "b.zip"), "the geometry of label")


def test_a_blob_that_belongs_to_no_state(forgery, refuse, tmp_path):
    forgery.put_blob(b"a stowaway")
    forgery.declare()
    refuse(forgery.write(tmp_path / "b.zip"), "belongs to no state")


def test_nothing_is_imported_by_a_stored_geometry(forgery):
    """Pymatgen decodes site properties by importing the modules that they name; stored structures are read without them."""
    geometry = forgery.lines("structures")[0]["structure"]
    module = {"@module": "this_module_would_be_imported", "@class": "Harm", "x": 1}
    for site in geometry["sites"]:
        site["properties"] = {"harm": module}
    assert structure_from_document(geometry).site_properties == {}
