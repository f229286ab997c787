"""What a state hands out: tables, entries, phase diagrams, structures, labels and models."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.calculator import CalculationFailed
from ase.stress import voigt_6_to_full_3x3_stress

from coevo.errors import LabellingError, ModelError, QueryError
from coevo.models.contracts import Generator
from coevo.notebooks.nodes import Node
from coevo.notebooks.states import State
from tiny_node import Coevo


def test_the_table_holds_the_entries_by_stability(state: State, finished: Coevo) -> None:
    table = state.to_dataframe()
    rows = json.loads(finished("query", "tiny", "--format", "json").stdout)
    assert list(table.index) == [row["structure_id"] for row in rows]
    for name in ("formula", "energy_above_hull", "is_sun", "iteration_added", "space_group"):
        assert list(table[name]) == [row[name] for row in rows]
    assert table.energy_above_hull.is_monotonic_increasing
    assert set(table[table.is_sun].kind) == {"entry"}
    assert "relaxed" not in table


def test_a_table_is_filtered_as_a_query(state: State, finished: Coevo) -> None:
    wanted = 'elements HAS "P" AND energy_above_hull < 0.2'
    rows = json.loads(finished("query", "tiny", wanted, "--format", "json").stdout)
    assert 0 < len(rows) < len(state.to_dataframe())
    assert list(state.to_dataframe(wanted).index) == [row["structure_id"] for row in rows]
    assert state.to_dataframe("nsites > 9999").empty
    with pytest.raises(QueryError):
        state.to_dataframe("energy_above_hull <")
    with pytest.raises(QueryError, match="kind='all'"):
        state.to_dataframe(wanted, kind="all")


def test_a_table_without_rows_has_the_types_of_one_with_rows(node: Node) -> None:
    full, empty, none = (
        node.state().to_dataframe(),
        node.state().to_dataframe("nsites > 9999"),
        node.state("main~2").to_dataframe(),
    )
    assert len(full) > len(empty) == len(none) == 0
    assert full.dtypes.to_dict() == empty.dtypes.to_dict() == none.dtypes.to_dict()
    assert none[none.formula.str.contains("Li") & none.is_sun].empty
    assert full[full.duplicate_of.isna()].shape == full.shape


def test_what_a_notebook_does_to_the_metrics_changes_no_state(state: State) -> None:
    reason = state.metrics["maturity"]["reason"]
    state.metrics["maturity"]["reason"] = "because"
    assert state.metrics["maturity"]["reason"] == reason


def test_references_are_rows_too(state: State) -> None:
    assert len(state.to_dataframe(kind="reference")) == state.counts["references"]
    assert len(state.to_dataframe(kind="all")) == state.counts["references"] + state.counts["entries"]
    with pytest.raises(QueryError, match="kind: got 'entries'"):
        state.to_dataframe(kind="entries")  # type: ignore[arg-type]


@pytest.mark.parametrize("ref", ["main", "main~1", "main~2"])
def test_a_phase_diagram_has_the_energies_above_hull_of_the_state(node: Node, ref: str) -> None:
    state = node.state(ref)
    diagram, entries = state.phase_diagram(), state.entries_pymatgen()
    assert len(entries) == state.counts["references"] + state.counts["entries"]
    for entry in entries:
        stored = state.view.evaluation(entry.entry_id)
        assert diagram.get_e_above_hull(entry) == pytest.approx(stored["energy_above_hull"], abs=1e-9)
        assert diagram.get_form_energy_per_atom(entry) == pytest.approx(stored["formation_energy_per_atom"], abs=1e-9)
        assert entry.data["energy_above_hull"] == stored["energy_above_hull"]
        assert entry.energy == pytest.approx(stored["energy_per_atom"] * len(entry.structure), abs=1e-12)
        assert entry.structure == state.structure(entry.entry_id)


def test_entries_know_where_they_come_from(state: State) -> None:
    named = {entry.data["name"] for entry in state.entries_pymatgen(kind="reference")}
    assert len(named) == state.counts["references"]
    assert {entry.data["iteration_added"] for entry in state.entries_pymatgen(kind="entry")} == {1, 2}
    copied = type(state.entries_pymatgen()[0]).from_dict(state.entries_pymatgen()[0].as_dict())
    assert copied.data["structure_id"] == copied.entry_id


def test_a_structure_is_found_by_the_beginning_of_its_id(state: State) -> None:
    whole = state.to_dataframe().index[0]
    assert state.structure(whole[:12]) == state.structure(whole) == state.view.structure(whole)
    assert state.structure(whole, relaxed=False) == state.view.structure(whole, relaxed=False)
    for wrong in ("", "zz", whole + "0"):
        with pytest.raises(QueryError, match="have an id that begins with"):
            state.structure(wrong)


def test_labels_are_atoms_in_the_units_and_signs_of_ase(state: State) -> None:
    documents = {row["_id"]: row for row in state.view.labels()}
    frames = state.labels("ase")
    assert {frame.info["id"] for frame in frames} == {i for i, row in documents.items() if row["status"] == "admitted"}
    for frame in frames:
        row = documents[frame.info["id"]]
        assert frame.get_potential_energy() == pytest.approx(row["energy_per_atom"] * len(frame), abs=1e-12)
        assert np.array_equal(frame.get_forces(), np.array(row["forces"]))
        assert np.allclose(voigt_6_to_full_3x3_stress(frame.get_stress()), np.array(row["stress"]), atol=1e-9)
        assert np.allclose(frame.cell[:], np.array(row["structure"]["lattice"]["matrix"]))
        assert frame.info["split"] == row["split"]
        assert frame.info["settings_digest"] == row["settings_digest"]


def test_labels_on_the_scale_of_the_state_are_what_its_force_field_learned(state: State) -> None:
    own, given = state.labels("ase", energy="state", split="train"), state.labels("ase", split="train")
    assert [frame.info["id"] for frame in own] == [frame.info["id"] for frame in given]
    calculator = state.force_field().calculator()
    errors = {"own": [], "given": []}
    for name, frames in (("own", own), ("given", given)):
        for frame in frames[:6]:
            predicted = frame.copy()
            predicted.calc = calculator
            errors[name].append(abs(predicted.get_potential_energy() - frame.get_potential_energy()) / len(frame))
    assert np.mean(errors["own"]) < 0.2 < np.mean(errors["given"])
    assert all(np.array_equal(one.get_forces(), other.get_forces()) for one, other in zip(own, given, strict=True))


def test_labels_are_chosen_by_status_and_split(state: State) -> None:
    everything = state.labels("documents", status=None)
    assert len(everything) == state.counts["labels"]
    by_split = [state.labels("documents", status=None, split=split) for split in ("train", "validation", "test")]
    assert sum(map(len, by_split)) == len(everything)
    assert state.labels(status="failed") == []
    for wrong in ({"form": "vasp"}, {"status": "good"}, {"split": "all"}, {"energy": "mine"}):
        with pytest.raises(QueryError, match="labels: "):
            state.labels(**wrong)


def test_labels_of_settings_without_offsets_are_told(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(state.view.manifest, "offsets", {})
    with pytest.raises(LabellingError, match="energy='code'"):
        state.labels(energy="state")


def test_the_force_field_is_the_one_that_made_the_energies(state: State) -> None:
    calculator = state.force_field().calculator()
    for entry in state.entries_pymatgen()[:4]:
        atoms = entry.structure.to_ase_atoms(msonable=False)
        atoms.calc = calculator
        assert atoms.get_potential_energy() / len(atoms) == pytest.approx(entry.data["energy_per_atom"], abs=1e-5)


def test_the_generator_draws_what_the_configuration_asks_for(state: State) -> None:
    generator = state.generator()
    assert isinstance(generator.model, Generator)
    assert generator.conditions.elements == ("Li", "P", "S")
    sample = generator.sample(3, seed=5)
    again = generator.sample(3, generator.conditions, 5)
    assert [c.structure for c in sample.candidates] == [c.structure for c in again.candidates]
    assert all(len(c.structure) <= 8 for c in sample.candidates)
    small = generator.sample(2, seed=5, max_atoms=4)
    assert all(len(c.structure) <= 4 for c in small.candidates)


def test_conditions_are_taken_as_they_are_written(state: State) -> None:
    generator = state.generator()
    one = generator.sample(2, seed=5, compositions="Li2S")
    assert [c.structure for c in one.candidates] == [
        c.structure for c in generator.sample(2, seed=5, compositions=["Li2S"]).candidates
    ]
    assert {c.structure.composition.reduced_formula for c in one.candidates} == {"Li2S"}
    for systems in ("S-P", ("P-S",), {"P-S": 2.0}):
        drawn = generator.sample(np.int64(2), seed=5, chemical_systems=systems).candidates
        assert [c.structure.chemical_system for c in drawn] == ["P-S", "P-S"]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"n": -1}, "n: got -1, allowed: an integer >= 0"),
        ({"n": 2.5}, "n: got 2.5"),
        ({"seed": -1}, "seed: got -1"),
        ({"seed": "a"}, "seed: got 'a'"),
        ({"max_atoms": 0}, "max_atoms: got 0, allowed: an integer >= 1"),
        ({"compositions": "lithium"}, "compositions: got 'lithium', allowed: formulas"),
        ({"atoms": 4}, "got atoms, allowed: elements, max_atoms, chemical_systems"),
    ],
)
def test_conditions_that_are_none_are_told(state: State, wrong: dict, told: str) -> None:
    with pytest.raises(ModelError, match=f"sample: {told}"):
        state.generator().sample(**{"n": 1, **wrong})


def test_atoms_without_a_cell_have_no_energy(state: State) -> None:
    atoms = Atoms("Li2", positions=[[0, 0, 0], [0, 0, 3]])
    atoms.calc = state.force_field().calculator()
    with pytest.raises(CalculationFailed, match="not_periodic: the atoms have 0 cell vectors"):
        atoms.get_potential_energy()
