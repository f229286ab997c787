"""CHGNet behind the force-field contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from coevo.errors import ConfigError, StorageError
from coevo.models.chgnet.weights import Weights, published_weights, read_weights
from coevo.models.contracts import Failure, FitSettings, Prediction, Progress, Relaxation, RelaxationSettings, TrainingFrame

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ase.calculators.calculator import Calculator
    from pymatgen.core import Structure

    from coevo.models.chgnet.inference import Predictor

EVALUATION_BATCH = 32
"""Structures per single-point batch."""


class ChgnetForceField:
    """A CHGNet, published or fine-tuned; immutable.

    Parameters
    ----------
    weights : Weights
    device : str
        ``cpu``, ``cuda`` or ``cuda:N``.

    Examples
    --------
    >>> from pymatgen.core import Lattice, Structure
    >>> force_field = ChgnetForceField.published("0.3.0")
    >>> crystal = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.72), ["Li", "S"], [[0.25, 0.25, 0.25], [0, 0, 0]])
    >>> [prediction] = force_field.evaluate([crystal])
    >>> round(prediction.energy, 2)
    -4.11
    """

    family: ClassVar[str] = "chgnet"
    format: ClassVar[str] = "safetensors"

    def __init__(self, weights: Weights, device: str = "cpu") -> None:
        self._weights = weights
        self._device = _checked_device(device)
        self._predictor: Predictor | None = None

    @classmethod
    def published(cls, weights: str = "0.3.0", device: str = "cpu") -> ChgnetForceField:
        """Load published weights from the ``chgnet`` wheel, offline.

        Parameters
        ----------
        weights : {"0.3.0", "0.2.0", "r2scan"}
        device : str

        Raises
        ------
        ConfigError
            If there are no weights of this name, or the device cannot be used.
        """
        return cls(published_weights(weights), device)

    @classmethod
    def load(cls, path: Path, device: str = "cpu") -> ChgnetForceField:
        """Load a checkpoint that :meth:`save` wrote.

        Raises
        ------
        CheckpointError
            If the file is missing, truncated, or not such a checkpoint.
        """
        return cls(read_weights(path), device)

    def save(self, path: Path) -> None:
        """Write the checkpoint as safetensors; the same weights write the same bytes.

        Raises
        ------
        StorageError
            If the file cannot be written.
        """
        try:
            path.write_bytes(self._weights.to_bytes())
        except OSError as err:
            raise StorageError(f"checkpoint {path} cannot be written: {err.strerror or err}") from err

    @property
    def energy_scale(self) -> str:
        """``mp2020`` or ``r2scan``."""
        return self._weights.architecture.energy_scale

    @property
    def functional(self) -> str:
        """Functional that the published weights were trained on, ``PBE`` or ``r2SCAN``."""
        return self._weights.architecture.functional

    @property
    def weights_name(self) -> str:
        """Published weights that these come from."""
        return self._weights.architecture.weights

    @property
    def digest(self) -> str:
        """sha256 of the checkpoint's bytes, hexadecimal; names the model in job keys and labels."""
        return self._weights.digest

    @property
    def device(self) -> str:
        """Where the network runs."""
        return self._device

    @property
    def predictor(self) -> Predictor:
        """The frozen network on its device."""
        if self._predictor is None:
            from coevo.models.chgnet.inference import Predictor

            self._predictor = Predictor(self._weights, self._device)
        return self._predictor

    def evaluate(
        self, structures: Sequence[Structure], *, workers: int = 1, progress: Progress | None = None
    ) -> list[Prediction | Failure]:
        """Single points, in order; see :class:`~coevo.models.contracts.ForceField`."""
        from coevo.models.chgnet.inference import evaluate_batch

        return self._run(structures, evaluate_batch, (), EVALUATION_BATCH, workers, progress)

    def relax(
        self,
        structures: Sequence[Structure],
        settings: RelaxationSettings,
        *,
        workers: int = 1,
        progress: Progress | None = None,
    ) -> list[Relaxation | Failure]:
        """Relax, in order; see :class:`~coevo.models.contracts.ForceField` and :mod:`coevo.models.chgnet.relaxation`."""
        from coevo.models.chgnet.relaxation import OPTIMISERS, relax_batch
        from coevo.models.relaxing.crystal import structure_with_geometry

        if settings.optimiser not in OPTIMISERS:
            raise ConfigError(f"optimiser {settings.optimiser!r} is unknown; allowed: {', '.join(sorted(OPTIMISERS))}")
        results: list[Relaxation | Failure] = []
        found = self._run(structures, relax_batch, (settings,), settings.batch_size, workers, progress)
        for structure, result in zip(structures, found, strict=True):
            if isinstance(result, Failure):
                results.append(result)
                continue
            results.append(
                Relaxation(
                    structure=structure_with_geometry(structure, result.positions, result.cell),
                    prediction=result.prediction,
                    steps=result.steps,
                    path=[structure_with_geometry(structure, positions, cell) for positions, cell in result.path],
                )
            )
        return results

    def _run(
        self,
        structures: Sequence[Structure],
        function: Any,
        arguments: tuple[Any, ...],
        batch_size: int,
        workers: int,
        progress: Progress | None,
    ) -> list[Any]:
        """Apply a batch function to the structures that the network can take and put all results in their places."""
        from coevo.models.chgnet.pool import run_batches
        from coevo.models.relaxing.crystal import Crystal, crystal_from_structure

        results: list[Any] = [crystal_from_structure(structure) for structure in structures]
        # Batches are consecutive structures of the whole list, so that neither workers nor failures elsewhere change them.
        chunks = [range(start, min(start + batch_size, len(results))) for start in range(0, len(results), batch_size)]
        places = [[place for place in chunk if isinstance(results[place], Crystal)] for chunk in chunks]
        rejected = sum(isinstance(result, Failure) for result in results)
        if progress is not None and rejected:
            progress(rejected)
        places = [chunk for chunk in places if chunk]
        batches = [[results[place] for place in chunk] for chunk in places]
        found = run_batches(self._weights, self.predictor, function, batches, arguments, workers=workers, progress=progress)
        for chunk, batch in zip(places, found, strict=True):
            for place, result in zip(chunk, batch, strict=True):
                results[place] = result
        return results

    def fit(
        self,
        training: Sequence[TrainingFrame],
        validation: Sequence[TrainingFrame],
        settings: FitSettings,
        seed: int,
        *,
        progress: Progress | None = None,
    ) -> tuple[ChgnetForceField, dict[str, Any]]:
        """Fine-tune; see :class:`~coevo.models.contracts.ForceField` and :mod:`coevo.models.chgnet.training`."""
        from coevo.models.chgnet.training import fine_tune

        weights, report = fine_tune(self._weights, training, validation, settings, seed, device=self._device, progress=progress)
        return ChgnetForceField(weights, self._device), report

    def calculator(self) -> Calculator:
        """An ASE calculator of this model: energy (eV), forces (eV/Å), stress (eV/Å³, Voigt)."""
        from coevo.models.chgnet.calculator import ChgnetCalculator

        return ChgnetCalculator(self)


def _checked_device(device: str) -> str:
    if device == "cpu":
        return device
    import torch

    if device.partition(":")[0] != "cuda":
        raise ConfigError(f"device {device!r} is not supported; allowed: cpu, cuda, cuda:N")
    if not torch.cuda.is_available():
        raise ConfigError(f"device {device!r} was asked for, but torch sees no GPU here; use cpu")
    return device
