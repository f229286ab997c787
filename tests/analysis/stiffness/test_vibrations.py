"""Frames and frequencies: against ASE's own finite differences of all atoms, on crystals of many symmetries and of none."""

from __future__ import annotations

import numpy as np
import pytest
from ase.calculators.lj import LennardJones
from ase.phonons import Phonons
from ase.vibrations import VibrationsData
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor

from coevo.analysis.stiffness.frames import DISPLACEMENT, STRAINS, stiffness_frames
from coevo.analysis.stiffness.symmetry import primitive_cell
from coevo.analysis.stiffness.vibrations import force_constants, gamma_frequencies

ANTIFLUORITE = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.72), ["Li", "S"], [[0.25, 0.25, 0.25], [0, 0, 0]])
ZINCBLENDE = Structure.from_spacegroup("F-43m", Lattice.cubic(5.4), ["Zn", "S"], [[0, 0, 0], [0.25, 0.25, 0.25]])
LI3P = Structure.from_spacegroup(
    "P6_3/mmc", Lattice.hexagonal(4.24, 7.61), ["Li", "Li", "P"], [[0, 0, 0.25], [1 / 3, 2 / 3, 0.583], [1 / 3, 2 / 3, 0.25]]
)
WURTZITE = Structure.from_spacegroup(
    "P6_3mc", Lattice.hexagonal(3.8, 6.2), ["Zn", "S"], [[1 / 3, 2 / 3, 0.0], [1 / 3, 2 / 3, 0.37]]
)
WITHOUT = Structure(
    Lattice([[4.1, 0, 0], [0.7, 4.4, 0], [0.3, 0.5, 4.9]]), ["Li", "P", "S"], [[0, 0, 0], [0.4, 0.5, 0.47], [0.8, 0.1, 0.6]]
)
CRYSTALS = {
    "antifluorite": ANTIFLUORITE,
    "zincblende": ZINCBLENDE,
    "Li3P": LI3P,
    "wurtzite": WURTZITE,
    "none": WITHOUT,
}


def calculator() -> LennardJones:
    """Of no crystal of these, so that forces are there before anything moves."""
    return LennardJones(sigma=2.1, epsilon=0.6, rc=5.5, smooth=True)


def forces_of(structure: Structure) -> np.ndarray:
    atoms = AseAtomsAdaptor.get_atoms(structure)
    atoms.calc = calculator()
    return atoms.get_forces()


def by_ase(cell: Structure) -> np.ndarray:
    """All 3n frequencies from displacements of all atoms in all directions, both ways; imaginary ones negative."""
    n = len(cell)
    hessian = np.zeros((3 * n, 3 * n))
    for row in range(3 * n):
        answers = []
        for sign in (1.0, -1.0):
            atoms = AseAtomsAdaptor.get_atoms(cell)
            atoms.positions[row // 3, row % 3] += sign * DISPLACEMENT
            atoms.calc = calculator()
            answers.append(atoms.get_forces().ravel())
        hessian[row] = -(answers[0] - answers[1]) / (2 * DISPLACEMENT)
    atoms = AseAtomsAdaptor.get_atoms(cell)
    found = VibrationsData.from_2d(atoms, (hessian + hessian.T) / 2).get_frequencies()
    return np.sort(found.real - found.imag)


def optical(frequencies: np.ndarray) -> np.ndarray:
    """Without the three next to zero."""
    return np.delete(frequencies, np.argsort(np.abs(frequencies))[:3])


@pytest.mark.parametrize("name", CRYSTALS)
def test_few_displacements_and_symmetry_give_what_all_give(name: str) -> None:
    frames = stiffness_frames(CRYSTALS[name])
    constants = force_constants(frames.cell, frames.displacements, [forces_of(frame) for frame in frames.displaced])
    found = gamma_frequencies(frames.cell, constants)
    assert found == sorted(found)
    # quadratic terms of the forces, which symmetry forbids in one place and not in another, are of second order
    assert found == pytest.approx(optical(by_ase(frames.cell)).tolist(), rel=2e-3, abs=0.5)


def test_they_are_those_of_the_phonons_of_ase(tmp_path) -> None:
    frames = stiffness_frames(WURTZITE)
    atoms = AseAtomsAdaptor.get_atoms(frames.cell)
    phonons = Phonons(atoms, calculator(), supercell=(1, 1, 1), name=str(tmp_path / "cache"), delta=DISPLACEMENT)
    phonons.run()
    phonons.read(acoustic=True)
    energies = np.asarray(phonons.band_structure([[0.0, 0.0, 0.0]], verbose=False)[0])
    constants = force_constants(frames.cell, frames.displacements, [forces_of(frame) for frame in frames.displaced])
    per_centimetre = 1.0 / 1.239841984e-4  # eV
    assert gamma_frequencies(frames.cell, constants) == pytest.approx(
        optical(np.sort(energies) * per_centimetre).tolist(), rel=2e-3, abs=0.5
    )


@pytest.mark.parametrize(("name", "count"), [("antifluorite", 2), ("zincblende", 4), ("none", 18)])
def test_no_more_frames_than_symmetry_asks_for(name: str, count: int) -> None:
    """One direction of an atom at a cubic site, one way where an operation turns it round; all of them without symmetry."""
    frames = stiffness_frames(CRYSTALS[name])
    assert len(frames.strained) == len(STRAINS) == 5
    assert len(frames.displaced) <= count


def test_the_sum_rule_and_the_symmetry_of_the_constants() -> None:
    frames = stiffness_frames(LI3P)
    rng = np.random.default_rng(0)
    noisy = [forces_of(frame) + rng.normal(0.0, 1e-3, (len(frame), 3)) for frame in frames.displaced]
    constants = force_constants(frames.cell, frames.displacements, noisy)
    assert constants.sum(axis=2) == pytest.approx(0.0, abs=1e-9)
    assert constants == pytest.approx(constants.transpose(2, 3, 0, 1), abs=1e-9)


def test_an_unstable_mode_is_negative() -> None:
    frames = stiffness_frames(ANTIFLUORITE)
    constants = force_constants(frames.cell, frames.displacements, [forces_of(frame) for frame in frames.displaced])
    stable, unstable = (gamma_frequencies(frames.cell, sign * constants) for sign in (1.0, -1.0))
    assert unstable == pytest.approx([-value for value in reversed(stable)])


def test_any_cell_of_a_crystal_gives_the_same_frames_and_turned_ones_too() -> None:
    one = stiffness_frames(ANTIFLUORITE)
    for other in (primitive_cell(ANTIFLUORITE), ANTIFLUORITE * (2, 1, 1)):
        again = stiffness_frames(other)
        assert len(again.cell) == 3
        assert again.cell.volume == pytest.approx(one.cell.volume, rel=1e-5)
        assert len(again.all) == len(one.all)
    assert [frame.as_dict() for frame in stiffness_frames(ANTIFLUORITE).all] == [frame.as_dict() for frame in one.all]
    assert [frame.volume / one.cell.volume for frame in one.strained] == pytest.approx([(1 + x) ** 3 for x in STRAINS])
