"""The equation of state gives back the modulus that energies are made with, or says why there is none."""

from __future__ import annotations

import numpy as np
import pytest

from coevo.analysis.signals.residuals import GPA
from coevo.analysis.stiffness.moduli import equation_of_state
from coevo.errors import AnalysisError


def birch_murnaghan(volumes: np.ndarray, energy: float, modulus: float, derivative: float, volume: float) -> np.ndarray:
    """Energies in eV of a modulus in GPa, by the formula of Birch's paper in powers of x = (V0/V)^(2/3)."""
    x = (volume / volumes) ** (2 / 3) - 1.0
    return energy + 9 / 16 * volume * modulus / GPA * (x**3 * derivative + x**2 * (2.0 - 4.0 * x))


@pytest.mark.parametrize(("modulus", "derivative", "volume"), [(40.8, 4.0, 15.5), (29.5, 5.5, 15.6), (150.0, 3.2, 11.0)])
def test_what_was_put_in_comes_out(modulus: float, derivative: float, volume: float) -> None:
    volumes = 15.55 / 15.5 * volume * (1 + np.array([-0.02, -0.01, 0.0, 0.01, 0.02])) ** 3
    found = equation_of_state(volumes.tolist(), birch_murnaghan(volumes, -4.1, modulus, derivative, volume).tolist())
    assert found.bulk_modulus == pytest.approx(modulus, rel=1e-3)
    assert found.volume == pytest.approx(volume, rel=1e-4)


def test_a_least_energy_outside_the_volumes_is_told() -> None:
    volumes = 10.0 * (1 + np.array([-0.02, -0.01, 0.0, 0.01, 0.02])) ** 3
    with pytest.raises(AnalysisError, match="not within the volumes"):
        equation_of_state(volumes.tolist(), birch_murnaghan(volumes, -4.0, 50.0, 4.0, 11.5).tolist())


def test_energies_that_fall_away_have_no_modulus() -> None:
    volumes = 10.0 * (1 + np.array([-0.02, -0.01, 0.0, 0.01, 0.02])) ** 3
    with pytest.raises(AnalysisError):
        equation_of_state(volumes.tolist(), (-((volumes - 10.0) ** 2)).tolist())


def test_too_few_volumes_are_refused() -> None:
    with pytest.raises(AnalysisError, match="at least 5"):
        equation_of_state([9.0, 10.0, 11.0], [0.1, 0.0, 0.1])
