"""The Arrhenius line of diffusion coefficients with errors, and the conductivity of independent ions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from coevo.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Sequence

FEWEST = 3
"""Resolved temperatures; two make a line whatever they are."""
BOLTZMANN = 8.617333262e-5
"""eV/K (CODATA 2018)."""
CHARGE = 1.602176634e-19
"""C."""


@dataclass(frozen=True)
class Arrhenius:
    """ln D = ln D0 - Ea / k_B T.

    Attributes
    ----------
    activation_energy, activation_error : float
        eV.
    prefactor : float
        D0, cm²/s.
    temperature : float
        Of the extrapolation, K.
    value, low, high : float
        D there with its 95 % interval, cm²/s.
    """

    activation_energy: float
    activation_error: float
    prefactor: float
    temperature: float
    value: float
    low: float
    high: float


def arrhenius(temperatures: Sequence[float], values: Sequence[float], errors: Sequence[float], at: float = 300.0) -> Arrhenius:
    """Fit a line to ln D against 1/T, weighted by the errors of ln D, and extrapolate it.

    The errors of the line are those that the errors of D give it, or the scatter about the line where that is larger (with
    Student's quantile of the n - 2 degrees of freedom).

    Parameters
    ----------
    temperatures : sequence of float
        K.
    values, errors : sequence of float
        Resolved coefficients and their standard errors, cm²/s.
    at : float
        K.

    Raises
    ------
    AnalysisError
        If there are fewer than three different temperatures.
    """
    if len(set(temperatures)) < FEWEST:
        raise AnalysisError(f"an Arrhenius line wants {FEWEST} resolved temperatures, got {len(set(temperatures))}")
    from scipy.special import stdtrit

    inverse, values_ = 1.0 / np.array(temperatures, dtype=float), np.array(values, dtype=float)
    sigma = np.array(errors, dtype=float) / values_
    design = np.stack([np.ones_like(inverse), -inverse / BOLTZMANN], axis=1)
    weighted = design / sigma[:, None]
    covariance = np.linalg.inv(weighted.T @ weighted)
    line = covariance @ weighted.T @ (np.log(values_) / sigma)
    freedom = len(inverse) - 2
    chi2 = float((((np.log(values_) - design @ line) / sigma) ** 2).sum()) / freedom
    quantile = 1.959964
    if chi2 > 1.0:
        covariance, quantile = covariance * chi2, float(stdtrit(freedom, 0.975))
    there = np.array([1.0, -1.0 / (BOLTZMANN * at)])
    middle, spread = float(there @ line), quantile * float(np.sqrt(there @ covariance @ there))
    return Arrhenius(
        activation_energy=float(line[1]),
        activation_error=float(np.sqrt(covariance[1, 1])),
        prefactor=float(np.exp(line[0])),
        temperature=at,
        value=float(np.exp(middle)),
        low=float(np.exp(middle - spread)),
        high=float(np.exp(min(middle + spread, 700.0))),
    )


def tracer_conductivity(diffusion: float, density: float, temperature: float, charge: float = 1.0) -> float:
    """Nernst-Einstein's conductivity of ions that move independently, n (z e)² D / k_B T, S/cm.

    Ions that push each other along conduct better or worse than this (Haven's ratio is not 1).

    Parameters
    ----------
    diffusion : float
        Tracer coefficient, cm²/s.
    density : float
        Ions per Å³.
    temperature : float
        K.
    charge : float
        In elementary charges.
    """
    return density * 1e24 * (charge * CHARGE) ** 2 * diffusion / (BOLTZMANN * CHARGE * temperature)
