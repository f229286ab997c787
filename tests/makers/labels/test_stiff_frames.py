"""Frames beside the budget: of which labelled phases, with which amplitudes, once, and in the split of their family."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from coevo.configs.tree import NodeSection, SelectionConfig, TrainingConfig
from coevo.makers.labels.stiff_frames import stiff_frames
from coevo.makers.labels.training_set import splits_for
from coevo.makers.select import SelectMaker
from coevo.node_store.canonical import structure_document, structure_from_document, structure_id

NODE = NodeSection(name="stiff", elements=("Li", "S"), references="li-p-s")
LI2S = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.72), ["Li", "S"], [[0.25, 0.25, 0.25], [0, 0, 0]])
HIGHER = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.9), ["Li", "S"], [[0.25, 0.25, 0.25], [0, 0, 0]])
LIS = Structure(Lattice.cubic(4.0), ["Li", "S"], [[0.0, 0.0, 0.0], [0.5, 0.5, 0.5]])
LITHIUM = Structure(Lattice.cubic(3.4), ["Li"], [[0, 0, 0]])
LI7S3 = Structure(Lattice.cubic(6.0), ["Li"] * 7 + ["S"] * 3, np.random.default_rng(0).random((10, 3)))


class View:
    """A state of phases ``{name: (structure, E_hull, kind, more of the evaluation)}`` and its labels."""

    def __init__(self, phases: dict[str, Any], labels: list[dict[str, Any]]):
        self.phases, self._labels = phases, labels

    def evaluations(self, kind: str) -> list[dict[str, Any]]:
        return [
            {
                "structure_id": name,
                "kind": kind,
                "formula": structure.composition.reduced_formula,
                "energy_per_atom": -1.0,
                "energy_above_hull": above,
                "duplicate_of": None,
                **more,
            }
            for name, (structure, above, found, more) in self.phases.items()
            if found == kind
        ]

    def structure(self, identifier: str, relaxed: bool) -> Structure:
        assert relaxed
        return self.phases[identifier][0]

    def labels(self) -> list[dict[str, Any]]:
        return self._labels


def label(family: str, structure: Structure, split: str = "train", **more: Any) -> dict[str, Any]:
    frame = structure_id(structure)
    return {
        "_id": f"{family} {frame}",
        "frame": frame,
        "structure": structure_document(structure),
        "family": family,
        "kind": "relaxed",
        "how": "hull",
        "split": split,
        "status": "admitted",
        "settings_digest": "digest",
        "energy_per_atom": -1.0,
        "forces": np.zeros((len(structure), 3)).tolist(),
        "stress": np.zeros((3, 3)).tolist(),
        **more,
    }


PHASES: dict[str, Any] = {
    "li2s": (LI2S, 0.001, "reference", {}),
    "polymorph": (HIGHER, 0.0, "entry", {"hull_status": "confirmed"}),
    "lithium": (LITHIUM, 0.0, "reference", {}),
    "wrong": (LIS, 0.0, "entry", {"hull_status": "refuted"}),
    "excess": (LI7S3, 0.01, "entry", {"hull_status": "confirmed", "electron_excess": 0.1}),
}


def view(**splits: str) -> View:
    return View(PHASES, [label(name, row[0], splits.get(name, "train")) for name, row in PHASES.items()])


def asked(state: View, **selection: Any) -> list[tuple[str, str, str]]:
    found = stiff_frames(state, NODE, SelectionConfig(**selection))  # type: ignore[arg-type]
    return [(frame["family"], frame["how"], frame["kind"]) for frame in found.frames]


def test_nothing_is_asked_for_by_default() -> None:
    assert asked(view()) == []


def test_phases_on_the_hull_have_frames_of_the_amplitudes_that_were_asked_for() -> None:
    """One phase of each formula, references first; none that is refuted or has an excess, and an atom alone is strained only."""
    chosen = {"stiff_frames": 4, "stiff_strain": 0.05, "stiff_displacement": 0.15}
    found = stiff_frames(view(), NODE, SelectionConfig(**chosen))  # type: ignore[arg-type]
    assert found.phases == {"stiff": 2}
    kinds = {name: [f["kind"] for f in found.frames if f["family"] == name] for name in PHASES}
    assert kinds["li2s"] == ["strained", "displaced"] * 2
    assert kinds["lithium"] == ["strained", "strained"]
    assert not kinds["polymorph"] + kinds["wrong"] + kinds["excess"]
    frames = [structure_from_document(f["structure"]) for f in found.frames if f["family"] == "li2s"]
    assert [frame.lattice.a / 5.72 - 1.0 for frame in frames[::2]] == pytest.approx([0.05, -0.05])
    for frame in frames[1::2]:
        shift = frame.frac_coords - LI2S.frac_coords
        lengths = np.linalg.norm((shift - np.round(shift)) @ LI2S.lattice.matrix, axis=1)
        assert np.sqrt((lengths**2).mean()) == pytest.approx(0.15)
    assert all(f["id"] == structure_id(structure_from_document(f["structure"])) for f in found.frames)


def test_what_labels_refute_and_what_has_an_excess_is_rattled() -> None:
    found = asked(view(), refuted_frames=2)
    assert found == [("wrong", "corrected", "rattled")] * 2 + [("excess", "corrected", "rattled")] * 2


def test_test_families_and_phases_without_a_label_are_left_alone() -> None:
    assert asked(view(li2s="test", wrong="test"), stiff_frames=2, refuted_frames=1) == [
        ("lithium", "stiff", "strained"),
        ("polymorph", "stiff", "strained"),
        ("polymorph", "stiff", "displaced"),
        ("excess", "corrected", "rattled"),
    ]
    assert asked(View(PHASES, []), stiff_frames=2, refuted_frames=1) == []
    measured = view()
    measured._labels.append(label("li2s", HIGHER, "test", how="stiffness", kind="strained"))
    assert ("li2s", "stiff", "strained") in asked(measured, stiff_frames=2)  # what stiffness is measured with decides nothing


def test_each_phase_is_asked_once_whatever_geometry_it_has_later() -> None:
    state, chosen = view(), SelectionConfig(stiff_frames=3)
    first = stiff_frames(state, NODE, chosen)  # type: ignore[arg-type]
    state._labels += [
        label(f["family"], structure_from_document(f["structure"]), kind=f["kind"], how=f["how"]) for f in first.frames
    ]
    state.phases = {**PHASES, "li2s": (HIGHER, 0.0, "reference", {})}
    state._labels.append(label("li2s", HIGHER))
    assert asked(state, stiff_frames=3) == []
    failed = [{**row, "status": "failed"} if row["kind"] == "displaced" else row for row in state._labels]
    assert {family for family, _, _ in asked(View(PHASES, failed), stiff_frames=3)} == {"li2s"}


def test_the_way_down_goes_on_from_the_lowest_label_and_ends_at_rest() -> None:
    forces = np.zeros((2, 3))
    forces[0] = 1.0, 0.0, 0.0
    phases = {"wrong": PHASES["wrong"]}
    pushed: dict[str, Any] = {"forces": forces.tolist()}
    state = View(phases, [label("wrong", LIS, **pushed)])
    found = stiff_frames(state, NODE, SelectionConfig(label_path=2))  # type: ignore[arg-type]
    (frame,) = found.frames
    step = structure_from_document(frame["structure"])
    assert (frame["kind"], frame["how"], step[0].coords[0]) == ("downhill", "corrected", pytest.approx(0.05))
    higher = label("wrong", step, kind="downhill", how="corrected", energy_per_atom=-0.9, **pushed)
    assert asked(View(phases, [*state._labels, higher]), label_path=2) == []  # the step went up: the same one would come out
    lower = {**higher, "energy_per_atom": -1.1}
    (second,) = stiff_frames(View(phases, [*state._labels, lower]), NODE, SelectionConfig(label_path=2)).frames  # type: ignore[arg-type]
    assert structure_from_document(second["structure"])[0].coords[0] == pytest.approx(0.1)
    assert asked(View(phases, [*state._labels, lower]), label_path=1) == []
    assert asked(View(phases, [label("wrong", LIS)]), label_path=2) == []  # at rest


def test_frames_are_in_the_split_of_their_family() -> None:
    state = view(lithium="validation")
    new = [
        label(f["family"], structure_from_document(f["structure"]), "", kind=f["kind"], how=f["how"])
        for f in stiff_frames(state, NODE, SelectionConfig(stiff_frames=4, refuted_frames=1)).frames  # type: ignore[arg-type]
    ]
    splits = splits_for(new, state.labels(), TrainingConfig(test_fraction=0.5, validation_fraction=0.5), 0)
    found = {row["family"]: {splits[other["_id"]] for other in new if other["family"] == row["family"]} for row in new}
    assert found == {"li2s": {"train"}, "lithium": {"validation"}, "wrong": {"train"}, "excess": {"train"}}


def test_nothing_is_asked_for_where_nothing_is_labelled() -> None:
    maker = SelectMaker(node=NODE, selection=SelectionConfig(structures=0, stiff_frames=2))
    assert maker._stiff_frames("no state is opened").frames == []
