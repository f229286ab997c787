"""The id of a state: what enters and what does not."""

from __future__ import annotations

import dataclasses
import json
import random

import numpy as np
import pytest
from li_p_s_states import evaluation, label, make_structure, new_node, structure_row

from coevo.node_store.documents import LEFT_OUT_OF_STATE_ID, EvaluationDocument, StateDocument
from coevo.node_store.identity import evaluations_digest, identity_digest
from coevo.node_store.states import StateDraft, prepare, state_id
from coevo.node_store.store import open_store
from coevo.settings import Settings


@pytest.fixture
def draft(tmp_path) -> StateDraft:
    return new_node(open_store(Settings(database=f"file:{tmp_path}"))).draft()


def changed_checkpoint(draft: StateDraft, **changes) -> dict:
    return {"force_field": {**draft.checkpoints["force_field"], **changes}}


def test_documents_come_from_anything_that_can_be_iterated_again(draft):
    again = dataclasses.replace(
        draft, structures=tuple(draft.structures), evaluations=dict(enumerate(draft.evaluations)).values()
    )
    assert state_id(again) == state_id(again) == state_id(draft)
    with pytest.raises(ValueError, match="structures: a list_iterator can be iterated only once"):
        state_id(dataclasses.replace(draft, structures=iter(draft.structures)))


def test_the_order_of_documents_does_not_matter(draft):
    names = ("structures", "labels", "evaluations")
    mixed = {name: random.Random(1).sample(getattr(draft, name), len(getattr(draft, name))) for name in names}
    shuffled = dataclasses.replace(draft, **mixed, splits=dict(reversed(draft.splits.items())))
    assert state_id(shuffled) == state_id(draft)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: {"node": "another"},
        lambda d: {"message": "another"},
        lambda d: {"provenance": {"host": "another", "seconds": 7}},
        lambda d: {"config": {**d.config, "resources": {"workers": 9}}},
        lambda d: {"config": {**d.config, "node": {**d.config["node"], "name": "another", "description": "other"}}},
        lambda d: {"checkpoints": changed_checkpoint(d, uri="s3://elsewhere")},
        lambda d: {"checkpoints": changed_checkpoint(d, parent="1" * 64, training_set="x", size=3)},
        lambda d: {"evaluations": [{**e, "nelements": len(e["elements"])} for e in d.evaluations]},
        lambda d: {"structures": [{**s, "origin": {"other": 1}} for s in d.structures]},
    ],
)
def test_left_out(draft, change):
    assert state_id(dataclasses.replace(draft, **change(draft))) == state_id(draft)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: {"parents": ("1" * 64,)},
        lambda d: {"iteration": 1},
        lambda d: {"metrics": {**d.metrics, "sun": 4}},
        lambda d: {"config": {**d.config, "curation": {"max_e_hull": np.nextafter(0.2, 1)}}},
        lambda d: {"config": {**d.config, "node": {**d.config["node"], "elements": ["Li", "S"]}}},
        lambda d: {"checkpoints": changed_checkpoint(d, sha256="1" * 64)},
        lambda d: {"checkpoints": changed_checkpoint(d, family="mace")},
        lambda d: {"checkpoints": changed_checkpoint(d, format="2")},
        lambda d: {"checkpoints": {"generator": d.checkpoints["force_field"]}},
        lambda d: {"splits": {**d.splits, next(iter(d.splits)): "test"}},
        lambda d: {"samples": {"0": "1" * 64}},
        lambda d: {"offsets": {}},
        lambda d: {"evaluations": [{**e, "energy_above_hull": e["energy_above_hull"] + 1e-12} for e in d.evaluations]},
        lambda d: {"evaluations": [{**e, "relaxed": None} for e in d.evaluations]},
        lambda d: {"evaluations": d.evaluations[:-1], "references": d.references[:1]},
        lambda d: {"labels": [*d.labels, label(99)], "splits": {**d.splits, label(99)["_id"]: "train"}},
    ],
)
def test_entered(draft, change):
    if "evaluations" in change(draft) and "references" in change(draft):
        last = draft.evaluations[-1]["structure_id"]
        kept = [r for r in draft.references if r["_id"] != last]
        assert state_id(dataclasses.replace(draft, evaluations=draft.evaluations[:-1], references=kept)) != state_id(draft)
        return
    assert state_id(dataclasses.replace(draft, **change(draft))) != state_id(draft)


def test_what_is_left_out_is_listed(draft):
    """Each top-level field of a state document is in the id or in the list."""
    prepared = prepare(draft)
    listed = {name.split(".")[0] for name in LEFT_OUT_OF_STATE_ID}
    for field in StateDocument.model_fields.values():
        name = field.alias or next(n for n, f in StateDocument.model_fields.items() if f is field)
        if name == "_id" or name not in prepared.document:
            assert name in {"_id", "created", "started_from"}
            continue
        changed = json.loads(json.dumps(prepared.document))
        changed[name] = _other(changed[name])
        entered = identity_digest(changed) != prepared.id
        assert entered or name in listed, name


def test_where_a_first_state_came_from(draft):
    """It enters the id by the state, not by the name of the node; without it the id is that of before."""
    origin = {"node": "other", "state": "2" * 64}
    ids = [
        state_id(dataclasses.replace(draft, started_from=started_from))
        for started_from in (None, origin, {**origin, "node": "renamed"}, {**origin, "state": "3" * 64})
    ]
    assert ids[0] == state_id(draft)
    assert "started_from" not in prepare(draft).document
    assert ids[1] == ids[2]
    assert len({ids[0], ids[1], ids[3]}) == 3
    for wrong in ({"node": "other"}, {**origin, "state": "2"}, {**origin, "at": 1}, {**origin, "node": "Other Node"}):
        with pytest.raises(ValueError, match="started_from"):
            prepare(dataclasses.replace(draft, started_from=wrong))


def _other(value):
    if isinstance(value, dict):
        if "digest" in value:
            return {**value, "digest": "1" * 64}
        if "sha256" in value:
            return {**value, "sha256": "1" * 64}
        return {}
    return {str: "other", int: 99, list: ["1" * 64]}[type(value)]


def test_the_id_does_not_depend_on_numeric_types_of_numpy(draft):
    evaluations = [json.loads(json.dumps(e, default=lambda x: x.item())) for e in draft.evaluations]
    converted = dataclasses.replace(draft, evaluations=evaluations)
    assert state_id(converted) == state_id(draft)


def test_documents_survive_json(draft):
    prepared = prepare(draft)
    document = json.loads(json.dumps(prepared.document))
    assert identity_digest(document) == prepared.id
    assert evaluations_digest(json.loads(json.dumps(list(prepared.evaluations)))) == document["evaluations"]["digest"]


def _with_first(documents: list[dict], **changes) -> list[dict]:
    return [{key: value for key, value in {**documents[0], **changes}.items() if value is not ...}, *documents[1:]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: {"structures": _with_first(d.structures, _id="1" * 64)}, r"structures\[0\]: its _id is 1.*but its content id"),
        (lambda d: {"structures": [*d.structures, {**d.structures[0], "formula": "X"}]}, "a different document has the same _id"),
        (lambda d: {"evaluations": [*d.evaluations, d.evaluations[0]]}, "is evaluated twice in one state"),
        (lambda d: {"evaluations": _with_first(d.evaluations, kind="x")}, r"evaluations\[0\]: kind: .*'entry' or 'reference'"),
        (lambda d: {"evaluations": _with_first(d.evaluations, formula="no formula")}, "'no formula' is not a formula"),
        (lambda d: {"evaluations": _with_first(d.evaluations, nsites=...)}, "nsites: Field required"),
        (lambda d: {"splits": {**d.splits, next(iter(d.splits)): "x"}}, "is in 'x'; allowed: train, validation, test"),
        (lambda d: {"checkpoints": changed_checkpoint(d, sha256="x")}, r"checkpoints\.force_field: sha256"),
        (lambda d: {"provenance": {"x": object()}}, r"provenance\.x: builtins\.object has no canonical form"),
    ],
)
def test_inconsistent_drafts_are_refused(draft, change, message):
    with pytest.raises(ValueError, match=message):
        prepare(dataclasses.replace(draft, **change(draft)))


def test_the_same_document_twice_is_one(draft):
    doubled = dataclasses.replace(draft, structures=draft.structures * 2)
    assert state_id(doubled) == state_id(draft)


@pytest.mark.parametrize(
    ("formula", "reduced", "anonymous"),
    [
        ("Li3PS4", "Li3PS4", "A4B3C"),
        ("Li4P2S6", "Li2PS3", "A3B2C"),
        ("S", "S", "A"),
        ("Na4Cl4", "ClNa", "AB"),
        ("Ca3(PO4)2", "Ca3O8P2", "A8B3C2"),
        ("P4S10", "P2S5", "A5B2"),
    ],
)
def test_optimade_formulas_agree_with_the_optimade_package(formula, reduced, anonymous, draft):
    """The package's own adapter computes both from a pymatgen structure."""
    from optimade.adapters.structures.pymatgen import from_pymatgen
    from pymatgen.core import Composition, Lattice, Structure

    species = [e.symbol for e, n in Composition(formula).items() for _ in range(int(n))]
    rng = np.random.default_rng(0)
    structure = Structure(Lattice.cubic(9.0), species, rng.random((len(species), 3)))
    theirs = from_pymatgen(structure)
    one = evaluation(make_structure("Li2S", 1), "entry", 0) | {"formula": formula, "elements": sorted(set(species))}
    prepared = prepare(StateDraft(node="n", evaluations=[one]))
    (found,) = prepared.evaluations
    assert (found["chemical_formula_reduced"], found["chemical_formula_anonymous"]) == (reduced, anonymous)
    assert (theirs.chemical_formula_reduced, theirs.chemical_formula_anonymous) == (reduced, anonymous)
    assert found["nelements"] == theirs.nelements
    assert structure_row(structure)["elements"] == theirs.elements


def test_units_are_in_the_schema():
    fields = EvaluationDocument.model_fields
    for name in ("energy_per_atom", "formation_energy_per_atom", "energy_above_hull", "energy_above_reference_hull"):
        assert "eV/atom" in (fields[name].description or "")
    assert "eV/Å" in (fields["fmax"].description or "")
