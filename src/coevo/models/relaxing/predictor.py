"""What a family of force fields gives to evaluation and relaxation: energies, forces and stresses of a batch of crystals."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from coevo.models.contracts import Failure, FloatArray
    from coevo.models.relaxing.neighbours import PairList


@dataclass(frozen=True)
class BatchPrediction:
    """What a force field says of a batch.

    Attributes
    ----------
    energies : ndarray, shape (n_crystals,)
        eV per cell.
    forces : ndarray, shape (n_atoms, 3)
        eV/Å.
    virials : ndarray, shape (n_crystals, 3, 3)
        Derivative of the energy with respect to a symmetric strain, eV: the stress (eV/Å³, ASE sign) times the volume.
    interaction : ndarray, shape (n_crystals,), optional
        Part of the energies beyond that of the elements, eV/atom, of families that know it; where it is absurd, a relaxation
        stops.
    failures : mapping of int to Failure
        Crystals of which there is no prediction, by their place in the batch; their rows hold anything.
    """

    energies: FloatArray
    forces: FloatArray
    virials: FloatArray
    interaction: FloatArray | None = None
    failures: Mapping[int, Failure] = field(default_factory=dict)


class Predictor(Protocol):
    """A force field that is ready to predict batches."""

    @property
    def cutoff(self) -> float:
        """Å; an atom with no other one within it has no meaningful energy."""
        ...

    @property
    def device_type(self) -> str:
        """``cpu`` or ``cuda``."""
        ...

    def predict(
        self,
        numbers: NDArray[np.int64],
        counts: NDArray[np.int64],
        positions: FloatArray,
        cells: FloatArray,
        *,
        pairs: Sequence[PairList] = (),
    ) -> BatchPrediction:
        """Predict a batch of periodic crystals; each atom has a neighbour, and none lies on another one.

        Parameters
        ----------
        numbers : ndarray of int64, shape (n_atoms,)
            Atomic numbers, crystal after crystal.
        counts : ndarray of int64, shape (n_crystals,)
            Atoms of each crystal.
        positions : ndarray, shape (n_atoms, 3)
            Cartesian, Å; not wrapped into the cells.
        cells : ndarray, shape (n_crystals, 3, 3)
            Rows are the cell vectors, Å.
        pairs : sequence of PairList
            For each crystal, pairs of atoms that hold all those within the cutoff, for who wants them: they were searched anyway.
            The same objects come again, step after step, until atoms have moved far.
        """
        ...


@dataclass(frozen=True)
class Recipe:
    """How a worker process makes a predictor.

    Attributes
    ----------
    digest : str
        Equal digests make equal predictors.
    make : callable
        Of the top level of a module: it is sent by name.
    arguments : tuple
        Plain data.
    """

    digest: str
    make: Callable[..., Predictor]
    arguments: tuple[Any, ...] = ()
