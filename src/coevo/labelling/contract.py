"""The label contract: what a labelling code is given and what it gives back for each frame.

Units: energies eV/atom, forces eV/Å, stresses eV/Å³ in ASE's sign (positive = tensile).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray
    from pymatgen.core import Structure

    FloatArray = NDArray[np.float64]

LabelStatus = Literal["admitted", "rejected", "failed"]


@dataclass(frozen=True)
class LabelSettings:
    """What a label was computed with; its digest is on every label, and labels of two digests are never mixed in one fit.

    Attributes
    ----------
    code : str
        ``teacher``, ``espresso`` or ``vasp``.
    version : str
        Version of the code.
    functional : str
        ``PBE``, ``r2SCAN``, ….
    anion_corrected : bool
        Whether energies hold the MP2020 anion correction already.
    parameters : dict
        Everything else that changes a number: cutoffs, k-point density, hashes of potentials or weights (JSON).
    """

    code: str
    version: str
    functional: str
    anion_corrected: bool
    parameters: dict[str, Any]


@dataclass(frozen=True)
class LabelResult:
    """The label of one frame, or why it has none.

    Attributes
    ----------
    status : {"admitted", "rejected", "failed"}
        Rejected: the code finished and the number is not to be trusted. Failed: the code did not finish.
    reason : str
        A short fixed word that can be counted: ``large_force``, ``not_finite``, …; empty when admitted.
    energy : float or None
        eV/atom.
    forces : ndarray, shape (n_atoms, 3), or None
        eV/Å.
    stress : ndarray, shape (3, 3), or None
        eV/Å³, ASE sign.
    detail : str
        One sentence with the numbers behind the reason.
    """

    status: LabelStatus
    reason: str = ""
    energy: float | None = None
    forces: FloatArray | None = None
    stress: FloatArray | None = None
    detail: str = ""


@runtime_checkable
class Labeller(Protocol):
    """A labelling code."""

    code: ClassVar[str]

    def settings(self) -> LabelSettings:
        """What the labels are computed with."""
        ...

    def label(self, frames: Sequence[Structure], *, progress: Callable[[int], None] | None = None) -> list[LabelResult]:
        """Label the frames, in order; a frame that fails is a result."""
        ...
