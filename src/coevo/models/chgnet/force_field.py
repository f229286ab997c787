"""CHGNet behind the force-field contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from coevo.errors import ConfigError, StorageError
from coevo.models.chgnet.architecture import ATOMIC_NUMBERS
from coevo.models.chgnet.weights import Weights, published_weights, read_weights
from coevo.models.relaxing.force_field import BatchForceField

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from coevo.models.chgnet.inference import Predictor
    from coevo.models.contracts import FitSettings, Progress, TrainingFrame
    from coevo.models.early_stopping import HullWatch
    from coevo.models.relaxing.predictor import Recipe


class ChgnetForceField(BatchForceField):
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
    atomic_numbers: ClassVar[range] = ATOMIC_NUMBERS

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

    def recipe(self) -> Recipe:
        """How a worker process makes the same predictor: from the checkpoint's bytes."""
        from coevo.models.chgnet.inference import predictor_from_bytes
        from coevo.models.relaxing.predictor import Recipe

        return Recipe(self._weights.digest, predictor_from_bytes, (self._weights.to_bytes(),))

    def fit(
        self,
        training: Sequence[TrainingFrame],
        validation: Sequence[TrainingFrame],
        settings: FitSettings,
        seed: int,
        *,
        progress: Progress | None = None,
        watch: HullWatch | None = None,
    ) -> tuple[ChgnetForceField, dict[str, Any]]:
        """Fine-tune; see :class:`~coevo.models.contracts.ForceField` and :mod:`coevo.models.chgnet.training`."""
        from coevo.models.chgnet.training import fine_tune

        weights, report = fine_tune(
            self._weights, training, validation, settings, seed, device=self._device, progress=progress, watch=watch
        )
        return ChgnetForceField(weights, self._device), report


def _checked_device(device: str) -> str:
    if device == "cpu":
        return device
    import torch

    if device.partition(":")[0] != "cuda":
        raise ConfigError(f"device {device!r} is not supported; allowed: cpu, cuda, cuda:N")
    if not torch.cuda.is_available():
        raise ConfigError(f"device {device!r} was asked for, but torch sees no GPU here; use cpu")
    return device
