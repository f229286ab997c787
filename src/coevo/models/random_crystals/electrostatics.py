"""Which of several ways of placing the same atoms has the lowest Coulomb energy of formal charges.

The energy is that of pymatgen's ``EwaldSummation``. It is asked for only where it decides: a sum with the same terms, without
the matrices of pairs, ranks ways that differ by more than :data:`_MARGIN`, and one way alone needs no energy.
"""

from __future__ import annotations

import math
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from coevo.models.random_crystals.chemistry import electrostatic_energy, formal_charges

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from pymatgen.core import Lattice, Structure

    from coevo.models.random_crystals.geometry import PrimitiveCell

_DIGITS = 6.0
"""Significant figures of the sums, as :func:`~coevo.models.random_crystals.chemistry.electrostatic_energy` asks for."""

_WEIGHT = 1 / 2**0.5
"""Cost of a term in real space over that of one in reciprocal space: the default of ``EwaldSummation``."""

_COULOMB = 14.399645
"""e² / 4πε₀, eV Å."""

_MARGIN = 1e-3
"""Energies per atom that are nearer are compared by pymatgen's sums, eV; ours may miss a term at their end, of 1e-5."""


class Placement:
    """A crystal whose atoms have been placed, and its energy where it is asked for.

    Parameters
    ----------
    cell : PrimitiveCell
    """

    def __init__(self, cell: PrimitiveCell):
        self.cell = cell

    @property
    def charges_known(self) -> bool:
        """Whether a choice of formal charges makes the crystal neutral."""
        return self._charges is not None

    @property
    def structure(self) -> Structure:
        """The crystal."""
        return self.cell.structure

    @cached_property
    def _charges(self) -> NDArray[np.float64] | None:
        symbols = self.cell.symbols
        charges = _formal_charges(tuple((s, symbols.count(s)) for s in sorted(set(symbols))))
        return None if charges is None else np.array([charges[s] for s in symbols])

    @cached_property
    def energy(self) -> float:
        """Ewald energy, eV/atom."""
        found = electrostatic_energy(self.structure)
        assert found is not None
        return found

    @cached_property
    def estimate(self) -> float:
        """The energy, eV/atom, but for rounding and for terms at the very end of the sums."""
        assert self._charges is not None
        return ewald_sum(self.cell.lattice, self.cell.coords, self._charges) / len(self.cell.symbols)

    @cached_property
    def length(self) -> float:
        """Cube root of the volume per atom, Å."""
        return float((self.structure.volume / len(self.structure)) ** (1 / 3))


def lowest(placements: Sequence[Placement], *, scaled: bool = False) -> Placement:
    """The placement of lowest energy, the first of equal ones.

    Parameters
    ----------
    placements : sequence of Placement
        At least one; without known charges the first is taken.
    scaled : bool
        Compare energies times the cube root of the volume per atom.
    """
    if len(placements) == 1 or not all(p.charges_known for p in placements):
        return placements[0]
    weights = [p.length if scaled else 1.0 for p in placements]
    estimates = [p.estimate * w for p, w in zip(placements, weights, strict=True)]
    limit = min(estimates) + _MARGIN * max(weights)
    near = [(p, w) for p, w, e in zip(placements, weights, estimates, strict=True) if e <= limit]
    if len(near) == 1:
        return near[0][0]
    return min(near, key=lambda n: n[0].energy * n[1])[0]


@lru_cache(maxsize=4096)
def _formal_charges(amounts: tuple[tuple[str, int], ...]) -> dict[str, float] | None:
    return formal_charges(dict(amounts))


def ewald_sum(lattice: Lattice, coords: NDArray[np.float64], charges: NDArray[np.float64]) -> float:
    """Coulomb energy of point charges in a neutral cell, eV.

    Parameters
    ----------
    lattice : Lattice
    coords : ndarray, shape (n, 3)
        Fractional.
    charges : ndarray, shape (n,)
        In units of e.
    """
    from pymatgen.optimization.neighbors import find_points_in_spheres
    from scipy.special import erfc

    n, volume = len(charges), float(lattice.volume)
    eta = (n * _WEIGHT / volume**2) ** (1 / 3) * math.pi
    accuracy = math.sqrt(math.log(10**_DIGITS))
    matrix = np.ascontiguousarray(lattice.matrix, dtype=float)
    places = coords @ matrix
    periodic = np.ones(3, dtype=np.int64)
    first, second, _, distances = find_points_in_spheres(places, places, accuracy / math.sqrt(eta), periodic, matrix, tol=1e-8)
    apart = distances > 1e-8
    products = (charges[first] * charges[second])[apart]
    distances = distances[apart]
    real = 0.5 * float((products * erfc(math.sqrt(eta) * distances) / distances).sum())
    waves = _waves(lattice.matrix.tobytes(), 2 * math.sqrt(eta) * accuracy)
    squares = (waves * waves).sum(axis=1)
    phases = waves @ places.T
    amplitudes = (np.cos(phases) @ charges) ** 2 + (np.sin(phases) @ charges) ** 2
    # each wave stands for its opposite as well
    reciprocal = 2 * 2 * math.pi / volume * float((np.exp(-squares / (4 * eta)) / squares * amplitudes).sum())
    return _COULOMB * (real + reciprocal - math.sqrt(eta / math.pi) * float(charges @ charges))


@lru_cache(maxsize=64)
def _waves(matrix: bytes, longest: float) -> NDArray[np.float64]:
    """Half of the reciprocal lattice vectors up to a length, 1/Å (with 2π), shape (n, 3)."""
    reciprocal = 2 * math.pi * np.linalg.inv(np.frombuffer(matrix).reshape(3, 3)).T
    heights = 1.0 / np.linalg.norm(np.linalg.inv(reciprocal), axis=0)
    most = np.floor(longest / heights).astype(int)
    steps = np.stack(np.meshgrid(*(np.arange(-m, m + 1) for m in most), indexing="ij"), axis=-1).reshape(-1, 3)
    steps = steps[len(steps) // 2 + 1 :]  # those after the origin are opposite to those before it
    waves = steps @ reciprocal
    return waves[(waves * waves).sum(axis=1) <= longest**2]
