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

    from coevo.configs.tree import LabellingConfig
    from coevo.settings import Settings

    FloatArray = NDArray[np.float64]

LabelStatus = Literal["admitted", "rejected", "failed"]


@dataclass(frozen=True)
class LabelSettings:
    """What a label was computed with; its digest is on every label, and labels of two digests are never mixed in one fit.

    Attributes
    ----------
    code : str
        ``teacher``, ``espresso``, ``vasp``, ``maker``, or the name of the entry point of another package.
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


@dataclass(frozen=True)
class RelaxedFrame:
    """What a code made of a frame that it was to relax.

    Attributes
    ----------
    structure : Structure
        The last geometry that has a label; the frame itself where nothing was gained.
    label : LabelResult
        A single point there, as :meth:`Labeller.label` makes it.
    steps : int
        That were taken.
    converged : bool
        Whether the forces and the stress of that label are as small as was asked for. Otherwise its energy is an upper bound.
    reason : str
        Why the code stopped moving it, where it failed at that; empty otherwise.
    """

    structure: Structure
    label: LabelResult
    steps: int = 0
    converged: bool = False
    reason: str = ""


@dataclass(frozen=True)
class Workplace:
    """What a labelling code is made from: what the node wants, and what this machine has.

    Attributes
    ----------
    labelling : LabellingConfig
        Limits of sane labels and the section of the code; ``labelling.arguments`` is for codes of other packages.
    elements : tuple of str
        Elements of the node; empty if they are not known.
    settings : Settings
        ``COEVO_*`` of this process: scratch directory, commands, device.
    workers : int
        Processes that may run at once. The numbers must not depend on it.
    force_field : callable
        ``force_field(family, weights)`` loads published weights, for codes that label by a force field of coevo's.
    """

    labelling: LabellingConfig
    elements: tuple[str, ...]
    settings: Settings
    workers: int
    force_field: Callable[[str, str], Any]


@dataclass(frozen=True)
class Found:
    """What a machine has for a labelling code, as ``coevo doctor`` tells it.

    Attributes
    ----------
    what : str
    condition : {"ok", "missing", "problem"}
        ``missing`` is optional and absent.
    found : str
    hint : str
        What to do; empty when ok.
    """

    what: str
    condition: Literal["ok", "missing", "problem"]
    found: str
    hint: str = ""


@runtime_checkable
class Labeller(Protocol):
    """A labelling code.

    Attributes
    ----------
    code : str
        Name in ``labelling.code``.
    first_principles : bool
        Whether its labels say something about stability: an energy above hull is made of such labels only. An attribute of the
        class, unless it hangs on the section: who judges a hull of labelled phases asks the class.

    Notes
    -----
    A class may have, beside these: ``by_element`` (text), the parameter of its settings that names something of each element of
    the node, as a mapping of elements; ``core_seconds`` (number), what a frame of about 12 atoms takes on one core;
    ``here()``, a class method that returns a list of :class:`Found`; and ``relax(frames, steps, fmax, *, progress=None)``, which
    returns a list of :class:`RelaxedFrame`.
    """

    code: ClassVar[str]
    first_principles: bool

    @classmethod
    def for_node(cls, place: Workplace) -> Labeller:
        """Make the labeller of a node on this machine; what it needs is looked for when its settings are asked for.

        Raises
        ------
        LabellingError
            If the configuration or a setting of the machine is wrong.
        """
        ...

    def settings(self) -> LabelSettings:
        """What the labels are computed with.

        Raises
        ------
        LabellingError
            If something that the labels need is missing here: it is asked before anything is queued.
        """
        ...

    def label(self, frames: Sequence[Structure], *, progress: Callable[[int], None] | None = None) -> list[LabelResult]:
        """Label the frames, in order; a frame that fails is a result.

        Raises
        ------
        LabellingError
            If the machine fails, and not the frame.
        """
        ...
