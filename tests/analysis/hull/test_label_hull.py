"""The hull of labels against pymatgen's, and where labels do not suffice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.analysis.phase_diagram import PDEntry, PhaseDiagram
from pymatgen.core import Composition

from coevo.analysis.hull.label_hull import confusion, label_hull

ELEMENTS = ("Li", "P", "S")
FORMULAS = ["Li", "P", "S", "Li2S", "Li3P", "P2S5", "Li3PS4", "LiPS3"]
FRACTIONS = np.array([[Composition(f).get_atomic_fraction(e) for e in ELEMENTS] for f in FORMULAS])
# by the force field, all of them are on the hull but LiPS3
MODEL = np.array([0.0, 0.0, 0.0, -1.4, -0.8, -0.6, -1.3, -0.7])


def pymatgen_e_hull(labels: np.ndarray) -> np.ndarray:
    entries = [PDEntry(c := Composition(f), e * c.num_atoms) for f, e in zip(FORMULAS, labels, strict=True)]
    diagram = PhaseDiagram(entries)
    return np.array([diagram.get_e_above_hull(entry) for entry in entries])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-0.3, 0.3), min_size=len(FORMULAS), max_size=len(FORMULAS)))
def test_with_all_labels_it_is_the_hull_of_pymatgen(shifts: list[float]) -> None:
    labels = MODEL + np.array(shifts) - 3.0
    assert label_hull(ELEMENTS, FRACTIONS, MODEL, labels) == pytest.approx(pymatgen_e_hull(labels), abs=1e-6)


def test_a_phase_whose_competitors_are_not_labelled_has_no_value() -> None:
    labels = MODEL + 0.05
    labels[FORMULAS.index("Li3PS4")] = np.nan
    found = label_hull(ELEMENTS, FRACTIONS, MODEL, labels)
    ternary, binaries = FORMULAS.index("LiPS3"), [FORMULAS.index(f) for f in ("Li2S", "Li3P", "P2S5")]
    assert np.isnan(found[ternary])  # Li3PS4 competes with it
    assert np.isfinite(found[binaries]).all()  # and not with binaries
    assert np.isnan(found[FORMULAS.index("Li3PS4")])
    # a phase off the force field's hull need not be labelled
    labels = MODEL.copy()
    labels[ternary] = np.nan
    assert np.isfinite(np.delete(label_hull(ELEMENTS, FRACTIONS, MODEL, labels), ternary)).all()


def test_without_a_labelled_element_nothing_can_be_said_of_its_phases() -> None:
    """As after an extension by an element of which nothing is labelled yet."""
    labels = MODEL - 3.0 + 0.2 * np.arange(len(MODEL))
    whole = label_hull(ELEMENTS, FRACTIONS, MODEL, labels)
    labels[FORMULAS.index("P")] = np.nan
    found = label_hull(ELEMENTS, FRACTIONS, MODEL, labels)
    without = np.array(["P" not in Composition(formula) for formula in FORMULAS])
    assert np.isnan(found[~without]).all()
    assert found[without] == pytest.approx(whole[without], abs=1e-9)
    labels[FRACTIONS.max(axis=1) == 1.0] = np.nan
    assert np.isnan(label_hull(ELEMENTS, FRACTIONS, MODEL, labels)).all()
    assert label_hull(ELEMENTS, np.zeros((0, 3)), [], []).shape == (0,)


def test_confusion_counts_each_compared_phase_once() -> None:
    found = confusion([0.0, 0.05, 0.2, 0.3, 0.0], [0.0, 0.2, 0.05, 0.4, np.nan], 0.1)
    assert (found.both, found.model_only, found.label_only, found.neither) == (1, 1, 1, 1)
    assert found.mean_absolute_difference == pytest.approx((0 + 0.15 + 0.15 + 0.1) / 4)
    assert confusion([], [], 0.1).mean_absolute_difference is None
