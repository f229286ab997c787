"""The two contracts that every model family fulfils: crystal generators and force fields.

Units: energies eV/atom, forces eV/Å, stresses eV/Å³ in ASE's sign (positive = tensile), lengths Å. A structure that fails is a
:class:`Failure` in the list of results, at its place, and never an exception; an exception means that the whole model failed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from coevo.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from ase.calculators.calculator import Calculator
    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from coevo.models.early_stopping import HullWatch

    FloatArray = NDArray[np.float64]

Progress = Callable[[int], None]
"""Called with the number of structures (or epochs) finished since the last call."""


@dataclass(frozen=True)
class Failure:
    """Why one structure has no result.

    Attributes
    ----------
    reason : str
        A short fixed word that can be counted: ``exploded``, ``nan``, ``not_converged``, ``collapsed``, ``no_neighbours``, ….
    detail : str
        One sentence with the numbers.
    """

    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Conditions:
    """What a generator is asked for.

    Attributes
    ----------
    elements : tuple of str
        The node's chemical system; a candidate contains no other element.
    max_atoms : int
        Atoms per cell, at most.
    chemical_systems : mapping of str to float
        Weights of systems such as ``"Li-P-S"``; empty means the whole system only.
    compositions : tuple of str
        Formulas asked for; a candidate's reduced formula is one of theirs. Empty means any.
    energy_above_hull : float
        Target, eV/atom.
    electron_excess_share : float or None
        Share of the candidates with more electrons than their elements can take (:mod:`coevo.configs.electrons`), at most; None
        sets no limit. A family need not look at it: what is too much is dropped from its sample.
    """

    elements: tuple[str, ...]
    max_atoms: int = 20
    chemical_systems: Mapping[str, float] = field(default_factory=dict)
    compositions: tuple[str, ...] = ()
    energy_above_hull: float = 0.0
    electron_excess_share: float | None = None


@dataclass(frozen=True)
class Candidate:
    """A generated structure and where it came from.

    Attributes
    ----------
    structure : Structure
        Ordered, periodic, of the conditions' elements.
    origin : dict
        JSON: ``operator`` and its parameters (space group, parents' ids, …).
    """

    structure: Structure
    origin: dict[str, Any]


@dataclass(frozen=True)
class Sample:
    """What a call to :meth:`Generator.sample` gave.

    Attributes
    ----------
    candidates : list of Candidate
        At most the number asked for.
    rejected : dict
        Reason to count, for every draw that was not returned.
    """

    candidates: list[Candidate]
    rejected: dict[str, int]


@dataclass(frozen=True)
class Example:
    """One structure that a generator learns from.

    Attributes
    ----------
    id : str
        Content id of the structure.
    structure : Structure
    energy_above_hull : float
        eV/atom, by the state's own force field.
    known : bool
        A reference: known before the node, and not a generator's draw.
    """

    id: str
    structure: Structure
    energy_above_hull: float
    known: bool = False


@dataclass(frozen=True)
class Capabilities:
    """What a generator family promises beyond well-formed candidates within the conditions.

    Everything is promised unless the family says otherwise, in its class attribute. The contract suite tests what is promised,
    and in place of what is not, the weaker statement given here.

    Attributes
    ----------
    complete : bool
        As many candidates as asked for, if the conditions can be met. Otherwise fewer may come, and the others are counted.
    spaced : bool
        Atoms at least 1 Å apart and 5–120 Å³ per atom. Otherwise that is left to screening, which rejects and counts.
    extends : bool
        A longer sample begins with the shorter one of the same seed. Otherwise only equal arguments give equal samples.
    untaught : bool
        Any chemical elements, also those of no example. Otherwise draws of others may all be lost, and are counted.
    replay : bool
        A fit depends on its examples and seed only. Otherwise it goes on from its parent, and the report's ``loss_after`` (of the
        validation examples) is not larger than ``loss_before``.
    """

    complete: bool = True
    spaced: bool = True
    extends: bool = True
    untaught: bool = True
    replay: bool = True


@runtime_checkable
class Generator(Protocol):
    """A crystal generator; immutable, ``fit`` returns a new one.

    A family is constructed by ``Family.initial(settings)`` or ``Family.load(path, settings)``.
    """

    family: ClassVar[str]
    format: ClassVar[str]
    capabilities: ClassVar[Capabilities]

    def sample(self, n: int, conditions: Conditions, seed: int, *, progress: Progress | None = None) -> Sample:
        """Draw ``n`` candidates; the same arguments give the same candidates."""
        ...

    def fit(self, examples: Sequence[Example], seed: int) -> tuple[Generator, dict[str, Any]]:
        """Return the generator learned from all the examples, and a report (JSON).

        A report with ``fitted: False`` and a ``reason`` says that the examples do not suffice, and that nothing was learned.
        """
        ...

    def save(self, path: Path) -> None:
        """Write the checkpoint; the same generator writes the same bytes."""
        ...


@dataclass(frozen=True)
class Prediction:
    """Energy, forces and stress of one structure.

    Attributes
    ----------
    energy : float
        eV/atom.
    forces : ndarray, shape (n_atoms, 3)
        eV/Å.
    stress : ndarray, shape (3, 3)
        eV/Å³, ASE sign.
    """

    energy: float
    forces: FloatArray
    stress: FloatArray

    @property
    def fmax(self) -> float:
        """Largest force on an atom, eV/Å."""
        return float((self.forces**2).sum(axis=1).max() ** 0.5)


@dataclass(frozen=True)
class RelaxationSettings:
    """How structures are relaxed.

    Attributes
    ----------
    fmax : float
        eV/Å; largest force on an atom, and largest generalised force on the cell (as in ASE's ``FrechetCellFilter``).
    max_steps : int
    relax_cell : bool
        Otherwise the cell stays as it is, and the atoms move in it.
    fixed_volume : bool
        The cell changes its shape, and not its volume.
    pressure : float
        External pressure, eV/Å³ (1 GPa is 0.00624): E + pV is minimised; the predictions hold E, and the stress without it.
    keep_unconverged : bool
        What is not relaxed after ``max_steps`` has its last geometry and prediction for a result, and is no failure.
    batch_size : int
        Structures that advance together. Consecutive structures form a batch, so that the result does not depend on the workers.
    path_frames : int
        Frames of the path that are kept, evenly spaced over the steps before the last.
    optimiser : {"lbfgs", "fire"}
        L-BFGS that FIRE starts, or FIRE alone as in ASE.
    """

    fmax: float = 0.1
    max_steps: int = 200
    relax_cell: bool = True
    batch_size: int = 16
    path_frames: int = 0
    optimiser: str = "lbfgs"
    fixed_volume: bool = False
    pressure: float = 0.0
    keep_unconverged: bool = False

    def __post_init__(self) -> None:
        if not math.isfinite(self.pressure):
            raise ConfigError(f"pressure: got {self.pressure}, allowed: a finite number, eV/Å³")
        if self.pressure and (self.fixed_volume or not self.relax_cell):
            kept = "volume" if self.relax_cell else "cell"
            raise ConfigError(f"pressure: got {self.pressure:g} eV/Å³ with a fixed {kept}, on which no pressure acts, allowed: 0")


@dataclass(frozen=True)
class Relaxation:
    """A structure that was relaxed.

    Attributes
    ----------
    structure : Structure
        Final geometry.
    prediction : Prediction
        Of the final geometry.
    steps : int
    path : list of Structure
        Earlier geometries, in order.
    """

    structure: Structure
    prediction: Prediction
    steps: int
    path: list[Structure] = field(default_factory=list)


@dataclass(frozen=True)
class TrainingFrame:
    """One labelled frame on the force field's own energy scale.

    Attributes
    ----------
    structure : Structure
    energy : float
        eV/atom.
    forces : ndarray, shape (n_atoms, 3)
        eV/Å.
    stress : ndarray, shape (3, 3)
        eV/Å³, ASE sign.
    """

    structure: Structure
    energy: float
    forces: FloatArray
    stress: FloatArray


@dataclass(frozen=True)
class FitSettings:
    """How a force field is fine-tuned; see :class:`coevo.configs.tree.TrainingConfig` for meanings and units."""

    epochs: int = 20
    learning_rate: float = 5e-4
    batch_size: int = 8
    force_weight: float = 1.0
    stress_weight: float = 0.1
    patience: int = 5


@runtime_checkable
class ForceField(Protocol):
    """A machine-learned force field; immutable, ``fit`` returns a new one.

    A family is constructed by ``Family.published(weights, device)`` or ``Family.load(path, device)``.
    """

    family: ClassVar[str]
    format: ClassVar[str]
    energy_scale: str

    def evaluate(
        self, structures: Sequence[Structure], *, workers: int = 1, progress: Progress | None = None
    ) -> list[Prediction | Failure]:
        """Single points, in order."""
        ...

    def relax(
        self,
        structures: Sequence[Structure],
        settings: RelaxationSettings,
        *,
        workers: int = 1,
        progress: Progress | None = None,
    ) -> list[Relaxation | Failure]:
        """Relax, in order; the result does not depend on ``workers``."""
        ...

    def fit(
        self,
        training: Sequence[TrainingFrame],
        validation: Sequence[TrainingFrame],
        settings: FitSettings,
        seed: int,
        *,
        progress: Progress | None = None,
        watch: HullWatch | None = None,
    ) -> tuple[ForceField, dict[str, Any]]:
        """Fine-tune; early stopping sees the validation frames only. Return the best model by validation, and a report.

        ``watch`` is given to families alone that say ``watch`` among their capabilities: the best epoch is then that of
        :class:`coevo.models.early_stopping.EarlyStopping`. Others need not take it.
        """
        ...

    def calculator(self) -> Calculator:
        """An ASE calculator of this model."""
        ...

    def save(self, path: Path) -> None:
        """Write the checkpoint; the same model writes the same bytes, and no pickle is in it."""
        ...
