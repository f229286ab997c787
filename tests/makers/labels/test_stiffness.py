"""Which frames tell stiffness, and that their labels are neither trained on nor tested with, and move no other label."""

from __future__ import annotations

from typing import Any

import pytest
from pymatgen.core import Lattice, Structure

from coevo.analysis.stiffness.frames import StiffnessFrames, stiffness_frames
from coevo.configs.references import load_references
from coevo.configs.tree import CurationConfig, TrainingConfig
from coevo.errors import AnalysisError
from coevo.flows.seeding import reference_documents
from coevo.makers.labels.stiffness import MOST_ATOMS, is_stiffness, simplest_compounds, without_stiffness
from coevo.makers.labels.training_set import splits_for
from coevo.makers.populations.population import matching_of
from coevo.makers.unite import united_splits
from coevo.node_store.canonical import structure_document


@pytest.fixture(scope="module")
def references() -> list[dict[str, Any]]:
    return reference_documents(load_references("li-p-s", ("Li", "P", "S")))


@pytest.mark.parametrize(("count", "formulas"), [(0, []), (1, ["Li2S"]), (3, ["Li2S", "Li3P"])])
def test_the_simplest_compounds_are_small_and_no_elements(
    references: list[dict[str, Any]], count: int, formulas: list[str]
) -> None:
    found = simplest_compounds(references, count)
    assert [compound.frames.cell.composition.reduced_formula for compound in found] == formulas
    assert all(len(compound.frames.cell) <= MOST_ATOMS for compound in found)


def test_their_frames_are_the_same_each_time_and_name_their_reference(references: list[dict[str, Any]]) -> None:
    (one,), (other,) = simplest_compounds(references, 1), simplest_compounds(list(reversed(references)), 1)
    assert one.records == other.records
    assert {record["family"] for record in one.records} == {one.document["_id"]}
    assert [record["kind"] for record in one.records] == ["strained"] * 5 + ["displaced"] * 2
    assert len({record["id"] for record in one.records}) == 7
    assert all(is_stiffness(record) for record in one.records)


@pytest.mark.parametrize("place", [0, 1000])
def test_a_reference_whose_symmetry_is_not_found_is_passed_over(references: list[dict[str, Any]], place: int) -> None:
    """Two atoms nearly on each other: spglib finds no symmetry, whichever reference comes first."""
    cell = Structure(Lattice.cubic(4.0), ["Li", "S", "S"], [[0, 0, 0], [0.5, 0.5, 0.5], [0.501, 0.5, 0.5]])
    with pytest.raises(AnalysisError, match="no symmetry of Li1 S2"):
        stiffness_frames(cell)
    odd = {**references[0], "_id": "0" * 64, "structure": structure_document(cell)}
    rows = list(references)
    rows.insert(place, odd)
    plain, found = simplest_compounds(references, 3), simplest_compounds(rows, 3)
    assert [compound.records for compound in found] == [compound.records for compound in plain]
    assert simplest_compounds([odd], 1) == []


def test_one_without_displacements_is_passed_over_for_the_next(
    references: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = simplest_compounds(references, 2)

    def frames(structure: Structure) -> StiffnessFrames:
        if structure.composition.reduced_formula == first.frames.cell.composition.reduced_formula:
            raise AnalysisError("an operation of the space group brings Li to no other atom")
        return stiffness_frames(structure)

    monkeypatch.setattr("coevo.analysis.stiffness.frames.stiffness_frames", frames)
    assert [compound.document["_id"] for compound in simplest_compounds(references, 1)] == [second.document["_id"]]


def row(name: str, split: str = "", **more: Any) -> dict[str, Any]:
    plain = {"_id": name, "family": "Li2S", "frame": f"at {name}", "how": "random", "kind": "rattled"}
    return {**plain, "split": split, **more}


def test_their_split_is_test_and_that_of_no_other_label() -> None:
    training = TrainingConfig(test_fraction=0.0, validation_fraction=0.01)
    older = [row("old", "train", how="reference"), row("stiff", "test", how="stiffness")]
    new = [row("a"), row("b", how="stiffness"), row("c", frame="at stiff")]
    assert splits_for(new, older, training, 0) == {"a": "train", "b": "test", "c": "train"}
    assert [label["_id"] for label in without_stiffness(older)] == ["old"]


def test_a_merge_leaves_the_splits_of_their_family() -> None:
    one = [row("anchor", "train", how="reference"), row("stiff", "test", how="stiffness")]
    found = united_splits([one, [row("other", "train")]], matching_of(CurationConfig()))
    assert found == {"anchor": "train", "other": "train", "stiff": "test"}
