"""Force constants and frequencies of crystals held together by springs, whose vibrations are known on paper."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from ase.calculators.lj import LennardJones
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor
from scipy import constants

from coevo.analysis.phonons.dynamics import Dynamics, along_softest, dynamics, smallest_cell
from coevo.analysis.phonons.supercells import displaced_cells, repeats_of, symmetrised
from coevo.errors import ConfigError

SPRING = 1.3
"""eV/Å²."""
ARGON = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.3), ["Ar"], [[0, 0, 0]])


def spring_forces(structure: Structure, rest: float) -> np.ndarray:
    """Forces of springs of a rest length between atoms that are about so far apart."""
    here, there, image, distance = structure.get_neighbor_list(1.2 * rest)
    along = structure.cart_coords[there] + image @ structure.lattice.matrix - structure.cart_coords[here]
    pulls = SPRING * (distance - rest)[:, None] * along / distance[:, None]
    return np.array([pulls[here == atom].sum(axis=0) for atom in range(len(structure))])


def lennard_jones(structures: list[Structure]) -> list[np.ndarray]:
    found = []
    for structure in structures:
        atoms = AseAtomsAdaptor.get_atoms(structure)
        atoms.calc = LennardJones(sigma=3.4, epsilon=0.0104, rc=8.0, smooth=True)
        found.append(atoms.get_forces())
    return found


def at(found: Dynamics, q: tuple[float, float, float]) -> np.ndarray:
    matches = np.abs(found.q_points - q - np.round(found.q_points - q)).max(axis=1) < 1e-6
    return found.frequencies[np.flatnonzero(matches)[0]]


def test_springs_of_a_face_centred_crystal_are_those_of_textbooks() -> None:
    """At X ω² is 8 K/m along and 4 K/m across, at Γ zero (Ashcroft and Mermin, problem 22.5)."""
    cells = displaced_cells(ARGON, displacement=0.02)
    found = dynamics(cells, [spring_forces(one, 5.3 / 2**0.5) for one in cells.structures])
    unit = np.sqrt(SPRING * constants.e / constants.angstrom**2 / (39.948 * constants.atomic_mass)) / (2 * np.pi * 1e12)
    np.testing.assert_allclose(at(found, (0, 0.5, 0.5)), unit * np.sqrt([4, 4, 8]), rtol=1e-3)
    np.testing.assert_allclose(at(found, (0, 0, 0)), 0.0, atol=1e-4)
    assert found.is_stable
    assert found.atoms == 1


def test_supercells_are_long_enough_and_keep_their_symmetry() -> None:
    for crystal, length in ((ARGON, 10.0), (ARGON, 11.0)):
        cells = displaced_cells(crystal, length=length)
        supercell = cells.structures[0]
        near = supercell.lattice.get_points_in_sphere([[0, 0, 0]], [0, 0, 0], length - 1e-6, zip_results=False)
        assert len(near[0]) == 1, "a periodic image is nearer than that"
        moved = [
            np.abs(one.lattice.get_all_distances(one.frac_coords, supercell.frac_coords).diagonal()) for one in cells.structures
        ]
        assert [float(each.max()) for each in moved] == pytest.approx([0.0, 0.1], abs=1e-9)
    skewed = np.array([[4.0, 0, 0], [3.0, 4.0, 0], [0, 0, 12.0]])
    assert repeats_of(skewed, 10.0)[2] == 1
    assert repeats_of(np.diag([5.0, 5.0, 10.0])) == (2, 2, 1)


def test_phonopy_sums_in_other_units_and_agrees() -> None:
    cells = displaced_cells(ARGON)
    found = dynamics(cells, lennard_jones(cells.structures))
    assert found.is_stable
    mine = found.thermodynamics([0.0, 40.0, 300.0])
    theirs = found.phonopy.run_thermal_properties(temperatures=[0.0, 40.0, 300.0], exclude_gamma_acoustic=True)
    in_joules = constants.e * constants.N_A
    np.testing.assert_allclose(mine.free_energy, np.array(theirs.free_energy) * 1e3 / in_joules / found.atoms, rtol=1e-5)
    np.testing.assert_allclose(mine.entropy, np.array(theirs.entropy) / in_joules / found.atoms, rtol=1e-5)
    np.testing.assert_allclose(mine.heat_capacity, np.array(theirs.heat_capacity) / in_joules / found.atoms, rtol=1e-5)


def test_an_unstable_crystal_is_displaced_downhill() -> None:
    """Atoms that attract each other do not stay on a simple cubic lattice."""
    cubic = Structure(Lattice.cubic(3.75), ["Ar"], [[0, 0, 0]])
    cells = displaced_cells(cubic)
    found = dynamics(cells, lennard_jones(cells.structures))
    assert found.lowest < -0.3
    assert not found.is_stable
    assert 0 < found.unstable_share < 1
    still, *moved = along_softest(found, [0.0, 0.05, 0.1])
    reference = energy(still) / len(still)
    assert reference == pytest.approx(energy(cubic), abs=1e-9), "the cell of the mode holds the crystal itself"
    assert energy(moved[0]) / len(still) < reference - 1e-6
    assert energy(moved[1]) < energy(moved[0])
    shifts = [np.linalg.norm(still.lattice.get_cartesian_coords(one.frac_coords - still.frac_coords), axis=1) for one in moved]
    assert [each.max() for each in shifts] == pytest.approx([0.05, 0.1])


def energy(structure: Structure) -> float:
    atoms = AseAtomsAdaptor.get_atoms(structure)
    atoms.calc = LennardJones(sigma=3.4, epsilon=0.0104, rc=8.0, smooth=True)
    return float(atoms.get_potential_energy())


@pytest.mark.parametrize(
    ("q", "size"),
    [
        ((0, 0, 0), 1),
        ((0.5, 0, 0), 2),
        ((0.5, 0.5, 0.5), 2),
        ((1 / 3, 1 / 3, 0), 3),
        ((0.5, 1 / 3, 0), 6),
        ((0.25, 0.5, 0.75), 4),
    ],
)
def test_the_smallest_cell_of_a_mode_fits_its_wave(q: tuple[float, float, float], size: int) -> None:
    rows = smallest_cell(q)
    phases = rows @ np.array(q)
    np.testing.assert_allclose(phases, np.round(phases), atol=1e-9)
    assert round(abs(np.linalg.det(rows))) == size


def test_symmetry_within_the_tolerance_is_made_exact() -> None:
    shaken = ARGON.copy()
    shaken.perturb(0.002)
    found = symmetrised(shaken)
    assert (found.number, found.symbol, len(found.cell)) == (225, "Fm-3m", 4)
    assert found.cell.lattice.a == pytest.approx(5.3, abs=1e-3)


def test_without_phonopy_it_is_said_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "phonopy", None)
    with pytest.raises(ConfigError, match=r"pip install 'coevo\[phonons\]'"):
        displaced_cells(ARGON)
