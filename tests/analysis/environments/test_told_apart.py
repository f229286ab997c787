"""Classes of motifs and the mean kernel between them."""

from __future__ import annotations

import numpy as np
import pytest

from coevo.analysis.environments.told_apart import motif_classes, told_apart
from coevo.configs.references import load_references

ELEMENTS = ("Li", "P", "S")


def test_means_by_hand():
    classes = {
        ("P", "one"): np.array([[0.0, 0.0], [0.0, 0.1]]),
        ("P", "two"): np.array([[0.1, 0.0]]),
        ("P", "far"): np.array([[9.0, 9.0]]),
        ("S", "one"): np.array([[0.0, 0.0]]),
    }
    found = told_apart(classes, 0.1)
    mean = (np.exp(-0.5) + np.exp(-1.0)) / 2
    assert (found["classes"], found["pairs"], found["left_out"]) == (4, 3, 0)
    assert found["largest"] == pytest.approx(mean)
    [mixed] = found["mixed"]
    assert (mixed["element"], mixed["motifs"], mixed["mean_kernel"]) == ("P", ["one", "two"], pytest.approx(mean))
    assert told_apart(classes, 0.03)["mixed"] == []
    assert told_apart({}, 0.1) == {"classes": 0, "pairs": 0, "left_out": 0, "largest": None, "mixed": []}


@pytest.fixture(scope="module")
def classes():
    return motif_classes([phase.structure for phase in load_references("li-p-s", ELEMENTS)], ELEMENTS, 32, 5.0)


def test_atoms_are_in_the_classes_of_their_motifs(classes):
    assert len(classes["P", "PS4"]) == 10
    assert len(classes["S", "PS4"]) == 4 * len(classes["P", "PS4"])
    assert len(classes["S", "S8 ring"]) == 64
    assert not any(element == "Li" for element, _ in classes)


def test_at_the_resolution_of_the_phases_some_corners_of_cages_are_one(classes):
    found = told_apart(classes, 0.078)
    named = {(row["element"], *row["motifs"]) for row in found["mixed"]}
    assert ("P", "P4S10 cage", "P4S7 cage") in named
    # a kernel so wide tells PS4 from all else that P is in, but for S in a P2S7 that shares its terminal atoms
    assert not any(element == "P" and "PS4" in motifs and "P2S7" not in motifs for element, *motifs in named)
    assert found["pairs"] == 9 * 8 // 2 + 8 * 7 // 2
