"""Force fields in an environment of their own: coevo optimises and judges, a worker of the family says what a batch has."""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import tempfile
from dataclasses import asdict
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from coevo.errors import CheckpointError, ConfigError, ModelError, StorageError
from coevo.families import descriptor_of
from coevo.families.weights_files import OWN_FILE, weights_file
from coevo.models.external.archive import files_below, pack, unpack
from coevo.models.external.checkouts import variables_of, verified_checkouts
from coevo.models.external.environment import environment_of
from coevo.models.external.exchange import run_task, scratch_directory
from coevo.models.external.fitting import (
    checked_epochs,
    judged,
    reactions_of,
    usable_frames,
    usable_structures,
    write_frames,
    write_watched,
)
from coevo.models.external.logs import LogFolder, hand_over
from coevo.models.external.model_files import MODEL_LIMIT, ModelFiles, kept_files, mapping_in, move_model
from coevo.models.external.own_files import elements_of, model_of_file
from coevo.models.external.predictor import RemotePredictor, predictor_of
from coevo.models.external.worker import WorkerModel
from coevo.models.external.workers import shut_down_model_workers
from coevo.models.relaxing.force_field import BatchForceField
from coevo.models.relaxing.predictor import Recipe

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from typing import Self

    from coevo.families import ExternalFamily
    from coevo.models.contracts import FitSettings, Progress, TrainingFrame
    from coevo.models.early_stopping import HullWatch

KEPT = ("weights", "energy_scale", "functional", "sha256", "elements", "head")
"""What the document of a fit says as its parent's did."""


class ExternalForceField(BatchForceField):
    """A force field whose predictions and fits are its family's, in the family's environment; immutable.

    A family is a subclass that says ``family``, ``external`` and ``atomic_numbers``, with a descriptor
    (:class:`coevo.families.Family`) that names its weights, and a runner that serves (``runners/coevo_worker.py``) and does
    the tasks ``check`` and, if it can, ``fit``. A checkpoint names published weights, or holds the files that a fit wrote, or
    those that the runner wrote of a model file of the user's own (task ``read``, of a family with ``own_files``).

    Parameters
    ----------
    model : ModelFiles or None
        None where the document says it all.
    document : mapping
        JSON: ``weights`` (those that it began with), ``energy_scale``, ``functional``; after a fit also ``versions`` of the
        family's packages, ``parent`` (digest) and ``training`` (sha256 of the frames). Of a user's own file ``weights`` is
        ``file``, with the file's ``sha256``, the ``elements`` that the model knows and, if it was named, the ``head``.
    device : str
        ``cpu``, ``cuda`` or ``cuda:N``.

    Attributes
    ----------
    trusted : bool
        Whether the model was made here or is trusted by its sha256; the runner is told.
    """

    family: ClassVar[str]
    format: ClassVar[str] = "model-tar-1"
    external: ClassVar[ExternalFamily]
    atomic_numbers: ClassVar[Collection[int]]

    def __init__(self, model: ModelFiles | None, document: Mapping[str, Any], device: str = "cpu") -> None:
        devices = descriptor_of(self.family, "force_field").devices
        if device.partition(":")[0] not in devices:
            raise ConfigError(f"device {device!r} is not supported by {self.family}; allowed: {', '.join(devices)}")
        self._model = model
        self.document = dict(document)
        elements = elements_of(self.document)
        if elements is not None:  # fewer than the family knows
            self.atomic_numbers = elements  # type: ignore[misc]
        self.device = device
        self.trusted = True

    @classmethod
    def published(cls, weights: str | None = None, device: str = "cpu") -> Self:
        """The force field with weights by name, which its runner finds; the family's default if none is given.

        A file of the user's own is ``SCALE:PATH`` (:mod:`coevo.families.weights_files`), where the family reads one. It is read
        here and now, by the family's runner, as a thing that the user trusts.

        Raises
        ------
        ConfigError
            If there are no weights of this name, or no such file.
        ModelError
            If the runner cannot read the file.
        """
        descriptor = descriptor_of(cls.family, "force_field")
        name = weights or descriptor.default_weights
        told, file = descriptor.weights_named(name), weights_file(name)
        if told is None:
            raise ConfigError(f"{cls.family} has no weights {name!r}; allowed: {descriptor.weights_allowed()}")
        scale = {"energy_scale": told.energy_scale, "functional": told.functional}
        if file is None:
            return cls(None, {"weights": name, **scale}, device)
        model, document = model_of_file(cls.external, file, scale)
        return cls(model, document, device)

    @classmethod
    def load(cls, path: Path, device: str = "cpu", *, trusted: bool = False) -> Self:
        """Read a checkpoint: its files are checked against its manifest and copied, and looked into by the runner only.

        Raises
        ------
        CheckpointError
            If the file is missing, cut short, damaged, of another family, or begins with weights that are not known here.
        """
        model = ModelFiles()
        manifest = unpack(path, model.path, cls.family)
        document, descriptor = manifest.document, descriptor_of(cls.family, "force_field")
        name = document.get("weights")
        known = descriptor.own_files.get(str(document.get("energy_scale"))) if name == OWN_FILE else None
        told = known or (descriptor.weights.get(name) if isinstance(name, str) else None)
        if told is None:
            raise CheckpointError(f"{path}: {cls.family} has no weights {str(name)[:80]!r} here; install the version that has")
        if (document.get("energy_scale"), document.get("functional")) != (told.energy_scale, told.functional):
            raise CheckpointError(
                f"{path}: it says scale {str(document.get('energy_scale'))[:40]!r}, and those of {name} are {told.energy_scale!r}"
            )
        if name == OWN_FILE and not (manifest.files and elements_of(document)):
            raise CheckpointError(f"{path}: it holds no model with a list of elements, as one that was read from a file does")
        found = cls(model if manifest.files else None, document, device)
        found.trusted = trusted
        return found

    def save(self, path: Path) -> None:
        """Write the checkpoint: a tar of the model's files with their hashes, the same bytes for the same files.

        Raises
        ------
        StorageError
            If the file cannot be written.
        """
        files = files_below(self._model.path, MODEL_LIMIT) if self._model is not None else {}
        try:
            pack(path, self.family, self.document, files)
        except OSError as err:
            raise StorageError(f"checkpoint {path} cannot be written: {err.strerror or err}") from err

    @property
    def energy_scale(self) -> str:
        """Scale of the energies: that of the weights which the model began with."""
        return str(self.document["energy_scale"])

    @property
    def functional(self) -> str:
        """Functional that those weights were trained on."""
        return str(self.document["functional"])

    @cached_property
    def digest(self) -> str:
        """sha256 of the checkpoint's bytes, hexadecimal."""
        with tempfile.TemporaryDirectory(prefix="coevo-") as directory:
            path = Path(directory) / "checkpoint"
            self.save(path)
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()

    @cached_property
    def predictor(self) -> RemotePredictor:
        """The worker of this process, which is started when something is asked of it."""
        return RemotePredictor(self._worker_model())

    def recipe(self) -> Recipe:
        """How a worker process of coevo makes the same predictor, with a worker of its own."""
        return Recipe(f"{self.family} {self.digest} {self.device}", predictor_of, (self._worker_model(),))

    def _worker_model(self) -> WorkerModel:
        environment, checkouts = environment_of(self.external), verified_checkouts(self.external)
        return WorkerModel(
            family=self.external,
            environment=environment,
            variables=variables_of(environment, checkouts),
            digest=self.digest,
            files=None if self._model is None else kept_files(self.digest, self._model),
            document=self.document,
            device=self.device,
            trusted=self.trusted,
            sources=self._sources(),
            place=str(_log_folder(self.family).path),
            checkouts={checkout.name: str(checkout.path) for checkout in checkouts},
        )

    def _sources(self) -> tuple[str, ...]:
        return descriptor_of(self.family, "force_field").loader.sources

    def _run(self, *args: Any, **kwargs: Any) -> list[Any]:
        """As for all families; what the workers wrote goes with the job."""
        try:
            return super()._run(*args, **kwargs)
        finally:
            hand_over(f"{self.family}-worker", _log_folder(self.family).new_text())

    def fit(
        self,
        training: Sequence[TrainingFrame],
        validation: Sequence[TrainingFrame],
        settings: FitSettings,
        seed: int,
        *,
        progress: Progress | None = None,
        watch: HullWatch | None = None,
    ) -> tuple[Self, dict[str, Any]]:
        """Fine-tune in the family's environment; see :class:`~coevo.models.contracts.ForceField`.

        The family trains and says which epoch was best; whether that is better than this model is measured here, by a worker on
        the same validation frames (:func:`coevo.models.external.fitting.judged`). If it is not, this model comes back.

        Raises
        ------
        ModelError
            If no frame of either kind is usable, a label is not finite, or the run fails.
        ConfigError
            If the family has no environment here, or is to watch a hull and cannot.
        """
        if watch is not None and not descriptor_of(self.family, "force_field").can("watch"):
            raise ConfigError(f"the force field {self.family} cannot watch a hull while it is fitted (training.watch_hull)")
        cutoff = self.predictor.cutoff
        limits: dict[str, Any] = {"known": self.atomic_numbers, "family": self.family, "cutoff": cutoff}
        used = usable_frames(training, "training", **limits)
        held_out = usable_frames(validation, "validation", **limits)
        watched = None if watch is None else watch.among(usable_structures(watch.structures, **limits))
        structures = [frame.structure for frame in held_out]
        loss_before, before = judged(self.evaluate(structures), held_out, settings)
        fitted, epochs, best = self._fitted(used, held_out, settings, seed, progress, watched)
        loss_after, after = judged(fitted.evaluate(structures), held_out, settings)
        kept = best > 0 and loss_after < loss_before
        if not kept:
            fitted, best, loss_after, after = type(self)(self._model, self.document, self.device), 0, loss_before, before
            fitted.trusted = self.trusted
        unusable = len(training) - len(used) + len(validation) - len(held_out)
        return fitted, {
            "frames": {"training": len(used), "validation": len(held_out), "unusable": unusable},
            "epochs": epochs,
            "best_epoch": best,
            "validation_before": before,
            "validation_after": after,
            "loss_before": loss_before,
            "loss_after": loss_after,
            "versions": fitted.document.get("versions", {}),
            **({"watched": len(watched.energies)} if watched is not None else {}),
        }

    def _fitted(
        self,
        training: Sequence[TrainingFrame],
        validation: Sequence[TrainingFrame],
        settings: FitSettings,
        seed: int,
        progress: Progress | None,
        watched: HullWatch | None,
    ) -> tuple[Self, list[dict[str, float]], int]:
        """The model of the family's best epoch, the account of its epochs, and the number of the best."""
        digest = ""

        def prepare(directory: Path) -> None:
            nonlocal digest
            if self._model is not None:
                shutil.copytree(self._model.path, directory / "model")
            write_frames(directory / "training.jsonl", training)
            write_frames(directory / "validation.jsonl", validation)
            digest = hashlib.sha256((directory / "training.jsonl").read_bytes()).hexdigest()
            if watched is not None:
                write_watched(directory / "watched.jsonl", watched)

        request = {
            "seed": seed,
            "settings": asdict(settings),
            "model": None if self._model is None else "input/model",
            "document": self.document,
            "training": "input/training.jsonl",
            "validation": "input/validation.jsonl",
            "trusted": self.trusted,
            "sources": list(self._sources()),
            **({"watched": "input/watched.jsonl", **reactions_of(watched)} if watched is not None else {}),
        }
        model = ModelFiles()
        with run_task(self.external, "fit", request, prepare=prepare, progress=progress) as run:
            move_model(run, model.path)
            told, report = mapping_in(run, "document"), mapping_in(run, "report")
        epochs, best = checked_epochs(report.get("epochs")), report.get("best_epoch")
        if type(best) is not int or not 0 <= best < len(epochs):
            raise ModelError(f"the runner's report says best_epoch {str(best)[:40]}, allowed: 0 to {len(epochs) - 1}")
        own = {name: self.document[name] for name in KEPT if name in self.document}
        document = {**told, **own, "parent": self.digest, "training": digest}
        return type(self)(model, document, self.device), epochs, best


@cache
def _log_folder_of(process: int, family: str) -> LogFolder:
    path = Path(tempfile.mkdtemp(prefix=f"coevo-{family}-workers-", dir=scratch_directory()))
    atexit.register(_remove, process, path)
    return LogFolder(path)


def _log_folder(family: str) -> LogFolder:
    """Where the workers of a family that this process starts, or has its worker processes start, write their logs."""
    return _log_folder_of(os.getpid(), family)


def _remove(process: int, path: Path) -> None:
    if os.getpid() == process:
        shut_down_model_workers()
        shutil.rmtree(path, ignore_errors=True)
