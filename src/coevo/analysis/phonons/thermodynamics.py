"""Free energy, entropy and heat capacity of harmonic vibrations, per atom and in eV.

phonopy gives these in kJ/mol and J/K/mol of *primitive cells* and leaves out modes that are not above zero. Here they are of one
atom, and a mode below zero that counts as noise is kept with its absolute value; what it could be worth is carried as an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

BOLTZMANN = 8.617333262e-5
"""eV/K (CODATA 2018, exact to its digits)."""
PLANCK = 4.135667696e-3
"""eV/THz (CODATA 2018)."""
NOISE = 0.3
"""THz; frequencies below minus this are unstable at a commensurate q, others below zero are noise."""
LOWEST = 0.01
"""THz; no mode counts as softer."""
AT_GAMMA = 1e-8
TRANSLATIONS = 3


@dataclass(frozen=True)
class Vibrations:
    """Harmonic thermodynamics of one crystal at one volume.

    Attributes
    ----------
    free_energy : ndarray, shape (n_temperatures,)
        eV/atom, the zero-point energy within.
    entropy : ndarray, shape (n_temperatures,)
        eV/K/atom.
    heat_capacity : ndarray, shape (n_temperatures,)
        At constant volume, eV/K/atom.
    zero_point : float
        eV/atom.
    noise : ndarray, shape (n_temperatures,)
        eV/atom; how much the free energy changes if modes of noise are at 0.3 THz.
    noise_share : float
        Of the modes that are noise.
    """

    free_energy: FloatArray
    entropy: FloatArray
    heat_capacity: FloatArray
    zero_point: float
    noise: FloatArray
    noise_share: float


def vibrations(
    frequencies: FloatArray,
    weights: Sequence[float] | FloatArray,
    temperatures: Sequence[float] | FloatArray,
    *,
    q_points: FloatArray | None = None,
    zero_point: bool = True,
) -> Vibrations:
    r"""Sum the modes: F = Σ ħω/2 + k_B T ln(1 − exp(−ħω/k_B T)), and S and C_v its derivatives.

    Parameters
    ----------
    frequencies : ndarray, shape (n_q, 3 n_atoms)
        THz; those of imaginary modes are negative.
    weights : sequence of float, length n_q
    temperatures : sequence of float
        K, from 0.
    q_points : ndarray, shape (n_q, 3), optional
        At Γ the three modes nearest to zero are translations, and left out.
    zero_point : bool
        Without it the free energy is that of classical nuclei at rest at 0 K.
    """
    found = np.asarray(frequencies, dtype=float)
    share = np.repeat(np.asarray(weights, dtype=float)[:, None] / np.sum(weights), found.shape[1], axis=1)
    if q_points is not None:
        for row in np.flatnonzero((np.abs(q_points - np.round(q_points)) < AT_GAMMA).all(axis=1)):
            share[row, np.argsort(np.abs(found[row]))[:TRANSLATIONS]] = 0.0
    atoms = found.shape[1] / 3.0
    is_noise = (found < 0.0) & (share > 0.0)
    kept = np.maximum(np.abs(found), LOWEST)
    free, entropy, capacity = _sums(kept, share, temperatures, zero_point=zero_point)
    lifted, _, _ = _sums(np.where(is_noise, NOISE, kept), share, temperatures, zero_point=zero_point)
    return Vibrations(
        free_energy=free / atoms,
        entropy=entropy / atoms,
        heat_capacity=capacity / atoms,
        zero_point=float((share * PLANCK * kept).sum() / 2.0 / atoms),
        noise=np.abs(lifted - free) / atoms,
        noise_share=float(share[is_noise].sum() / share.sum()),
    )


def _sums(
    frequencies: FloatArray, share: FloatArray, temperatures: Sequence[float] | FloatArray, *, zero_point: bool
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Free energy (eV), entropy and heat capacity (eV/K) of a cell at each temperature."""
    quanta = PLANCK * frequencies
    rest = float((share * quanta).sum() / 2.0) if zero_point else 0.0
    rows = []
    for temperature in np.asarray(temperatures, dtype=float):
        if temperature <= 0.0:
            rows.append((rest, 0.0, 0.0))
            continue
        x = np.minimum(quanta / (BOLTZMANN * temperature), 700.0)
        logarithm, occupation = np.log(-np.expm1(-x)), 1.0 / np.expm1(x)
        free = rest + BOLTZMANN * temperature * float((share * logarithm).sum())
        entropy = BOLTZMANN * float((share * (x * occupation - logarithm)).sum())
        capacity = BOLTZMANN * float((share * x**2 * occupation * (occupation + 1.0)).sum())
        rows.append((free, entropy, capacity))
    free_energies, entropies, capacities = np.array(rows, dtype=float).reshape(-1, 3).T
    return free_energies, entropies, capacities
