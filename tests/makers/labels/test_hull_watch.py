"""What early stopping watches: reactions of labelled phases of validation families, by the labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from coevo.makers.labels.hull_watch import hull_watch
from coevo.models.contracts import TrainingFrame


def phase(formula: str, energy: float, split: str = "train", family: str = "", kind: str = "relaxed") -> tuple[Any, ...]:
    species = [symbol for symbol in formula.split() for _ in range(1)]
    structure = Structure(Lattice.cubic(4.0), species, [[i / len(species), 0, 0] for i in range(len(species))])
    zeros = np.zeros((len(species), 3))
    return {"family": family or formula, "kind": kind}, TrainingFrame(structure, energy, zeros, np.zeros((3, 3))), split


ELEMENTS = [phase("Li", 0.0), phase("S", 0.0)]


def watched(*rows: tuple[Any, ...]) -> Any:
    labels, frames, splits = zip(*rows, strict=True)
    return hull_watch(labels, frames, splits, ["Li", "S"])


def test_a_phase_on_the_hull_is_held_against_what_it_would_decompose_into() -> None:
    """LiS at -0.8 eV/atom beside Li2S at -0.9: 3/4 Li2S and 1/4 S give -0.675, so it is stable by 0.125."""
    watch = watched(*ELEMENTS, phase("Li Li S", -0.9), phase("Li S", -0.8, "validation"))
    assert watch.energies == pytest.approx([-0.125])
    by_formula = {s.composition.reduced_formula: x for s, x in zip(watch.structures, watch.reactions[0], strict=True)}
    assert by_formula == pytest.approx({"LiS": 1.0, "Li2S": -0.75, "S": -0.25})


def test_above_the_hull_it_is_the_energy_above_it_up_to_a_window() -> None:
    low, high = phase("Li S", -0.64, "validation"), phase("Li S", -0.6, "validation")
    assert watched(*ELEMENTS, phase("Li Li S", -0.9), low).energies == pytest.approx([0.035])
    assert watched(*ELEMENTS, phase("Li Li S", -0.9), high) is None


def test_what_counts_are_the_lowest_relaxed_frames_of_what_the_fit_may_see() -> None:
    rows = [
        *ELEMENTS,
        phase("Li Li S", -0.9),
        phase("Li S", -0.8, "validation"),
        phase("Li S", -0.79, "validation"),
        phase("Li S", -2.0, "validation", kind="strained"),
        phase("Li S", -3.0, "test", family="another"),
    ]
    assert watched(*rows).energies == pytest.approx([-0.125])


def test_without_a_validation_phase_or_an_element_nothing_is_watched() -> None:
    assert watched(*ELEMENTS, phase("Li S", -0.8)) is None
    assert watched(ELEMENTS[0], phase("Li S", -0.8, "validation")) is None
    assert watched(ELEMENTS[0], phase("S", 0.0, "validation"), phase("Li S", 0.5, "validation")) is None  # the only S
