"""The difference of two states, against a comparison of their whole documents."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from li_p_s_states import CONFIG, CONFIG_TEXT, NODE, Lineage, evaluation, label, make_structure, new_node, structure_row

from coevo.node_store.canonical import structure_id
from coevo.node_store.lineage.differences import difference
from coevo.node_store.states import StateDraft
from coevo.node_store.store import open_store
from coevo.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from coevo.node_store.lineage.difference_documents import StateDifference
    from coevo.node_store.store import NodeStore
    from coevo.node_store.views import StateView

POOL = [make_structure(formula, seed) for seed, formula in enumerate(("Li2S", "Li3P", "Li3PS4", "P2S5", "LiP", "Li2PS3"))]
KNOWN = [make_structure("Li2S", 91), make_structure("Li3P", 92)]
LABELS = [{**label(seed), "status": None} for seed in range(4)]
NUMBER = itertools.count()


@pytest.fixture
def store(tmp_path: Path) -> NodeStore:
    store = open_store(Settings(database=f"file:{tmp_path / 'db'}"))
    new_node(store)
    return store


def committed(store: NodeStore, entries: dict[int, tuple[float | None, bool, bool]], **changes: Any) -> StateView:
    """A state of its own with these entries of the pool: E_hull, stable, S.U.N.; references, labels and the rest as given."""
    references = changes.pop("references", range(len(KNOWN)))
    splits = changes.pop("splits", {})
    evaluations = [evaluation(KNOWN[i], "reference", 7) for i in references]
    for index, (e_hull, stable, sun) in entries.items():
        flags = {"energy_above_hull": e_hull, "is_stable": stable, "is_sun": sun, "iteration_added": index}
        evaluations.append({**evaluation(POOL[index], "entry", index), **flags})
    labels = [label(seed) for seed in splits]
    fields: dict[str, Any] = {
        "node": NODE,
        "config": CONFIG,
        "metrics": {"number": next(NUMBER)},
        "structures": [structure_row(POOL[i], origin={"operator": "random", "seed": i}) for i in entries],
        "references": [structure_row(KNOWN[i], name=f"known {i}", source="a paper") for i in references],
        "labels": labels,
        "splits": {document["_id"]: split for document, split in zip(labels, splits.values(), strict=True)},
        "evaluations": evaluations,
    }
    draft = StateDraft(**{**fields, **changes})
    return store.state(f"{draft.node}@{store.commit(draft, f'b{next(NUMBER)}', None)}")


def whole(view: StateView) -> dict[str, dict[str, Any]]:
    return {document["structure_id"]: document for document in view.evaluations("entry")}


ENTRIES = st.dictionaries(
    st.integers(0, len(POOL) - 1),
    st.tuples(st.sampled_from([None, 0.0, 0.04, 0.1, 0.15]), st.booleans(), st.booleans()),
    max_size=len(POOL),
)
SPLITS = st.dictionaries(st.integers(0, 3), st.sampled_from(["train", "validation", "test"]))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(ENTRIES, ENTRIES, SPLITS, SPLITS, st.sets(st.integers(0, 1)))
def test_a_difference_is_what_whole_documents_say(store, mine, theirs, my_splits, their_splits, references):
    left = committed(store, mine, splits=my_splits)
    right = committed(store, theirs, splits=their_splits, references=sorted(references))
    found = difference(left, right)
    old, new = whole(left), whole(right)
    assert {row.id: row.energy_above_hull for row in found.only_left.entries} == {
        i: d["energy_above_hull"] for i, d in old.items() if i not in new
    }
    assert {row.id for row in found.only_right.entries} == set(new) - set(old)
    for side, view in ((found.only_left, left), (found.only_right, right)):
        origins = {document["_id"]: document["origin"] for document in view.structure_documents()}
        assert all(row.origin == origins[row.id] for row in side.entries)
        energies = [row.energy_above_hull for row in side.entries]
        stated = [energy for energy in energies if energy is not None]
        assert energies == sorted(stated) + [None] * (len(energies) - len(stated))
    changed = {row.id: row for row in found.stability}
    assert set(changed) == {
        i for i in set(old) & set(new) if (old[i]["is_stable"], old[i]["is_sun"]) != (new[i]["is_stable"], new[i]["is_sun"])
    }
    for identifier, row in changed.items():
        before, after = old[identifier], new[identifier]
        assert (row.left_energy_above_hull, row.right_energy_above_hull) == (
            before["energy_above_hull"],
            after["energy_above_hull"],
        )
        assert (row.left_is_stable, row.right_is_stable) == (before["is_stable"], after["is_stable"])
        assert (row.left_is_sun, row.right_is_sun) == (before["is_sun"], after["is_sun"])
    sizes = [abs(row.change) for row in found.stability if row.change is not None]
    assert sizes == sorted(sizes, reverse=True)
    my, their = left.manifest["labels"], right.manifest["labels"]
    assert {row.id: row.split for row in found.only_left.labels} == {i: split for i, split in my.items() if i not in their}
    assert {row.id: row.split for row in found.only_right.labels} == {i: split for i, split in their.items() if i not in my}
    assert {(c.id, c.left, c.right) for c in found.splits} == {
        (i, my[i], their[i]) for i in my.keys() & their.keys() if my[i] != their[i]
    }
    assert {row.name for row in found.only_left.references} == {f"known {i}" for i in {0, 1} - references}
    assert mirrored(found) == difference(right, left)
    json.dumps(found.to_dict(), allow_nan=False)


def mirrored(found: StateDifference) -> StateDifference:
    """The same difference, read from the other side."""
    from dataclasses import replace

    def swapped(line: str) -> str:
        key, _, values = line.partition(": ")
        before, _, after = values.partition(" -> ")
        return f"{key}: {after} -> {before}"

    return replace(
        found,
        left=found.right,
        right=found.left,
        only_left=found.only_right,
        only_right=found.only_left,
        splits=tuple(replace(row, left=row.right, right=row.left) for row in found.splits),
        checkpoints=tuple(replace(row, left=row.right, right=row.left) for row in found.checkpoints),
        configuration=tuple(swapped(line) for line in found.configuration),
        metrics=tuple(
            replace(row, left=row.right, right=row.left, change=None if row.change is None else -row.change)
            for row in found.metrics
        ),
        stability=tuple(
            replace(
                row,
                left_energy_above_hull=row.right_energy_above_hull,
                right_energy_above_hull=row.left_energy_above_hull,
                change=None if row.change is None else -row.change,
                left_is_stable=row.right_is_stable,
                right_is_stable=row.left_is_stable,
                left_is_sun=row.right_is_sun,
                right_is_sun=row.left_is_sun,
            )
            for row in found.stability
        ),
    )


def test_a_state_does_not_differ_from_itself(store):
    view = committed(store, {0: (0.1, True, True)}, splits={0: "train"})
    found = difference(view, view)
    assert found.is_empty()
    assert found.to_dict()["only_left"] == {"entries": (), "references": (), "labels": (), "label_counts": {}}


def test_checkpoints_configuration_and_metrics(store):
    blobs = [store.artifacts.put_bytes(f"weights {i}".encode()).to_dict() for i in range(3)]
    fields = {"family": "chgnet", "format": "safetensors-1"}
    base = committed(
        store,
        {},
        checkpoints={"force_field": {**blobs[0], **fields}},
        metrics={
            "entropy": {"mean": 5.5, "of": [1, 2]},
            "flag": True,
            "text": "a",
            "gone": 3,
            "same": 1.5,
            "audit": {"records": [{"energy_per_atom": -1.0}], "new": 4},
        },
    )
    same_weights = {**blobs[0], **fields, "uri": "s3://elsewhere/blob", "parent": None}
    changed = committed(
        store,
        {},
        checkpoints={"force_field": {**blobs[1], **fields, "parent": blobs[0]["sha256"]}, "generator": {**blobs[2], **fields}},
        metrics={
            "entropy": {"mean": 5.25, "of": [1, 4]},
            "flag": False,
            "text": "b",
            "come": 2.5,
            "same": 1.5,
            "audit": {"records": [{"energy_per_atom": -2.0}, {"energy_per_atom": -3.0}], "new": 5},
        },
        config={**CONFIG, "curation": {"max_e_hull": 0.3, "stable_threshold": 0.1}},
    )
    found = difference(base, changed)
    assert found.configuration == ("curation.max_e_hull: 0.2 -> 0.3",)
    assert {(m.name, m.left, m.right, m.change) for m in found.metrics} == {
        ("entropy.mean", 5.5, 5.25, -0.25),
        ("entropy.of.1", 2, 4, 2),
        ("gone", 3, None, None),
        ("come", None, 2.5, None),
        ("audit.new", 4, 5, 1),
    }
    assert [(c.model, (c.left or {}).get("sha256"), c.right["sha256"], c.right["parent"]) for c in found.checkpoints] == [
        ("force_field", blobs[0]["sha256"], blobs[1]["sha256"], blobs[0]["sha256"]),
        ("generator", None, blobs[2]["sha256"], None),
    ]
    elsewhere = committed(store, {}, checkpoints={"force_field": same_weights}, metrics={"entropy": {"mean": 5.5, "of": [1, 2]}})
    assert difference(base, elsewhere).checkpoints == ()


def test_states_of_nodes_of_different_systems(store):
    """A structure of both systems is the same entry in both nodes."""
    config = {**CONFIG, "node": {**CONFIG["node"], "name": "li-p", "elements": ["Li", "P"]}}
    store.create_node("li-p", ["Li", "P"], config, CONFIG_TEXT)
    left = committed(store, {0: (0.01, True, True), 1: (0.02, True, True)})
    right = committed(store, {1: (0.2, False, False), 4: (0.0, True, True)}, node="li-p", config=config, references=[1])
    found = difference(left, right)
    assert (found.left.node, found.right.node) == (NODE, "li-p")
    assert [row.formula for row in found.only_left.entries] == ["Li2S"]
    assert [row.formula for row in found.only_right.entries] == ["LiP"]
    (change,) = found.stability
    assert (change.id, change.formula) == (structure_id(POOL[1]), "Li3P")
    assert change.change == pytest.approx(0.18)
    assert [row.formula for row in found.only_left.references] == ["Li2S"]
    assert "node.name: li-p-s-test -> li-p" in found.configuration


def test_origins_are_read_for_the_most_stable_only(store):
    left = committed(store, {})
    right = committed(store, {0: (0.3, False, False), 1: (0.1, True, False), 2: (0.2, False, False)})
    rows = difference(left, right, origins=2).only_right.entries
    assert [row.origin and row.origin["seed"] for row in rows] == [1, 2, None]


@pytest.mark.service
def test_the_same_difference_on_a_server(store, mongodb_uri, tmp_path):
    with open_store(Settings(database=mongodb_uri, artifacts=(tmp_path / "served").as_uri())) as served:
        found = []
        for each in (store, served):
            lineage = new_node(each) if each is served else Lineage(each)
            lineage.commit()
            lineage.commit(n_entries=3, n_references=0)
            found.append(difference(each.state(f"{NODE}~1"), each.state(NODE)))
    assert found[0] == found[1]
    assert len(found[0].only_right.entries) == 3
