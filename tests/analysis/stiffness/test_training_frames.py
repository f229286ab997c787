"""Frames of large amplitudes: the amplitudes that were asked for, and steps that go down."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from coevo.analysis.stiffness.training_frames import amplitude_frames, displaced, downhill, isotropically_strained

LI2S = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.72), ["Li", "S"], [[0.25, 0.25, 0.25], [0, 0, 0]])
LITHIUM = Structure(Lattice.cubic(3.4), ["Li"], [[0.1, 0.2, 0.3]])


def moves(structure: Structure, other: Structure) -> np.ndarray:
    """Displacements, Å, by the shortest way; both in one cell."""
    shift = other.frac_coords - structure.frac_coords
    return (shift - np.round(shift)) @ structure.lattice.matrix


def test_frames_have_the_strains_and_displacements_that_were_asked_for() -> None:
    frames = list(amplitude_frames(LI2S, 8, strain=0.06, displacement=0.2, seed=3))
    assert [kind for kind, _ in frames] == ["strained", "displaced"] * 4
    lengths = [frame.lattice.a / LI2S.lattice.a - 1.0 for kind, frame in frames if kind == "strained"]
    assert lengths == pytest.approx([0.06, -0.06, 0.03, -0.03])
    for kind, frame in frames:
        if kind == "strained":
            assert frame.lattice.angles == pytest.approx((90.0, 90.0, 90.0))
            assert np.abs(moves(LI2S, frame)).max() < 1e-9  # fractional coordinates stay
        else:
            assert frame.lattice == LI2S.lattice
            lengths_of_moves = np.linalg.norm(moves(LI2S, frame), axis=1)
            assert np.sqrt((lengths_of_moves**2).mean()) == pytest.approx(0.2)
            assert moves(LI2S, frame).mean(axis=0) == pytest.approx(np.zeros(3), abs=1e-9)
    assert len({tuple(np.round(frame.cart_coords, 6).ravel()) for _, frame in frames}) == 8


def test_the_first_frames_do_not_hang_on_how_many_there_are() -> None:
    few, many = (list(amplitude_frames(LI2S, n, strain=0.04, displacement=0.1, seed=7)) for n in (3, 6))
    assert [(kind, frame) for kind, frame in many[:3]] == few
    assert list(amplitude_frames(LI2S, 3, strain=0.04, displacement=0.1, seed=8))[1] != few[1]


def test_an_atom_alone_in_its_cell_is_not_displaced() -> None:
    assert displaced(LITHIUM, 0.2, 0) == LITHIUM


def test_a_step_down_goes_along_the_forces_and_against_the_stress() -> None:
    """Li2S by hand: 0.05 Å per eV/Å, and 0.3 per eV/Å³; what is larger than allowed is cut down as a whole."""
    forces, stress = np.zeros((12, 3)), -0.02 * np.eye(3)  # it would expand
    forces[0], forces[1] = (1.0, 0.0, 0.0), (-1.0, 0.0, 0.0)
    step = downhill(LI2S, forces, stress, furthest=0.1, most_strain=0.02)
    assert step.lattice.a == pytest.approx(5.72 * 1.006)
    expected = np.zeros((12, 3))
    expected[:2, 0] = 0.05, -0.05
    unstrained = isotropically_strained(step, 1.0 / 1.006 - 1.0)
    assert moves(LI2S, unstrained) == pytest.approx(expected, abs=1e-9)
    cut = downhill(LI2S, 10.0 * forces, 10.0 * stress, furthest=0.1, most_strain=0.02)
    assert cut.lattice.a == pytest.approx(5.72 * 1.02)
    assert np.linalg.norm(moves(LI2S, isotropically_strained(cut, 1.0 / 1.02 - 1.0)), axis=1).max() == pytest.approx(0.1)


def test_steps_down_a_spring_end_at_its_minimum() -> None:
    """An atom on a spring of 5 eV/Å² in a cell that has a bulk modulus of 0.4 eV/Å³: 64 GPa."""
    start = isotropically_strained(LI2S, 0.03)
    start.translate_sites([0], [0.2, 0.0, 0.0], frac_coords=False)
    for _ in range(40):
        strain = start.lattice.a / LI2S.lattice.a - 1.0
        shift = moves(isotropically_strained(LI2S, strain), start)
        start = downhill(start, -5.0 * shift, 3.0 * 0.4 * strain * np.eye(3), furthest=0.1, most_strain=0.02)
    assert start.lattice.a == pytest.approx(5.72, abs=1e-4)
    assert np.abs(moves(LI2S, start)).max() < 1e-4
