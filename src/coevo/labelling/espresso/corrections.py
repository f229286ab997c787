"""What is tried against each error of ``pw.x``, as data: a list per error, tried in order; after the last a run is given up.

No correction changes what is computed: cutoffs, k-points and potentials are left alone, bands are only added, and smearing is
added only where an input has none. Mixing, diagonalisation and restarts change the way to the ground state and not the ground
state. The sequences follow the practice of the error handlers of aiida-quantumespresso.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Scaled:
    """The value in the input, times a factor; ``default`` is what pw.x takes where the input has none."""

    factor: float
    default: float


@dataclass(frozen=True)
class MoreBands:
    """The number of bands, raised by a fraction and at least by a number."""

    fraction: float = 0.05
    at_least: int = 4


@dataclass(frozen=True)
class Correction:
    """One correction.

    Attributes
    ----------
    changes : dict
        Input key (``ELECTRONS->mixing_beta``) to its new value, :class:`Scaled` or :class:`MoreBands`.
    unless : dict
        The correction is left out where the input has all these values already.
    """

    changes: dict[str, Any]
    unless: dict[str, Any] = field(default_factory=dict)


def diagonalise_by(method: str) -> Correction:
    """Another iterative diagonalisation, unless it is the one in use."""
    return Correction({"ELECTRONS->diagonalization": method}, unless={"ELECTRONS->diagonalization": method})


AGAIN = Correction({"CONTROL->restart_mode": "from_scratch"})
RESTART = Correction({"CONTROL->restart_mode": "restart"})
SMEARING = Correction(
    {"SYSTEM->occupations": "smearing", "SYSTEM->smearing": "mv", "SYSTEM->degauss": 0.01},
    unless={"SYSTEM->occupations": "smearing"},
)
DIAGONALISATIONS = (diagonalise_by("david"), diagonalise_by("paro"), diagonalise_by("cg"))
LESS_MEMORY = (
    Correction({"ELECTRONS->diago_david_ndim": 2}, unless={"ELECTRONS->diago_david_ndim": 2}),
    diagonalise_by("cg"),
)

CORRECTIONS: dict[str, tuple[Correction, ...]] = {
    "scf_not_converged": (
        Correction({"ELECTRONS->mixing_beta": Scaled(0.8, default=0.7), "CONTROL->restart_mode": "from_scratch"}),
        Correction({"ELECTRONS->mixing_mode": "local-TF"}, unless={"ELECTRONS->mixing_mode": "local-TF"}),
        Correction({"ELECTRONS->electron_maxstep": Scaled(2, default=100)}),
        SMEARING,
    ),
    "smearing_needed": (SMEARING,),
    "too_few_bands": (Correction({"SYSTEM->nbnd": MoreBands()}),) * 3,
    "diagonalisation_failed": DIAGONALISATIONS,
    "s_matrix_not_positive": DIAGONALISATIONS,
    "cholesky_failed": DIAGONALISATIONS,
    "walltime": (RESTART,) * 3,
    "restart_not_read": (AGAIN,),
    "out_of_memory": LESS_MEMORY,
    "killed": LESS_MEMORY,
    "timed_out": (AGAIN,),
    "crashed": (AGAIN, diagonalise_by("david"), diagonalise_by("cg")),
    "output_cut_off": (AGAIN, diagonalise_by("david"), diagonalise_by("cg")),
}
"""Error to its corrections. An error that is not here (overlapping atoms, an unreadable input, …) is given up at once."""

DEFAULTS: dict[str, Any] = {
    "CONTROL->restart_mode": "from_scratch",
    "ELECTRONS->diagonalization": "david",
    "ELECTRONS->mixing_mode": "plain",
    "SYSTEM->occupations": "fixed",
}
"""What pw.x takes where the input names no value."""
