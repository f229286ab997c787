"""E_hull by first-principles labels in evaluation documents."""

from __future__ import annotations

from typing import Any

import pytest
from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
from pymatgen.core import Lattice, Structure

from coevo.makers.labels.validation import with_label_hull
from coevo.node_store.canonical import structure_document

LI = Structure(Lattice.cubic(3.4), ["Li", "Li"], [[0, 0, 0], [0.5, 0.5, 0.5]])
S = Structure(Lattice.cubic(3.0), ["S"], [[0, 0, 0]])
LI2S = Structure(Lattice.cubic(3.0), ["Li", "Li", "S"], [[0.25, 0.25, 0.25], [0.75, 0.75, 0.75], [0, 0, 0]])
LIS = Structure(Lattice.cubic(3.2), ["Li", "S"], [[0, 0, 0], [0.5, 0.5, 0.5]])
PHASES = {"li": LI, "s": S, "li2s": LI2S, "lis": LIS}
MODEL = {"li": 0.0, "s": 0.0, "li2s": -1.4, "lis": -0.95}


def documents() -> list[dict[str, Any]]:
    return [
        {
            "structure_id": name,
            "kind": "entry" if name == "lis" else "reference",
            "formula": structure.composition.reduced_formula,
            "energy_per_atom": MODEL[name],
            "energy_above_hull": 0.1 if name == "lis" else 0.0,
        }
        for name, structure in PHASES.items()
    ]


def label(name: str, energy: float, **more: Any) -> dict[str, Any]:
    return {
        "_id": f"{name} {energy}",
        "family": name,
        "structure": structure_document(PHASES[name]),
        "energy_per_atom": energy,
        "kind": "relaxed",
        "status": "admitted",
        "code": "espresso",
        "functional": "PBE",
        "anion_corrected": False,
        "settings_digest": "one",
        **more,
    }


LABELS = [label("li", -10.0), label("s", -20.0), label("li2s", -14.5), label("lis", -15.75)]


def test_it_is_the_hull_of_pymatgen_on_the_mp2020_scale() -> None:
    found, summary = with_label_hull(documents(), LABELS, ["Li", "S"], 0.1)
    corrected = {"li": -10.0, "s": -20.0, "li2s": -14.5 - 0.503 / 3, "lis": -15.75 - 0.503 / 2}
    entries = {n: PDEntry(c := s.composition, corrected[n] * c.num_atoms) for n, s in PHASES.items()}
    diagram = PhaseDiagram(list(entries.values()))
    for document in found:
        expected = diagram.get_e_above_hull(entries[document["structure_id"]])
        assert document["energy_above_hull_dft"] == pytest.approx(expected, abs=1e-3)
        assert document["is_stable_dft"] == (expected <= 0.1)
    assert summary is not None
    assert (summary["code"], summary["functional"], summary["labelled"], summary["compared"]) == ("espresso", "PBE", 4, 1)
    assert summary["both"] + summary["model_only"] + summary["label_only"] + summary["neither"] == 1


@pytest.mark.parametrize(
    "unusable",
    [{"status": "rejected"}, {"kind": "rattled"}, {"code": "teacher"}, {"settings_digest": "other"}, {"family": "unknown"}],
)
def test_labels_that_do_not_count_leave_the_entry_without_a_value(unusable: dict[str, Any]) -> None:
    labels = [*LABELS[:3], {**LABELS[3], **unusable}]
    found, summary = with_label_hull(documents(), labels, ["Li", "S"], 0.1)
    assert {d["structure_id"]: d["energy_above_hull_dft"] is None for d in found}["lis"]
    assert summary is not None
    assert summary["compared"] == 0


def test_the_lowest_relaxed_frame_of_a_phase_counts() -> None:
    higher = label("lis", -15.0)
    assert with_label_hull(documents(), [*LABELS, higher], ["Li", "S"], 0.1) == with_label_hull(
        documents(), LABELS, ["Li", "S"], 0.1
    )


def test_without_labels_the_fields_are_empty() -> None:
    found, summary = with_label_hull(documents(), [], ["Li", "S"], 0.1)
    assert summary is None
    assert all(d["energy_above_hull_dft"] is None and d["is_stable_dft"] is None for d in found)


def test_labels_are_compared_with_the_force_field_also_where_one_has_refuted_it() -> None:
    """The label of LiS puts it 1 eV/atom higher than the force field: the two disagree, whichever energy the state takes."""
    refuting = [*LABELS[:3], label("lis", -14.75)]
    refuted = {"energy_per_atom": 0.05, "model_energy_per_atom": -0.95, "energy_above_hull": 1.1}
    rows = [{**d, **refuted} if d["structure_id"] == "lis" else {**d, "model_energy_per_atom": None} for d in documents()]
    (_, summary), (_, plain) = (with_label_hull(each, refuting, ["Li", "S"], 0.15) for each in (rows, documents()))
    assert summary is not None
    assert summary == pytest.approx(plain)
    assert (summary["model_only"], summary["neither"]) == (1, 0)
    assert summary["mean_absolute_difference"] == pytest.approx(0.899, abs=1e-3)


def test_who_competes_is_said_by_the_force_field_alone() -> None:
    """LiS is on the force field's hull; a label of other settings, a teacher's, has lifted it in the state."""
    low = {"lis": {"energy_per_atom": 0.4, "model_energy_per_atom": -1.3, "energy_above_hull": 1.45}}
    rows = [{**d, **low.get(d["structure_id"], {})} for d in documents()]
    without = [LABELS[0], LABELS[1], LABELS[2]]
    found, _ = with_label_hull(rows, without, ["Li", "S"], 0.1)
    # of Li2S nothing can be said: LiS, of its elements, is on the force field's hull and has no label of these settings
    assert {d["structure_id"]: d["energy_above_hull_dft"] for d in found}["li2s"] is None
