"""What labels say of entries: which count, when they refute, and when they are of another crystal by now."""

from __future__ import annotations

from typing import Any

import pytest
from pymatgen.core import Lattice, Structure

from coevo.configs.tree import CurationConfig, LabellingConfig
from coevo.makers.labels.standing import labelled_frames, only_first_principles, standing_of
from coevo.makers.populations.population import Member
from coevo.node_store.canonical import structure_document, structure_id

CURATION = CurationConfig(hull="labelled")
ZERO = {"elements": ["Li", "P", "S"], "values": [0.0, 0.0, 0.0], "rank": 3, "residual_rms": 0.0, "n": 3}


def crystal(length: float = 5.2) -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(length), ["Li", "S"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def label(structure: Structure, energy: float, **more: Any) -> dict[str, Any]:
    found = {
        "_id": f"{energy:.6f} {more}",
        "frame": structure_id(structure),
        "structure": structure_document(structure),
        "family": "entry",
        "kind": "relaxed",
        "how": "hull",
        "code": "teacher",
        "functional": "r2SCAN",
        "anion_corrected": False,
        "settings_digest": "digest",
        "status": "admitted",
        "energy_per_atom": energy,
    }
    return {**found, **more}


def standing(
    labels: list[dict[str, Any]], model: float = -1.0, *, offsets: Any = None, now: Structure | None = None, **rule: Any
):
    entry = Member("entry", now or crystal(), model, {})
    frames = labelled_frames(labels, {"digest": ZERO} if offsets is None else offsets, "mp2020", **rule)
    return standing_of([Member("reference", crystal(), -3.0, {})], [entry], frames, CURATION)


@pytest.mark.parametrize(
    ("energy", "residual", "refuted", "false"),
    [
        (-0.976, 0.0, False, False),
        (-0.974, 0.0, True, True),  # 26 meV/atom above
        (-1.026, 0.0, True, False),  # below: no false minimum
        (-0.90, 0.051, False, False),  # 100 meV/atom, and twice the residual of the offsets are 102
        (-0.89, 0.051, True, True),
    ],
)
def test_a_label_refutes_beyond_the_larger_of_two_limits(energy: float, residual: float, refuted: bool, false: bool) -> None:
    found = standing([label(crystal(), energy)], offsets={"digest": {**ZERO, "residual_rms": residual}})
    assert found.labelled == {"entry"}
    assert found.refuted == ({"entry": energy} if refuted else {})
    assert found.false_minima == ({"entry"} if false else set())


def test_the_energy_is_on_the_scale_of_the_node() -> None:
    """Offsets of 0.5 eV per Li and -0.1 per S, and for PBE the correction of MP2020, -0.503 eV per S of a sulphide."""
    shifted = {"digest": {**ZERO, "values": [0.5, 0.0, -0.1]}}
    assert standing([label(crystal(), -1.5)], offsets=shifted).refuted == {"entry": pytest.approx(-1.3)}
    found = standing([label(crystal(), -1.5, functional="PBE")], offsets=shifted)
    assert found.refuted == {"entry": pytest.approx(-1.3 - 0.503 / 2)}


@pytest.mark.parametrize(
    "change",
    [
        {"status": "rejected"},
        {"kind": "rattled"},
        {"settings_digest": "another, without offsets"},
    ],
)
def test_what_is_no_label_of_the_relaxed_frame_on_the_scale_does_not_count(change: dict[str, Any]) -> None:
    assert standing([label(crystal(), -0.5, **change)]).labelled == set()


def test_an_element_without_offset_does_not_count() -> None:
    assert standing([label(crystal(), -0.5)], offsets={"digest": {**ZERO, "elements": ["Li"], "values": [0.0]}}).labelled == set()


def test_a_reference_is_never_refuted() -> None:
    found = standing([label(crystal(), 5.0, family="reference")])
    assert (found.labelled, found.refuted) == ({"reference"}, {})


def test_first_principles_come_before_a_teacher_and_may_be_asked_for_alone() -> None:
    teacher, vasp = label(crystal(), -1.0), label(crystal(), -0.9, code="vasp")
    assert standing([teacher, vasp]).refuted == {"entry": -0.9}
    assert standing([teacher]).labelled == {"entry"}
    assert standing([teacher], first_principles=True).labelled == set()
    assert only_first_principles(LabellingConfig(code="vasp"))
    assert not only_first_principles(LabellingConfig(code="teacher"))


def test_of_several_of_one_digest_the_lowest_counts() -> None:
    assert standing([label(crystal(), -0.5), label(crystal(), -0.99)]).refuted == {}


def test_of_several_digests_the_one_counts_whose_offsets_leave_least() -> None:
    offsets = {"digest": {**ZERO, "residual_rms": 0.02}, "sharp": {**ZERO, "residual_rms": 0.001}}
    low, sharp = label(crystal(), -1.0), label(crystal(), -0.9, settings_digest="sharp")
    assert standing([low, sharp], offsets=offsets).refuted == {"entry": -0.9}
    assert standing([low, {**sharp, "energy_per_atom": -0.99}], offsets=offsets).refuted == {}
    # and first principles before either
    assert standing([low, sharp, label(crystal(), -0.5, code="vasp")], offsets=offsets).refuted == {"entry": -0.5}


def test_a_label_says_nothing_of_what_has_become_another_crystal() -> None:
    """After a fit the force field may relax a false minimum to a true one: the label of the old geometry is not its energy."""
    other = Structure(Lattice.cubic(3.2), ["Li", "S"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    assert standing([label(other, -0.5)]).labelled == set()
    assert standing([label(other, -1.0)]).labelled == set()  # whose energy happens to be that of the new one
    assert standing([label(other, -1.5), label(crystal(), -1.0)]).refuted == {}
    assert standing([label(crystal(5.25), -0.5)]).refuted == {"entry": -0.5}  # a little relaxed, and the same crystal
