"""Which numbers of a labelling code are trusted: the last check of every label, whatever code it comes from.

A code can end without an error and still print nonsense: two atoms 0.004 Å apart give Quantum ESPRESSO an energy of +4647 Ry
and the words JOB DONE, and a machine-learned force field an energy that looks like any other. So a frame is checked before the
code sees it, and its numbers after.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from coevo.labelling.contract import LabelResult

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from coevo.configs.tree import LabellingConfig
    from coevo.labelling.contract import FloatArray


@dataclass(frozen=True)
class SanityLimits:
    """Limits of a label that is admitted.

    Attributes
    ----------
    max_force : float
        Largest force on an atom, eV/Å.
    max_stress : float
        Largest stress component by magnitude, eV/Å³.
    energy_range : tuple of float
        Lowest and highest energy, eV/atom.
    min_distance : float
        Å; atoms nearer than this overlap, and no code is asked (the shortest bond there is, H-H, has 0.74 Å).
    """

    max_force: float = 50.0
    max_stress: float = 1.0
    energy_range: tuple[float, float] = (-50.0, 20.0)
    min_distance: float = 0.5

    @classmethod
    def from_config(cls, config: LabellingConfig) -> SanityLimits:
        """Limits of a node's configuration."""
        return cls(config.max_force, config.max_stress, config.energy_range)


def check_geometry(frame: Structure, limits: SanityLimits) -> LabelResult | None:
    """Reject a frame in which atoms overlap (``overlap``), before any code sees it; None if it may be labelled."""
    centres, neighbours, _, distances = frame.get_neighbor_list(limits.min_distance)
    if not len(distances):
        return None
    nearest = int(distances.argmin())
    pair = " and ".join(sorted(frame[int(index[nearest])].species_string for index in (centres, neighbours)))
    return LabelResult(
        "rejected", "overlap", detail=f"{pair} are {distances[nearest]:.3g} Å apart, allowed: at least {limits.min_distance:g} Å"
    )


def judge(energy: float, forces: FloatArray, stress: FloatArray, limits: SanityLimits) -> LabelResult:
    """Admit or reject the numbers of one frame.

    Parameters
    ----------
    energy : float
        eV/atom.
    forces : ndarray, shape (n_atoms, 3)
        eV/Å.
    stress : ndarray, shape (3, 3)
        eV/Å³, ASE sign.
    limits : SanityLimits

    Returns
    -------
    LabelResult
        Admitted with the numbers, or rejected with a reason (``not_finite``, ``energy_out_of_range``, ``large_force``,
        ``large_stress``) and without them.
    """
    forces, stress = np.asarray(forces, dtype=float), np.asarray(stress, dtype=float)
    if not (np.isfinite(energy) and np.isfinite(forces).all() and np.isfinite(stress).all()):
        return LabelResult("rejected", "not_finite", detail="energy, forces or stress are not finite numbers")
    low, high = limits.energy_range
    if not low <= energy <= high:
        return LabelResult("rejected", "energy_out_of_range", detail=f"energy {energy:.4g} eV/atom, allowed: {low:g} to {high:g}")
    force = float(np.linalg.norm(forces, axis=1).max(initial=0.0))
    if force > limits.max_force:
        return LabelResult(
            "rejected", "large_force", detail=f"a force of {force:.4g} eV/Å, allowed: at most {limits.max_force:g}"
        )
    component = float(np.abs(stress).max())
    if component > limits.max_stress:
        return LabelResult(
            "rejected", "large_stress", detail=f"a stress of {component:.4g} eV/Å³, allowed: at most {limits.max_stress:g}"
        )
    return LabelResult("admitted", energy=float(energy), forces=forces, stress=stress)
