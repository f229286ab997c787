"""Harmonic thermodynamics against formulas of oscillators and against phonopy's own sums."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import constants

from coevo.analysis.phonons.thermodynamics import BOLTZMANN, NOISE, PLANCK, vibrations

K, H = constants.k / constants.e, constants.h * 1e12 / constants.e
"""eV/K and eV/THz from the CODATA tables of SciPy."""


def einstein(frequency: float, temperature: float) -> tuple[float, float, float]:
    """F, S and Cv of three oscillators, by the formulas of textbooks."""
    theta = H * frequency / K
    if temperature == 0:
        return 1.5 * K * theta, 0.0, 0.0
    x = theta / temperature
    free = 3 * K * (theta / 2 + temperature * np.log(1 - np.exp(-x)))
    energy = 3 * K * theta * (0.5 + 1 / (np.exp(x) - 1))
    capacity = 3 * K * x**2 * np.exp(x) / (np.exp(x) - 1) ** 2
    return free, (energy - free) / temperature, capacity


@pytest.mark.parametrize("atoms", [1, 4])
def test_an_einstein_crystal_is_that_of_the_formulas_per_atom(atoms: int) -> None:
    temperatures = [0.0, 20.0, 300.0, 900.0]
    found = vibrations(np.full((2, 3 * atoms), 6.0), [1, 3], temperatures)
    expected = np.array([einstein(6.0, t) for t in temperatures])
    np.testing.assert_allclose(np.column_stack([found.free_energy, found.entropy, found.heat_capacity]), expected, atol=1e-12)
    assert found.zero_point == pytest.approx(einstein(6.0, 0.0)[0])
    assert not found.noise.any()


def test_constants_are_those_of_codata() -> None:
    assert pytest.approx(K, rel=1e-9) == BOLTZMANN
    assert pytest.approx(H, rel=1e-9) == PLANCK


def test_the_heat_capacity_comes_to_that_of_dulong_and_petit() -> None:
    found = vibrations(np.random.default_rng(0).uniform(1, 15, (5, 12)), np.ones(5), [5000.0])
    in_joules = found.heat_capacity[0] * constants.e * constants.N_A
    assert in_joules == pytest.approx(24.94, abs=0.05)


def test_without_zero_point_energy_there_is_nothing_at_zero_kelvin() -> None:
    found = vibrations(np.full((1, 6), 9.0), [1], [0.0, 300.0], zero_point=False)
    with_it = vibrations(np.full((1, 6), 9.0), [1], [0.0, 300.0])
    assert found.free_energy[0] == 0.0
    assert with_it.free_energy[1] - found.free_energy[1] == pytest.approx(with_it.zero_point)


def test_translations_are_left_out_at_gamma_only() -> None:
    frequencies = np.array([[1e-7, -2e-6, 3e-8, 5.0, 5.0, 5.0], [5.0] * 6])
    points = np.array([[0.0, 0.0, 0.0], [0.5, 0.0, 0.0]])
    found = vibrations(frequencies, [1, 1], [300.0], q_points=points)
    expected = 9 * einstein(5.0, 300.0)[0] / 3 / 2 / 2  # nine modes at two points, of two atoms
    assert found.free_energy[0] == pytest.approx(expected)
    assert found.noise_share == 0.0


def test_noise_is_kept_and_its_worth_is_carried() -> None:
    """A mode at −0.1 THz counts as one at 0.1 THz; as one at 0.3 THz it would be worth kT ln 3 more."""
    found = vibrations(np.array([[-0.1, 8.0, 8.0]]), [1], [600.0])
    without = vibrations(np.array([[0.1, 8.0, 8.0]]), [1], [600.0])
    assert found.free_energy[0] == without.free_energy[0]
    assert found.noise[0] == pytest.approx(K * 600 * np.log(NOISE / 0.1), rel=1e-3)
    assert found.noise_share == pytest.approx(1 / 3)
