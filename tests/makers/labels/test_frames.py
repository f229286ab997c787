"""Which frames are labelled: what has no label, what failed, and references as long as the offsets cannot be fitted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pymatgen.core import Lattice, Structure

from coevo.analysis.hull.energy_scale import why_no_offsets
from coevo.configs.tree import NodeSection
from coevo.makers.labels.frames import wanted_frames
from coevo.node_store.canonical import structure_document, structure_id

NODE = NodeSection(name="n", elements=("Li", "S"), references="x")
SETTINGS = "d" * 64

LITHIUM = Structure(Lattice.cubic(3.4), ["Li", "Li"], [[0, 0, 0], [0.5, 0.5, 0.5]])
SULPHUR = Structure(Lattice.cubic(5.0), ["S"], [[0, 0, 0]])
SULPHUR_2 = Structure(Lattice.cubic(5.2), ["S"], [[0, 0, 0]])
SULPHUR_3 = Structure(Lattice.cubic(5.4), ["S"], [[0, 0, 0]])
SULPHIDE = Structure(Lattice.cubic(4.0), ["Li", "S"], [[0, 0, 0], [0.5, 0.5, 0.5]])
ENTRY = Structure(Lattice.cubic(4.4), ["Li", "S"], [[0, 0, 0], [0.5, 0.5, 0.5]])
HULL = {"Li": (LITHIUM, 0.0), "S": (SULPHUR, 0.0), "S'": (SULPHUR_2, 0.1), "S''": (SULPHUR_3, 0.3), "LiS": (SULPHIDE, 0.0)}


def label(structure: Structure, status: str = "admitted", *, how: str = "reference", settings: str = SETTINGS) -> dict[str, Any]:
    return {
        "frame": structure_id(structure),
        "structure": structure_document(structure),
        "how": how,
        "status": status,
        "reason": "" if status == "admitted" else "why_not",
        "settings_digest": settings,
    }


def state(*labels: dict[str, Any], frozen: tuple[str, ...] = ()) -> Any:
    """What of a state is read: references with their distance to the hull, labels, offsets."""
    rows = [
        {
            "structure_id": structure_id(structure),
            "formula": structure.composition.reduced_formula,
            "elements": sorted({site.specie.symbol for site in structure}),
            "energy_above_reference_hull": above,
            "energy_per_atom": -1.0,
        }
        for structure, above in HULL.values()
    ]
    geometry = {structure_id(structure): structure for structure, _ in HULL.values()}
    return SimpleNamespace(
        id="a" * 64,
        manifest={"offsets": {SETTINGS: {"elements": list(frozen)}} if frozen else {}},
        labels=lambda: iter(labels),
        evaluations=lambda kind: rows if kind == "reference" else [],
        structure=lambda identifier, relaxed: geometry[identifier],
    )


def wanted(view: Any, *selected: Structure) -> tuple[set[str], set[str], list[str]]:
    """Names of what is labelled for the first time and again, and the notes."""
    frames = [
        {"id": structure_id(s), "structure": structure_document(s), "family": "f", "kind": "relaxed", "how": "x"}
        for s in selected
    ]
    names = {structure_id(structure): name for name, (structure, _) in HULL.items()} | {structure_id(ENTRY): "entry"}
    found = wanted_frames(view, NODE, SETTINGS, frames)
    return {names[f["id"]] for f in found.new}, {names[f["id"]] for f in found.again}, found.notes


def test_the_stable_references_join_the_first_labels() -> None:
    assert wanted(state(), ENTRY) == ({"Li", "S", "LiS", "entry"}, set(), [])


@pytest.mark.parametrize("status", ["admitted", "rejected"])
def test_what_has_a_label_of_these_settings_is_not_labelled_again(status: str) -> None:
    anchors = label(LITHIUM), label(SULPHUR), label(SULPHIDE)
    assert wanted(state(*anchors, label(ENTRY, status, how="x")), ENTRY) == (set(), set(), [])
    other = label(ENTRY, status, how="x", settings="e" * 64)
    assert wanted(state(*anchors, other), ENTRY) == ({"entry"}, set(), [])


def test_what_failed_is_tried_again_once_after_each_state() -> None:
    anchors = label(LITHIUM), label(SULPHUR), label(SULPHIDE)
    view = state(*anchors, label(ENTRY, "failed", how="x"))
    assert wanted(view, ENTRY) == (set(), {"entry"}, [])
    frames = [{"id": structure_id(ENTRY), "how": "x"}]
    first, later = (
        wanted_frames(v, NODE, SETTINGS, frames).again for v in (view, SimpleNamespace(**{**vars(view), "id": "b" * 64}))
    )
    assert first != later  # another packet, which has another key: the failure is the result of a finished job
    admitted = state(*anchors, label(ENTRY, "failed", how="x"), label(ENTRY, how="x"))
    assert wanted(admitted, ENTRY) == (set(), set(), [])


def test_a_failed_reference_of_an_element_is_tried_again_with_the_next_one_beside_it() -> None:
    new, again, notes = wanted(state(label(LITHIUM), label(SULPHUR, "failed"), label(SULPHIDE)))
    assert (new, again) == ({"S'"}, {"S"})
    assert len(notes) == 1
    assert "S" in notes[0]
    assert "failed and is tried again" in notes[0]


def test_a_labelled_compound_anchors_no_element() -> None:
    new, again, _ = wanted(state(label(LITHIUM), label(SULPHIDE)))
    assert (new, again) == ({"S"}, set())


def test_in_place_of_a_rejected_reference_of_an_element_the_next_one_is_labelled() -> None:
    new, again, notes = wanted(state(label(LITHIUM), label(SULPHUR, "rejected"), label(SULPHIDE)))
    assert (new, again) == ({"S'"}, set())
    assert "was rejected (why_not)" in notes[0]
    everything = [label(s, "rejected") for s in (SULPHUR, SULPHUR_2, SULPHUR_3)]
    new, again, notes = wanted(state(label(LITHIUM), label(SULPHIDE), *everything))
    assert (new, again) == (set(), set())
    assert "coevo add" in notes[0]
    assert wanted(state(label(LITHIUM), label(SULPHIDE), *everything[:2], label(SULPHUR_3))) == (set(), set(), [])


def test_a_frozen_offset_needs_no_label() -> None:
    assert wanted(state(frozen=("Li", "S"))) == (set(), set(), [])
    assert wanted(state(frozen=("Li",)))[0] == {"S", "LiS"}


def test_a_reference_counts_only_as_a_reference() -> None:
    """An entry that has the geometry of a reference is no anchor, and a frame that is both is labelled as the reference."""
    found = wanted_frames(
        state(), NODE, SETTINGS, [{"id": structure_id(SULPHUR), "structure": structure_document(SULPHUR), "how": "validation"}]
    )
    assert {frame["how"] for frame in found.new if frame["id"] == structure_id(SULPHUR)} == {"reference"}


def test_what_is_asked_for_is_what_the_fit_of_the_offsets_demands() -> None:
    """All that is wanted, once admitted, gives offsets; whatever of it is left out of the elements does not."""
    shares = {"Li": [1.0, 0.0], "S": [0.0, 1.0], "S'": [0.0, 1.0], "LiS": [0.5, 0.5]}
    for labels in ((), (label(SULPHIDE),), (label(LITHIUM), label(SULPHUR, "rejected")), (label(LITHIUM, "failed"),)):
        new, again, _ = wanted(state(*labels))
        names = {structure_id(structure): name for name, (structure, _) in HULL.items()}
        there = sorted(new | again | {names[x["frame"]] for x in labels if x["status"] == "admitted"})
        rows = [shares[name] for name in there]
        assert why_no_offsets(rows, ["Li", "S"], [name != "LiS" for name in there]) == ""


def with_family(structure: Structure, status: str = "admitted") -> dict[str, Any]:
    return {**label(structure, status), "family": structure_id(structure)}


def all_wanted(view: Any) -> tuple[set[str], set[str]]:
    names = {structure_id(structure): name for name, (structure, _) in HULL.items()}
    found = wanted_frames(view, NODE, SETTINGS, [], all_references=True)
    assert {frame["how"] for frame in found.new + found.again} <= {"reference"}
    return {names[frame["id"]] for frame in found.new}, {names[frame["id"]] for frame in found.again}


def test_all_references_are_labelled_once_if_that_is_asked_for() -> None:
    assert all_wanted(state()) == (set(HULL), set())
    some = [with_family(LITHIUM), with_family(SULPHUR), with_family(SULPHIDE, "rejected")]
    assert wanted(state(*some)) == (set(), set(), [])
    assert all_wanted(state(*some)) == ({"S'", "S''"}, set())
    assert all_wanted(state(*some, with_family(SULPHUR_2, "failed"))) == ({"S''"}, {"S'"})
    assert all_wanted(state(*(with_family(structure) for structure, _ in HULL.values()))) == (set(), set())


def test_a_reference_that_a_later_force_field_moved_has_its_label_all_the_same() -> None:
    moved = [{**with_family(structure), "frame": f"{i}" * 64} for i, (structure, _) in enumerate(HULL.values())]
    assert all_wanted(state(*moved)) == (set(), set())
