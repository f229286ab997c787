"""What labels are asked of first: phases on the hull, or near it, that have none."""

from __future__ import annotations

from typing import Any

import pytest
from pymatgen.core import Lattice, Structure

from coevo.configs.tree import CurationConfig
from coevo.makers.labels.hull_phases import unlabelled_on_hull
from coevo.node_store.canonical import structure_document, structure_id

CURATION = CurationConfig(hull="labelled", hull_window=0.02)


def crystal(formula: dict[str, int], length: float = 5.0) -> Structure:
    species = [element for element, amount in formula.items() for _ in range(amount)]
    return Structure(Lattice.cubic(length), species, [[i / len(species), 0, 0] for i in range(len(species))])


LITHIUM, SULPHUR, LI2S, LIS = crystal({"Li": 1}), crystal({"S": 1}), crystal({"Li": 2, "S": 1}), crystal({"Li": 1, "S": 1})


class View:
    """A state of references of the elements, and entries ``{name: (structure, energy, status)}``."""

    def __init__(self, entries: dict[str, Any], labels: list[dict[str, Any]] | None = None):
        self.manifest = {"offsets": {"digest": {"elements": ["Li", "S"]}}}
        self._rows = {"Li": (LITHIUM, 0.0, None, "reference"), "S": (SULPHUR, 0.0, None, "reference")}
        self._rows |= {name: (*row, "entry") for name, row in entries.items()}
        self._labels = labels or []

    def evaluations(self, kind: str) -> list[dict[str, Any]]:
        return [
            {"structure_id": name, "kind": kind, "energy_per_atom": energy, "hull_status": status, "duplicate_of": None}
            for name, (_, energy, status, found) in self._rows.items()
            if found == kind
        ]

    def structure(self, identifier: str, relaxed: bool) -> Structure:
        assert relaxed
        return self._rows[identifier][0]

    def labels(self) -> list[dict[str, Any]]:
        return self._labels


def label(structure: Structure, status: str = "admitted", code: str = "teacher", **more: Any) -> dict[str, Any]:
    frame = {"frame": structure_id(structure), "structure": structure_document(structure), "kind": "relaxed"}
    return {**frame, "family": "an entry", "status": status, "code": code, "settings_digest": "digest", **more}


def asked(view: View, candidates: dict[str, Any] | None = None, **rule: Any) -> tuple[list[str], list[str]]:
    rows = {
        name: {"id": name, "structure": structure_document(s), "energy_per_atom": energy, "path": ["a frame"]}
        for name, (s, energy) in (candidates or {}).items()
    }
    found = unlabelled_on_hull(view, rows, ("Li", "S"), CURATION, **rule)  # type: ignore[arg-type]
    return list(found.phases), [row["family"] for row in found.references]


def test_entries_and_candidates_on_or_near_the_hull_come_in_order() -> None:
    view = View({"on it": (LI2S, -0.8, "unconfirmed"), "high": (crystal({"Li": 2, "S": 1}, 5.1), -0.7, None)})
    near, far = (crystal({"Li": 2, "S": 1}, length) for length in (5.2, 5.3))
    assert asked(view, {"near": (near, -0.785), "far": (far, -0.775)}) == (["on it", "near"], ["Li", "S"])


def test_what_has_a_label_is_not_asked_again_and_what_was_below_a_refuted_one_is() -> None:
    """With -0.8 the first would hide the second, 0.3 eV/atom above it; its label says -0.4."""
    entries = {"refuted": (LI2S, -0.4, "refuted"), "hidden": (crystal({"Li": 2, "S": 1}, 5.1), -0.5, None)}
    labels = [label(s) for s in (LI2S, LITHIUM, SULPHUR)]
    assert asked(View(entries, labels)) == (["hidden"], [])
    hiding = {**entries, "refuted": (LI2S, -0.8, "confirmed")}
    assert asked(View(hiding, labels)) == ([], [])


@pytest.mark.parametrize(
    ("status", "of", "now", "asked_again"),
    [
        ("admitted", "digest", "now", False),  # other settings, whose energies are on the scale of the node
        ("admitted", "no offsets", "now", True),  # it says nothing, and this iteration's settings may
        ("admitted", "no offsets", "no offsets", False),  # the same would come out
        ("rejected", "digest", "digest", False),
        ("rejected", "digest", "now", True),
        ("rejected", "digest", "", False),  # nobody knows this iteration's settings
        ("failed", "digest", "digest", True),
    ],
)
def test_what_answers_once_and_for_all(status: str, of: str, now: str, asked_again: bool) -> None:
    view = View({"it": (LI2S, -0.8, "unconfirmed")}, [label(LI2S, status, settings_digest=of)])
    assert asked(view, settings_digest=now)[0] == (["it"] if asked_again else [])


def test_a_reference_that_a_later_force_field_moved_is_not_labelled_again() -> None:
    before = label(crystal({"Li": 1}, 5.1), family="Li")
    assert asked(View({}, [before]))[1] == ["S"]
    assert asked(View({}, [{**before, "status": "rejected"}]), settings_digest="another")[1] == ["Li", "S"]


def test_entries_in_doubt_above_the_window_come_after_the_hull_the_lowest_first() -> None:
    entries = {
        "on it": (LI2S, -0.8, "unconfirmed"),
        "high": (crystal({"Li": 2, "S": 1}, 5.1), -0.7, "in_doubt"),
        "lower": (crystal({"Li": 2, "S": 1}, 5.2), -0.75, "in_doubt"),
        "near": (crystal({"Li": 2, "S": 1}, 5.3), -0.79, "in_doubt"),
        "not in doubt": (crystal({"Li": 2, "S": 1}, 5.4), -0.7, None),
        "rejected": (crystal({"Li": 2, "S": 1}, 5.5), -0.7, "in_doubt"),
    }
    found = unlabelled_on_hull(View(entries, [label(entries["rejected"][0], "rejected")]), {}, ("Li", "S"), CURATION)  # type: ignore[arg-type]
    assert list(found.phases) == ["on it", "near"]
    assert list(found.doubted) == ["lower", "high"]


def test_where_first_principles_label_a_teacher_answers_nothing() -> None:
    entries = {"it": (LI2S, -0.8, "unconfirmed")}
    labels = [label(LI2S), label(LITHIUM), label(SULPHUR)]
    assert asked(View(entries, labels)) == ([], [])
    assert asked(View(entries, labels), first_principles=True) == (["it"], ["Li", "S"])
    assert asked(View(entries, [label(LI2S, code="vasp")]), first_principles=True)[0] == []
