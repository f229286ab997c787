"""Quasi-harmonic free energies: static energies and vibrations at several volumes, and the least of F(V, T) + pV within them.

Static energies follow Birch and Murnaghan's equation of state, a cubic in V^(−2/3); vibrational free energies follow a parabola
in V. Both fits are linear, so the entropy of the fit is the fit of the entropies, and ∂G/∂T = −S and ∂G/∂p = V hold exactly. What
the fits leave says how far the force field's curvature is from smooth; it is carried as the error of G. A least value that is not
within the volumes is none: an extrapolated one can be wrong by tens of meV/atom.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from coevo.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

GPA = 160.21766208
"""GPa in one eV/Å³."""
STATIC_DEGREE = 3
VIBRATIONAL_DEGREE = 2
FEWEST = 5
"""Volumes, at least."""
GRID = 400
HALVINGS = 60


@dataclass(frozen=True)
class Gibbs:
    """The least of F(V, T) + pV over the volume.

    Attributes
    ----------
    energy : float
        G, eV/atom.
    volume : float
        Å³/atom.
    entropy : float
        eV/K/atom.
    error : float
        eV/atom: root of the sum of squares of what both fits leave, and of what noise is worth.
    """

    energy: float
    volume: float
    entropy: float
    error: float


@dataclass(frozen=True)
class QuasiHarmonic:
    """Fits over the volume.

    Attributes
    ----------
    temperatures : ndarray, shape (n_temperatures,)
        K.
    lowest, highest : float
        Volumes between which there is a G, Å³/atom.
    static : ndarray, shape (4,)
        Coefficients of the static energy (eV/atom) in powers of (V0/V)^(2/3) − 1, with the lowest power first.
    free_energies, entropies : ndarray, shape (n_temperatures, 3)
        Coefficients in powers of V/V0 − 1.
    reference : float
        V0, Å³/atom.
    static_residual : float
        Root mean square, with the degrees of freedom that are left, eV/atom.
    residuals : ndarray, shape (n_temperatures,)
        Of the vibrational free energies.
    noise : ndarray, shape (n_temperatures,)
        eV/atom; root mean square over the volumes.
    """

    temperatures: FloatArray
    lowest: float
    highest: float
    static: FloatArray
    free_energies: FloatArray
    entropies: FloatArray
    reference: float
    static_residual: float
    residuals: FloatArray
    noise: FloatArray

    def helmholtz(self, volumes: FloatArray, index: int) -> FloatArray:
        """F(V, T) at a temperature by its index, eV/atom."""
        return self._static(volumes) + np.polynomial.polynomial.polyval(volumes / self.reference - 1.0, self.free_energies[index])

    def _static(self, volumes: FloatArray) -> FloatArray:
        x = (self.reference / volumes) ** (2.0 / 3.0) - 1.0
        return np.asarray(np.polynomial.polynomial.polyval(x, self.static), dtype=np.float64)

    def _slope(self, volume: float, index: int) -> float:
        """∂F/∂V, eV/Å³."""
        x = (self.reference / volume) ** (2.0 / 3.0)
        static = (
            np.polynomial.polynomial.polyval(x - 1.0, np.polynomial.polynomial.polyder(self.static)) * (-2.0 / 3.0) * x / volume
        )
        strain = volume / self.reference - 1.0
        moved = np.polynomial.polynomial.polyval(strain, np.polynomial.polynomial.polyder(self.free_energies[index]))
        return float(static + moved / self.reference)

    def gibbs(self, index: int, pressure: float) -> Gibbs | None:
        """Return G at a temperature and pressure; None where the least value is not within the volumes.

        Parameters
        ----------
        index : int
            Of the temperature.
        pressure : float
            GPa.
        """
        p = pressure / GPA
        volumes = np.linspace(self.lowest, self.highest, GRID)
        best = int((self.helmholtz(volumes, index) + p * volumes).argmin())
        if best in (0, GRID - 1):
            return None
        low, high = float(volumes[best - 1]), float(volumes[best + 1])
        for _ in range(HALVINGS):
            middle = (low + high) / 2.0
            low, high = (middle, high) if self._slope(middle, index) + p < 0.0 else (low, middle)
        volume = (low + high) / 2.0
        entropy = np.polynomial.polynomial.polyval(volume / self.reference - 1.0, self.entropies[index])
        energy = float(self.helmholtz(np.array([volume]), index)[0]) + p * volume
        error = float(np.sqrt(self.static_residual**2 + self.residuals[index] ** 2 + self.noise[index] ** 2))
        return Gibbs(energy, volume, float(entropy), error)


def quasi_harmonic(
    volumes: Sequence[float] | FloatArray,
    energies: Sequence[float] | FloatArray,
    temperatures: Sequence[float] | FloatArray,
    free_energies: Sequence[Sequence[float]] | FloatArray,
    entropies: Sequence[Sequence[float]] | FloatArray,
    noise: Sequence[Sequence[float]] | FloatArray | None = None,
) -> QuasiHarmonic:
    """Fit static energies and vibrations over the volume.

    Parameters
    ----------
    volumes : sequence of float, length n_volumes
        Å³/atom.
    energies : sequence of float, length n_volumes
        Static, eV/atom.
    temperatures : sequence of float, length n_temperatures
        K.
    free_energies, entropies : shape (n_volumes, n_temperatures)
        Vibrational, eV/atom and eV/K/atom.
    noise : shape (n_volumes, n_temperatures), optional
        What modes of noise are worth, eV/atom.

    Raises
    ------
    AnalysisError
        If there are fewer than five volumes, or shapes that do not fit.
    """
    v, e, t = (np.asarray(values, dtype=float) for values in (volumes, energies, temperatures))
    f, s = np.asarray(free_energies, dtype=float), np.asarray(entropies, dtype=float)
    unknown = np.zeros_like(f) if noise is None else np.asarray(noise, dtype=float)
    if len(v) < FEWEST or e.shape != v.shape or not f.shape == s.shape == unknown.shape == (len(v), len(t)):
        raise AnalysisError(
            f"got {len(v)} volumes, energies of shape {e.shape}, free energies of shape {f.shape} and entropies of shape "
            f"{s.shape}; at least {FEWEST} volumes, and an energy and {len(t)} free energies and entropies of each, are needed"
        )
    reference = float(v[e.argmin()])
    x, strain = (reference / v) ** (2.0 / 3.0) - 1.0, v / reference - 1.0
    static = np.polynomial.polynomial.polyfit(x, e, STATIC_DEGREE)
    moved = np.polynomial.polynomial.polyfit(strain, f, VIBRATIONAL_DEGREE).T
    of_entropies = np.polynomial.polynomial.polyfit(strain, s, VIBRATIONAL_DEGREE).T
    left = f - np.polynomial.polynomial.polyval(strain, moved.T).T
    return QuasiHarmonic(
        temperatures=t,
        lowest=float(v.min()),
        highest=float(v.max()),
        static=static,
        free_energies=moved,
        entropies=of_entropies,
        reference=reference,
        static_residual=_root(e - np.polynomial.polynomial.polyval(x, static), len(v) - STATIC_DEGREE - 1),
        residuals=np.array([_root(column, len(v) - VIBRATIONAL_DEGREE - 1) for column in left.T]),
        noise=np.sqrt((unknown**2).mean(axis=0)),
    )


def _root(left: FloatArray, freedom: int) -> float:
    return float(np.sqrt((left**2).sum() / freedom))
