"""Quasi-harmonic free energies of a crystal whose oscillators and equation of state are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import constants
from scipy.optimize import minimize_scalar

from coevo.analysis.phonons.quasi_harmonic import QuasiHarmonic, quasi_harmonic
from coevo.analysis.phonons.thermodynamics import vibrations
from coevo.errors import AnalysisError

V0, E0, B0, SLOPE = 20.0, -4.0, 0.25, 4.5
"""Å³, eV, eV/Å³ (40 GPa) and the pressure derivative of the bulk modulus."""
GRUENEISEN, FREQUENCY = 1.6, 7.0
TEMPERATURES = np.arange(0.0, 901.0, 50.0)
GPA = constants.giga * constants.angstrom**3 / constants.e
"""eV/Å³."""


def static(volume: float) -> float:
    """Birch and Murnaghan's equation of state as it is written in textbooks."""
    x = (V0 / volume) ** (2 / 3)
    return E0 + 9 * V0 * B0 / 16 * ((x - 1) ** 3 * SLOPE + (x - 1) ** 2 * (6 - 4 * x))


def vibrational(volume: float, temperature: float) -> tuple[float, float]:
    frequency = FREQUENCY * (volume / V0) ** -GRUENEISEN
    found = vibrations(np.full((1, 3), frequency), [1], [temperature])
    return float(found.free_energy[0]), float(found.entropy[0])


def crystal(noise: float = 0.0, lowest: float = 0.94, highest: float = 1.12) -> QuasiHarmonic:
    volumes = V0 * np.linspace(lowest, highest, 13)
    found = np.array([[vibrational(v, t) for t in TEMPERATURES] for v in volumes])
    free = found[:, :, 0] + np.random.default_rng(1).normal(0, noise, (13, 1))
    return quasi_harmonic(volumes, [static(v) for v in volumes], TEMPERATURES, free, found[:, :, 1])


@pytest.mark.parametrize(("temperature", "pressure"), [(0.0, 0.0), (300.0, 0.0), (600.0, 0.0), (300.0, 1.5)])
def test_g_is_the_least_of_the_exact_free_energy(temperature: float, pressure: float) -> None:
    exact = minimize_scalar(
        lambda v: static(v) + vibrational(v, temperature)[0] + pressure * GPA * v, bounds=(18, 24), method="bounded"
    )
    found = crystal().gibbs(int(np.flatnonzero(temperature == TEMPERATURES)[0]), pressure)
    assert found is not None
    assert found.energy == pytest.approx(exact.fun, abs=2e-4)
    assert found.volume == pytest.approx(exact.x, rel=2e-3)
    assert found.error < 4e-4


def test_derivatives_of_g_are_minus_the_entropy_and_the_volume() -> None:
    fit = crystal()
    index = int(np.flatnonzero(TEMPERATURES == 500.0)[0])
    here = fit.gibbs(index, 1.0)
    assert here is not None
    low, high = (fit.gibbs(index, p) for p in (0.99, 1.01))
    assert low is not None
    assert high is not None
    assert (high.energy - low.energy) / (0.02 * GPA) == pytest.approx(here.volume, rel=1e-5)
    close = np.array([499.5, 500.0, 500.5])
    volumes = V0 * np.linspace(0.94, 1.12, 13)
    found = np.array([[vibrational(v, t) for t in close] for v in volumes])
    finer = quasi_harmonic(volumes, [static(v) for v in volumes], close, found[:, :, 0], found[:, :, 1])
    before, at, after = (finer.gibbs(number, 1.0) for number in range(3))
    assert before is not None
    assert at is not None
    assert after is not None
    assert after.energy - before.energy == pytest.approx(-at.entropy * 1.0, rel=1e-5)


def test_what_scatters_is_the_error() -> None:
    """Scatter of 2 meV/atom that was put in is found, within what 10 degrees of freedom can say of it."""
    errors = [fit.error for fit in (crystal(0.002).gibbs(6, 0.0),) if fit is not None]
    assert 0.001 < errors[0] < 0.0035


def test_a_minimum_outside_the_volumes_is_none() -> None:
    narrow = crystal(highest=1.02)
    assert narrow.gibbs(0, 0.0) is not None
    assert narrow.gibbs(len(TEMPERATURES) - 1, 0.0) is None, "900 K expands it by more than 2 %"
    assert narrow.gibbs(0, 20.0) is None, "20 GPa compress it by more than 6 %"


def test_too_few_volumes_are_refused() -> None:
    with pytest.raises(AnalysisError, match="got 4 volumes"):
        quasi_harmonic([18, 19, 20, 21], [0] * 4, [0.0], [[0.0]] * 4, [[0.0]] * 4)


def test_without_zero_point_energy_g_at_rest_is_the_static_energy() -> None:
    volumes = V0 * np.linspace(0.94, 1.12, 9)
    nothing = np.zeros((9, 1))
    found = quasi_harmonic(volumes, [static(v) for v in volumes], [0.0], nothing, nothing).gibbs(0, 0.0)
    assert found is not None
    assert found.energy == pytest.approx(E0, abs=1e-9)
    assert found.volume == pytest.approx(V0, rel=1e-6)
