"""Bulk modulus from the energies of a cell at several volumes: Birch and Murnaghan's equation of state, fitted by ASE."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from coevo.analysis.signals.residuals import GPA
from coevo.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class EquationOfState:
    """A fitted equation of state.

    Attributes
    ----------
    bulk_modulus : float
        At the volume of least energy, GPa.
    volume : float
        Of least energy, in the unit of the volumes.
    """

    bulk_modulus: float
    volume: float


def equation_of_state(volumes: Sequence[float], energies: Sequence[float]) -> EquationOfState:
    """Fit Birch and Murnaghan's equation of state (F. Birch, Phys. Rev. 71, 809 (1947)).

    Parameters
    ----------
    volumes : sequence of float, at least 5
        Å³, of an atom or of a cell.
    energies : sequence of float
        eV, of the same.

    Raises
    ------
    AnalysisError
        If there is no least energy within the volumes, or no fit.
    """
    from ase.eos import EquationOfState as Fit

    if len(volumes) < 5 or len(volumes) != len(energies):
        raise AnalysisError(f"got {len(volumes)} volumes and {len(energies)} energies; at least 5, one each, are needed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the covariance, which is not asked for
        try:
            volume, _, modulus = Fit(list(volumes), list(energies), eos="birchmurnaghan").fit(warn=False)
        except (RuntimeError, ValueError) as error:
            raise AnalysisError(f"no equation of state: {error}") from None
    if not modulus > 0.0:
        raise AnalysisError("no equation of state: the energy has no least value in the volumes")
    if not min(volumes) <= volume <= max(volumes):
        raise AnalysisError(
            f"the energy is least at {volume:.4g} Å³ and not within the volumes ({min(volumes):.4g} to {max(volumes):.4g} Å³)"
        )
    return EquationOfState(float(modulus) * GPA, float(volume))
