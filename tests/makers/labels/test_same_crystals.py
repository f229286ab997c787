"""A crystal that is labelled twice, under two names, is on one side of the split."""

from __future__ import annotations

from typing import Any

import pytest
from pymatgen.core import Lattice, Structure

from coevo.configs.tree import CurationConfig, TrainingConfig
from coevo.makers.labels.same_crystals import same_crystals
from coevo.makers.labels.training_set import splits_for
from coevo.makers.populations.population import matching_of
from coevo.node_store.canonical import structure_document, structure_id

MATCHING = matching_of(CurationConfig())
ROCKSALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.2), ["Li", "S"], [[0, 0, 0], [0.5, 0.5, 0.5]])
AGAIN = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.22), ["Li", "S"], [[0, 0, 0], [0.5, 0.5, 0.5]]) * (1, 1, 2)
CHLORIDE = Structure(Lattice.cubic(3.2), ["Li", "S"], [[0, 0, 0], [0.5, 0.5, 0.5]])


def label(
    family: str, structure: Structure, split: str = "", energy: float | None = -3.0, kind: str = "relaxed"
) -> dict[str, Any]:
    return {
        "_id": f"{family} {kind}",
        "family": family,
        "frame": f"{kind} {structure_id(structure)}",
        "structure": structure_document(structure),
        "kind": kind,
        "how": "random",
        "energy_per_atom": energy,
        "split": split,
    }


@pytest.mark.parametrize("split", ["test", "validation", "train"])
def test_a_crystal_that_has_labels_joins_their_split(split: str) -> None:
    older = [label("old", ROCKSALT, split), label("other", CHLORIDE, "train")]
    new = [label("new", AGAIN), label("new", AGAIN, kind="rattled"), label("third", CHLORIDE)]
    same = same_crystals(new, MATCHING, older)
    assert same == {"new": "old", "third": "other"}
    training = TrainingConfig(test_fraction=0.5, validation_fraction=0.5)
    found = splits_for(new, older, training, 0, same)
    assert found == {"new relaxed": split, "new rattled": split, "third relaxed": "train"}


def test_of_several_the_one_that_is_never_trained_on_decides() -> None:
    older = [label("a", ROCKSALT, "train"), label("b", AGAIN, "test", energy=None)]
    assert same_crystals([label("new", AGAIN * (2, 1, 1))], MATCHING, older) == {"new": "b"}


def test_two_new_ones_share_the_split_of_one_name() -> None:
    new = [label("x", ROCKSALT, energy=-3.2), label("y", AGAIN, energy=-3.1)]
    same = same_crystals(new, MATCHING)
    assert same == {"x": "x", "y": "x"}
    for seed in range(8):
        found = splits_for(new, [], TrainingConfig(test_fraction=0.4, validation_fraction=0.3), seed, same)
        assert len(set(found.values())) == 1


NONE_TRAINED = TrainingConfig(test_fraction=0.5, validation_fraction=0.5)


@pytest.mark.parametrize("candidate", [-3.5, -2.5])
def test_a_candidate_that_is_the_crystal_of_a_new_anchor_is_trained_on(candidate: float) -> None:
    """Whichever has the lower energy, and so represents both."""
    anchor = {**label("reference", ROCKSALT, energy=-3.0), "how": "reference"}
    new = [anchor, label("found again", AGAIN, energy=candidate), label("other", CHLORIDE)]
    same = same_crystals(new, MATCHING)
    assert len(set(same.values())) == 2
    found = splits_for(new, [], NONE_TRAINED, 0, same)
    assert found.pop("other relaxed") in {"test", "validation"}
    assert found == {"reference relaxed": "train", "found again relaxed": "train"}


@pytest.mark.parametrize("candidate", [-3.5, -2.5])
@pytest.mark.parametrize("split", ["test", "validation", "train"])
def test_what_is_known_of_any_new_name_of_a_crystal_counts_for_all(candidate: float, split: str) -> None:
    """The family with labels has none of a relaxed frame before, so it is grouped with the new one."""
    older = [label("known", ROCKSALT, split, kind="rattled")]
    new = [label("known", ROCKSALT, energy=-3.0), label("found again", AGAIN, energy=candidate)]
    same = same_crystals(new, MATCHING, older)
    for seed in range(8):
        assert set(splits_for(new, older, NONE_TRAINED, seed, same).values()) == {split}


def imported(family: str, split: str = "", **more: Any) -> dict[str, Any]:
    return {**label(family, ROCKSALT, split), "code": "imported", "status": "admitted", "settings_digest": "d", **more}


@pytest.mark.parametrize("seed", range(8))
def test_a_crystal_with_labels_under_another_name_never_moves_to_fill_a_split(seed: int) -> None:
    training = TrainingConfig(test_fraction=0.1, validation_fraction=0.1)
    new = [imported("again"), imported("free 1"), imported("free 2"), imported("free 3")]
    new = [{**x, "frame": x["family"]} for x in new]
    for how, digest in (("random", "d"), ("reference", "other")):
        older = [imported("labelled", "train", how=how, settings_digest=digest)]
        found = splits_for(new, older, training, seed, {"again": "labelled"})
        assert found["again relaxed"] == "train"
        assert {"test", "validation"} <= set(found.values())


@pytest.mark.parametrize("seed", range(8))
def test_new_names_of_one_crystal_move_together(seed: int) -> None:
    training = TrainingConfig(test_fraction=0.1, validation_fraction=0.1)
    new = [{**imported(name), "frame": name} for name in ("a", "a again", "b", "b again", "c", "c again")]
    same = {name: name.split()[0] for name in ("a", "a again", "b", "b again", "c", "c again")}
    found = splits_for(new, [], training, seed, same)
    assert all(found[f"{name} relaxed"] == found[f"{name} again relaxed"] for name in "abc")
    assert set(found.values()) == {"train", "validation", "test"}
