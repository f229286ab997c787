"""Any ASE calculator as a force field: evaluated and relaxed by coevo, saved by name, and not trained."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from coevo.errors import CheckpointError, ConfigError, ModelError, StorageError
from coevo.families import descriptor_of
from coevo.models.checkpoint_json import parse_bounded
from coevo.models.contracts import Failure, FitSettings, Progress, TrainingFrame
from coevo.models.relaxing.force_field import BatchForceField
from coevo.models.relaxing.predictor import BatchPrediction, Recipe

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ase.calculators.calculator import Calculator
    from numpy.typing import NDArray

    from coevo.models.contracts import FloatArray, ForceField
    from coevo.models.relaxing.neighbours import PairList

FORMAT = "coevo-ase-1"


class AseForceField(BatchForceField):
    """A force field that is an ASE calculator; immutable.

    A family is a subclass that says ``family`` and ``cutoff`` and makes its calculator (:meth:`make_calculator`), with a
    descriptor (:class:`coevo.families.Family`) that names its weights. A checkpoint is the name of the weights, which come with
    the family's package; so reading one runs no code, and nothing is trained.

    Parameters
    ----------
    weights : str
        A name of the family's descriptor.
    device : str
        Handed to :meth:`make_calculator`.

    Attributes
    ----------
    cutoff : float
        Å; an atom with no other one within it is a failure, ``no_neighbours``.
    element_energies : mapping of str to float
        eV; if they are given, a relaxation stops at 20 eV/atom below, or 100 above, what they add up to.
    """

    format: ClassVar[str] = "json"
    runs_code: ClassVar[bool] = False
    cutoff: ClassVar[float]
    element_energies: ClassVar[Mapping[str, float]] = {}

    def __init__(self, weights: str, device: str = "cpu") -> None:
        descriptor = descriptor_of(self.family, "force_field")
        if weights not in descriptor.weights:
            raise ConfigError(f"{self.family} has no weights {weights!r}; allowed: {', '.join(descriptor.weights)}")
        if device.partition(":")[0] not in descriptor.devices:
            raise ConfigError(f"device {device!r} is not supported by {self.family}; allowed: {', '.join(descriptor.devices)}")
        self.weights_name = weights
        self.device = device
        self.energy_scale = descriptor.weights[weights].energy_scale
        self.functional = descriptor.weights[weights].functional
        self._predictor: AsePredictor | None = None

    @classmethod
    def make_calculator(cls, weights: str, device: str) -> Calculator:
        """Make the calculator: energy (eV), forces (eV/Å) and stress (eV/Å³) of periodic crystals."""
        raise NotImplementedError

    @classmethod
    def published(cls, weights: str | None = None, device: str = "cpu") -> Self:
        """The force field with weights by name; the family's default if none is given."""
        return cls(weights or descriptor_of(cls.family, "force_field").default_weights, device)

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> Self:
        """Load a checkpoint that :meth:`save` wrote.

        Raises
        ------
        CheckpointError
            If the file is missing, or not such a checkpoint of this family.
        """
        try:
            document = parse_bounded(path.read_bytes())
        except (OSError, ValueError) as err:
            raise CheckpointError(f"checkpoint {path} cannot be read: {str(err)[:200]}") from None
        if not isinstance(document, dict) or document.get("format") != FORMAT or document.get("family") != cls.family:
            raise CheckpointError(f"{path} is no checkpoint of {cls.family} ({FORMAT})")
        weights = str(document.get("weights"))
        if weights not in descriptor_of(cls.family, "force_field").weights:
            raise CheckpointError(f"{path}: {cls.family} has no weights {weights[:80]!r} here; install the version that has")
        return cls(weights, device)

    def save(self, path: Path) -> None:
        """Write the checkpoint; the same force field writes the same bytes.

        Raises
        ------
        StorageError
            If the file cannot be written.
        """
        try:
            path.write_bytes(self._document())
        except OSError as err:
            raise StorageError(f"checkpoint {path} cannot be written: {err.strerror or err}") from err

    def _document(self) -> bytes:
        return json.dumps({"family": self.family, "format": FORMAT, "weights": self.weights_name}, sort_keys=True).encode()

    @property
    def digest(self) -> str:
        """sha256 of the checkpoint's bytes, hexadecimal."""
        return hashlib.sha256(self._document()).hexdigest()

    @property
    def predictor(self) -> AsePredictor:
        """The calculator, ready for batches."""
        if self._predictor is None:
            calculator = type(self).make_calculator(self.weights_name, self.device)
            self._predictor = AsePredictor(calculator, self.cutoff, self.element_energies, self.device)
        return self._predictor

    def recipe(self) -> Recipe:
        """How a worker process makes the same predictor: by the class and the name of the weights."""
        key = f"{type(self).__module__}:{type(self).__qualname__} {self.weights_name} {self.device}"
        return Recipe(key, _predictor_of, (type(self), self.weights_name, self.device))

    def fit(
        self,
        training: Sequence[TrainingFrame],  # noqa: ARG002 - of the contract, as are the others
        validation: Sequence[TrainingFrame],  # noqa: ARG002
        settings: FitSettings,  # noqa: ARG002
        seed: int,  # noqa: ARG002
        *,
        progress: Progress | None = None,  # noqa: ARG002
    ) -> tuple[ForceField, dict[str, Any]]:
        """Refuse: an ASE calculator has nothing that coevo could train; the training step asks the descriptor first.

        Raises
        ------
        ModelError
        """
        raise ModelError(f"the force field {self.family} cannot be fitted: it is an ASE calculator, which coevo cannot train")


def _predictor_of(family: type[AseForceField], weights: str, device: str) -> AsePredictor:
    return family(weights, device).predictor


class AsePredictor:
    """An ASE calculator that is asked crystal by crystal.

    Parameters
    ----------
    calculator : Calculator
    cutoff : float
        Å.
    element_energies : mapping of str to float
        eV.
    device : str
    """

    def __init__(
        self, calculator: Calculator, cutoff: float, element_energies: Mapping[str, float] | None = None, device: str = "cpu"
    ) -> None:
        from ase.data import chemical_symbols

        self.calculator = calculator
        self._cutoff = cutoff
        self.device = device
        known = dict(element_energies or {})
        self.element_energies = np.array([known.get(symbol, np.nan) for symbol in chemical_symbols]) if known else None

    @property
    def cutoff(self) -> float:
        """Å; see :class:`coevo.models.relaxing.predictor.Predictor`."""
        return self._cutoff

    @property
    def device_type(self) -> str:
        """``cpu`` or ``cuda``."""
        return self.device.partition(":")[0]

    def predict(
        self,
        numbers: NDArray[np.int64],
        counts: NDArray[np.int64],
        positions: FloatArray,
        cells: FloatArray,
        *,
        pairs: Sequence[PairList] = (),  # noqa: ARG002 - calculators search for themselves
    ) -> BatchPrediction:
        """Predict a batch; see :class:`coevo.models.relaxing.predictor.Predictor`.

        Raises
        ------
        ModelError
            If the calculator has no energy, forces or stress.
        """
        n = len(counts)
        energies, forces, virials = np.zeros(n), np.zeros((len(numbers), 3)), np.zeros((n, 3, 3))
        failures: dict[int, Failure] = {}
        ends = np.cumsum(counts)
        for k in range(n):
            rows = slice(ends[k] - counts[k], ends[k])
            found = self._one(numbers[rows], positions[rows], cells[k])
            if isinstance(found, Failure):
                failures[k] = found
            else:
                energies[k], forces[rows], virials[k] = found
        interaction = None
        if self.element_energies is not None:
            owner = np.repeat(np.arange(n), counts)
            elements = np.bincount(owner, self.element_energies[numbers], minlength=n)
            interaction = np.nan_to_num((energies - elements) / counts)  # an element without an energy says nothing
        return BatchPrediction(energies, forces, virials, interaction, failures)

    def _one(
        self, numbers: NDArray[np.int64], positions: FloatArray, cell: FloatArray
    ) -> tuple[float, FloatArray, FloatArray] | Failure:
        from ase import Atoms
        from ase.calculators.calculator import CalculatorError, PropertyNotImplementedError

        atoms = Atoms(numbers=numbers, positions=positions, cell=cell, pbc=True)
        atoms.calc = self.calculator
        try:
            energy, forces = atoms.get_potential_energy(), atoms.get_forces()
            stress = atoms.get_stress(voigt=False)
        except PropertyNotImplementedError as err:
            name = type(self.calculator).__name__
            raise ModelError(f"{name} cannot be a force field, which gives energy, forces and stress: {err}") from err
        except (CalculatorError, ArithmeticError, np.linalg.LinAlgError) as err:
            return Failure("calculation_failed", f"{type(err).__name__}: {str(err)[:200]}")
        return energy, forces, stress * atoms.get_volume()
