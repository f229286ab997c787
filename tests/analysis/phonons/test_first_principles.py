"""Phonons of Li2S by the forces of pw.x: at Γ the Raman mode is at 373 cm⁻¹."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from espresso_cases import potentials
from phonopy import Phonopy
from phonopy.structure.atoms import PhonopyAtoms
from pw_executable import require_pw
from pymatgen.core import Structure

from coevo.analysis.phonons.dynamics import Dynamics, dynamics
from coevo.analysis.phonons.supercells import DisplacedCells
from coevo.configs.tree import EspressoConfig
from coevo.labelling.espresso.labeller import EspressoLabeller

PER_CENTIMETRE = 33.35641
"""cm⁻¹ of one THz."""
RAMAN = 373.0
"""cm⁻¹: T2g by a frozen phonon with pw.x 6.7, PBE, 60 Ry, 4 × 4 × 4 points, of the sublattice of lithium displaced by 0.03 Å."""
RECORDED = [
    [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]],
    [[0.0, -0.1538, -0.1538], [0.0116, 0.0769, 0.0769], [-0.0116, 0.0769, 0.0769]],
    [[-0.0116, 0.0768, 0.0768], [0.0117, -0.1137, -0.1137], [0.0, 0.0369, 0.0369]],
]
"""Forces of pw.x, eV/Å, of the cells of :func:`cells` (S, Li, Li), with the settings of :func:`labeller`."""


def cells() -> DisplacedCells:
    """The primitive cell with a = 5.711 Å: as it is, with S displaced along [011], and with Li so; 0.06 Å."""
    half = 5.711 / 2
    atoms = PhonopyAtoms(
        symbols=["S", "Li", "Li"],
        cell=[[0, half, half], [half, 0, half], [half, half, 0]],
        scaled_positions=[[0, 0, 0], [0.25] * 3, [0.75] * 3],
    )
    phonopy = Phonopy(atoms, np.eye(3), primitive_matrix="P")
    phonopy.generate_displacements(distance=0.06)
    found = [phonopy.supercell, *phonopy.supercells_with_displacements]
    return DisplacedCells(phonopy, [Structure(one.cell, one.symbols, one.scaled_positions) for one in found], (1, 1, 1))


def labeller() -> EspressoLabeller:
    settings = EspressoConfig(ecutwfc=60.0, k_spacing=0.48, conv_thr_per_atom=1e-9)  # 4 × 4 × 4 points
    return EspressoLabeller(settings, command=["pw.x"], potentials=potentials(), elements=["Li", "S"])


def check(found: Dynamics) -> None:
    frequencies = found.frequencies[0] * PER_CENTIMETRE
    np.testing.assert_allclose(frequencies[:3], 0.0, atol=0.01)
    np.testing.assert_allclose(frequencies[6:], RAMAN, atol=2.0)
    assert np.ptp(frequencies[3:6]) < 0.1
    assert np.ptp(frequencies[6:]) < 0.1


def test_recorded_forces_of_pw_give_the_raman_mode_of_li2s() -> None:
    found = cells()
    moved = [one.cart_coords - found.structures[0].cart_coords for one in found.structures[1:]]
    assert [np.round(np.linalg.norm(each, axis=1), 4).tolist() for each in moved] == [[0.06, 0, 0], [0, 0.06, 0]]
    check(dynamics(found, [np.array(forces) for forces in RECORDED]))


@pytest.mark.long
def test_forces_of_pw_give_the_raman_mode_of_li2s() -> None:
    require_pw()
    found = cells()
    labels: list[Any] = labeller().label(found.structures)
    assert [label.status for label in labels] == ["admitted"] * 3
    check(dynamics(found, [label.forces for label in labels]))
