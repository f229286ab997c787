"""Who makes the hull: labelled phases and references, as pymatgen's phase diagram of them; standing of entries."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
from pymatgen.core import Composition, Lattice, Structure

from coevo.analysis.composition import fractions
from coevo.configs.electrons import electron_excess, has_electron_excess
from coevo.configs.tree import CurationConfig
from coevo.makers.labels.standing import standing_of_state
from coevo.makers.populations.hull_members import Standing, counted, is_counted, is_of_before, status_counts, with_status
from coevo.makers.populations.population import Member, hull_of, population_records
from coevo.node_store.canonical import structure_document, structure_id

ELEMENTS = ("Li", "S")
REFERENCES = {"Li": 0.0, "S": 0.0, "Li2S": -0.8}
ENTRIES = {
    # the force field's energy, status, the energy in the state
    "Li3S": (-0.9, "refuted", -0.3),
    "LiS": (-0.9, "confirmed", -0.9),
    "Li4S": (-1.5, "unconfirmed", -1.5),  # an electron excess, and no label
    "LiS2": (-0.1, None, -0.1),
}


def member(formula: str, kind: str, energy: float, **document: Any) -> Member:
    composition = Composition(formula)
    species = [element.symbol for element, amount in composition.items() for _ in range(int(amount))]
    structure = Structure(Lattice.cubic(5.0), species, [[i / len(species), 0, 0] for i in range(len(species))])
    return Member(formula, structure, energy, {"kind": kind, "energy_per_atom": energy, "duplicate_of": None, **document})


def population() -> tuple[list[Member], list[Member]]:
    references = [member(f, "reference", e, hull_status=None, model_energy_per_atom=None) for f, e in REFERENCES.items()]
    entries = [
        member(f, "entry", energy, hull_status=status, model_energy_per_atom=model if status == "refuted" else None)
        for f, (model, status, energy) in ENTRIES.items()
    ]
    return references, entries


def diagram(energies: dict[str, float]) -> PhaseDiagram:
    return PhaseDiagram([PDEntry(Composition(f), energy * Composition(f).num_atoms) for f, energy in energies.items()])


def test_the_hull_is_that_of_references_and_labelled_entries() -> None:
    references, entries = population()
    hull = hull_of(ELEMENTS, counted(references, entries))
    expected = diagram(REFERENCES | {"Li3S": -0.3, "LiS": -0.9})
    for m in (*references, *entries):
        above = hull.energy_above_hull(fractions([m.structure], ELEMENTS), [m.energy_per_atom])[0]
        composition = Composition(m.id)
        entry = PDEntry(composition, m.energy_per_atom * composition.num_atoms)
        assert above == pytest.approx(expected.get_e_above_hull(entry, allow_negative=True), abs=1e-9)
    assert hull.energy_above_hull([[0.8, 0.2]], [-1.5])[0] < -0.5  # Li4S is below it, and does not make it


def test_an_electron_excess_never_enters_unlabelled() -> None:
    _, entries = population()
    excess = [m for m in entries if has_electron_excess(electron_excess(Composition(m.id).as_dict()))]
    assert {m.id for m in excess} == {"Li3S", "Li4S"}
    assert [m.id for m in excess if is_counted(m.document)] == ["Li3S"]  # which has a label


def test_without_the_rule_everything_makes_it_by_the_force_field() -> None:
    references, entries = population()
    energies = [energy for _, energy in counted(references, entries, CurationConfig())]
    assert energies == [*REFERENCES.values(), *(model for model, *_ in ENTRIES.values())]
    assert is_counted({"kind": "entry"})  # of a state of before


OFFSETS = {"d": {"elements": ["Li", "S"], "values": [0.0, 0.0], "rank": 2, "residual_rms": 0.0, "n": 2}}


def label(of: Member, energy: float, **more: Any) -> dict[str, Any]:
    frame = {"frame": structure_id(of.structure), "structure": structure_document(of.structure), "family": of.id, "_id": of.id}
    numbers = {"energy_per_atom": energy, "functional": "r2SCAN", "anion_corrected": False, "settings_digest": "d"}
    return {**frame, **numbers, "status": "admitted", "kind": "relaxed", "code": "teacher", **more}


@pytest.mark.parametrize(("only", "compounds"), [(False, {"LiS": -0.9, "Li4S": -0.3}), (True, {"Li4S": -0.3})])
def test_entries_of_a_state_of_before_are_judged_by_its_labels(only: bool, compounds: dict[str, float]) -> None:
    """The force field has LiS at -0.9 and Li4S at -1.5 eV/atom: labels agree with the one and refute the other."""
    references, entries = population()
    for m in entries:
        del m.document["hull_status"]
    of = {m.id: m for m in entries}
    labels = [
        label(of["LiS"], -0.91),
        label(of["Li4S"], -0.3, code="vasp"),
        label(of["LiS2"], -0.1, status="rejected"),
        label(of["Li3S"], -0.9, settings_digest="without offsets"),
    ]
    view: Any = SimpleNamespace(manifest={"offsets": OFFSETS}, labels=lambda: labels)
    curation = CurationConfig(hull="labelled")
    assert is_of_before(entries, curation)
    assert not is_of_before(population()[1], curation)
    assert not is_of_before(entries, CurationConfig())
    standing = standing_of_state(view, references, entries, curation, "mp2020", first_principles=only)
    found = {s.composition.reduced_formula: e for s, e in counted(references, entries, curation, standing)}
    assert found == pytest.approx(REFERENCES | compounds)


def evaluation(identifier: str, above: float, kind: str = "entry", duplicate: str | None = None) -> dict[str, Any]:
    return {"structure_id": identifier, "kind": kind, "energy_above_hull": above, "is_sun": True, "duplicate_of": duplicate}


def test_standing_of_each_and_who_is_no_longer_sun() -> None:
    standing = Standing(frozenset({"agreed", "refuted", "known"}), {"refuted": -0.3}, frozenset({"refuted"}))
    documents = [
        evaluation("known", 0.0, "reference"),
        evaluation("agreed", 0.0),
        evaluation("refuted", 0.05),
        evaluation("alike", -0.2),
        evaluation("below", -0.1),
        evaluation("above", 0.05),
        evaluation("copy", -0.1, duplicate="below"),
    ]
    rows = with_status(documents, standing, frozenset({"alike"}), {"refuted": -0.9})
    assert {r["structure_id"]: (r["hull_status"], r["is_sun"], r["model_energy_per_atom"]) for r in rows} == {
        "known": (None, True, None),
        "agreed": ("confirmed", True, None),
        "refuted": ("refuted", False, -0.9),
        "alike": ("in_doubt", False, None),
        "below": ("unconfirmed", True, None),
        "above": (None, True, None),
        "copy": ("unconfirmed", True, None),
    }
    assert status_counts(rows) == {"confirmed": 1, "unconfirmed": 1, "refuted": 1, "in_doubt": 1}


def test_what_is_evaluated_again_has_the_energy_of_the_force_field() -> None:
    """A merge whose force field is the same carries energies over: not those of labels."""
    references, entries = population()

    class View:
        document: Any = {"checkpoints": {"force_field": {"sha256": "0" * 64}}}  # noqa: RUF012 - one for all

        def evaluations(self, kind: str) -> list[dict[str, Any]]:
            rows = references if kind == "reference" else entries
            common = {"fmax": 0.0, "note": "", "iteration_added": 1}
            return [{**common, **m.document, "structure_id": m.id} for m in rows]

        def structure(self, identifier: str, relaxed: bool) -> Structure:
            assert relaxed
            return next(m.structure for m in (*references, *entries) if m.id == identifier)

    view: Any = View()
    energies = {r["id"]: r["energy_per_atom"] for r in population_records(view)}
    assert energies["Li3S"] == -0.9
    assert np.allclose([energies[f] for f in ENTRIES], [model for model, *_ in ENTRIES.values()])
