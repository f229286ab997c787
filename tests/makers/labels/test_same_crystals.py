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
