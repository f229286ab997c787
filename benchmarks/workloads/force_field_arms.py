"""Force fields as the benchmarks ask them: through coevo, and by a peer process in the family's own interpreter."""

from __future__ import annotations

import atexit
import importlib.metadata
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pymatgen.core import Structure

    from coevo.models.external.worker import WorkerModel
    from coevo.models.relaxing.crystal import Crystal
    from coevo.models.relaxing.force_field import BatchForceField
    from coevo.models.relaxing.predictor import Predictor

HERE = Path(__file__).parent
CALCULATORS: dict[str, tuple[str, dict[str, Any]]] = {
    "chgnet": ("chgnet.model.dynamics:CHGNetCalculator", {"use_device": "cpu"}),
    "dpa3": ("deepmd.calculator:DP", {}),
    "mace": ("mace.calculators:MACECalculator", {}),
    "sevennet": ("sevenn.calculator:SevenNetCalculator", {}),
}
"""ASE calculators of families, in their own environments, and their arguments; the peer adds the weights."""


class MissingFamilyError(Exception):
    """A family that cannot be measured here; the message says why."""


@dataclass
class Subject:
    """One force field that is measured.

    Attributes
    ----------
    label : str
        As in tables: family and weights.
    family : str
    device : str
    force_field : BatchForceField
        Through a worker.
    in_process : BatchForceField or None
        The same in coevo's own process, of families that run there.
    model : WorkerModel
    calculator : tuple of str and dict, or None
        ``module:callable`` in the family's environment and its arguments; None: not known.
    """

    label: str
    family: str
    device: str
    force_field: BatchForceField
    in_process: BatchForceField | None
    model: WorkerModel
    calculator: tuple[str, dict[str, Any]] | None


def subject_of(spec: str, calculators: dict[str, tuple[str, dict[str, Any]]], device: str = "cpu") -> Subject:
    """The force field of ``FAMILY``, ``FAMILY:WEIGHTS`` (``FAMILY:SCALE:PATH``) or ``FAMILY=CHECKPOINT``.

    Raises
    ------
    MissingFamilyError
        If it is not known, or has no environment here.
    """
    from coevo.errors import CoevoError

    name, _, checkpoint = spec.partition("=")
    family, _, weights = name.partition(":")
    try:
        return _subject(family, weights, Path(checkpoint) if checkpoint else None, calculators.get(family), device)
    except CoevoError as err:
        raise MissingFamilyError(f"{spec}: {err}") from None


def _subject(
    family: str, weights: str, checkpoint: Path | None, calculator: tuple[str, dict[str, Any]] | None, device: str
) -> Subject:
    from coevo.families import descriptor_of
    from coevo.families.weights_files import weights_file
    from coevo.models.registry import force_field_from

    descriptor = descriptor_of(family, "force_field")
    known = calculator or CALCULATORS.get(family)
    own = weights_file(weights)
    file = checkpoint or (Path(own.path) if own else None)
    label = f"{descriptor.title} {file.name if file else weights or descriptor.default_weights}"
    if family == "chgnet":
        if checkpoint is not None:
            raise MissingFamilyError("chgnet: only published weights can be measured, chgnet:WEIGHTS")
        name = weights or descriptor.default_weights
        alone: Any = force_field_from("chgnet", name, device=device)
        served, model = _chgnet_in_worker(name, device)
        return Subject(label, family, device, served, alone, model, (known[0], {"use_device": device}) if known else None)
    force_field: Any = force_field_from(family, weights or None, checkpoint, device, trusted=True)
    if descriptor.environment is None:
        raise MissingFamilyError(f"{family}: it has no environment of its own, and so no worker")
    return Subject(label, family, device, force_field, None, force_field.predictor.model, known)


def _chgnet_in_worker(weights: str, device: str) -> tuple[BatchForceField, WorkerModel]:
    """CHGNet, whose predictions come from a worker that coevo's own interpreter runs."""
    from coevo.configs.model_environments import ModelEnvironment
    from coevo.families import ExternalFamily
    from coevo.models.chgnet.force_field import ChgnetForceField
    from coevo.models.external.environment import Environment
    from coevo.models.external.predictor import RemotePredictor, predictor_of
    from coevo.models.external.worker import WorkerModel
    from coevo.models.relaxing.predictor import Recipe

    environment = Environment("chgnet", "own", (sys.executable,), ModelEnvironment(), device)
    place = tempfile.mkdtemp(prefix="coevo-chgnet-workers-")
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    model = WorkerModel(
        family=ExternalFamily("chgnet", HERE / "chgnet_runner.py", Path("none")),
        environment=environment,
        variables=environment.variables(),
        digest=f"chgnet {weights}",
        files=None,
        document={"weights": weights, "energy_scale": ChgnetForceField.published(weights, device).energy_scale},
        device=device,
        trusted=True,
        sources=(),
        place=place,
    )

    class Served(ChgnetForceField):
        """CHGNet with the worker's predictor in place of its own."""

        @cached_property
        def predictor(self) -> Any:
            return RemotePredictor(model)

        def recipe(self) -> Recipe:
            return Recipe(f"served {weights} {device}", predictor_of, (model,))

    return Served.published(weights, device), model


class Peer:
    """A process in the family's environment that does without coevo; see ``force_field_peer.py``."""

    def __init__(self, subject: Subject) -> None:
        from coevo.models.external.families import PROTOCOL_FILE, WORKER_FILE

        model = subject.model
        self._directory = Path(tempfile.mkdtemp(prefix="coevo-peer-"))
        atexit.register(shutil.rmtree, self._directory, ignore_errors=True)
        script = HERE / "force_field_peer.py"
        for source in (PROTOCOL_FILE, WORKER_FILE, model.family.runner, *model.family.companions, script):
            shutil.copyfile(source, self._directory / source.name)
        if model.files is not None:
            shutil.copytree(model.files, self._directory / "input" / "model")
        name, arguments = subject.calculator or ("", {})
        request = {**model.request(), "calculator": name, "calculator_arguments": arguments}
        (self._directory / "request.json").write_text(json.dumps(request))
        self._log = (self._directory / "log").open("w+")
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        self._process = subprocess.Popen(
            model.environment.command(script.name, model.family.runner.name),
            cwd=self._directory,
            env={**model.variables, **threads},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )

    def ask(self, task: str, **arguments: Any) -> dict[str, Any]:
        """Do a task; the answer has ``cpu_seconds`` and ``wall_seconds``.

        Raises
        ------
        MissingFamilyError
            If it fails.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"task": task, **arguments}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self._log.seek(0)
            raise MissingFamilyError(f"the peer ended:\n{self._log.read()[-2000:]}")
        answer: dict[str, Any] = json.loads(line)
        if not answer.pop("ok"):
            raise MissingFamilyError(f"{task}: {answer['message']}")
        return answer

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()
        self._log.close()
        shutil.rmtree(self._directory, ignore_errors=True)


@dataclass
class Clock:
    """CPU seconds of this process with its finished children, and of a worker, since :meth:`start`.

    ``/proc/PID/stat`` counts in hundredths of a second; the CPU clock of the process itself, which any process may read on
    Linux, counts in nanoseconds.
    """

    model: WorkerModel
    _began: tuple[float, float] = field(default=(0.0, 0.0), init=False)

    def _now(self) -> tuple[float, float]:
        from coevo.models.external.workers import worker_for

        finished = resource.getrusage(resource.RUSAGE_CHILDREN)
        return time.process_time() + finished.ru_utime + finished.ru_stime, process_seconds(worker_for(self.model).pid)

    def start(self) -> None:
        """Begin; the worker is started if there is none."""
        self._began = self._now()

    def stop(self) -> tuple[float, float]:
        """Seconds of this process and of the worker."""
        now = self._now()
        return now[0] - self._began[0], now[1] - self._began[1]


def process_seconds(pid: int) -> float:
    """CPU seconds of a living process with all its threads: its CPU clock (clock_getcpuclockid(3))."""
    return time.clock_gettime((~pid << 3) | 2)


def crystals_of(structures: Sequence[Structure]) -> list[Crystal]:
    """Arrays of structures; those of the benchmarks can all be taken."""
    from coevo.models.contracts import Failure
    from coevo.models.relaxing.crystal import crystal_from_structure

    found = [crystal_from_structure(one, range(1, 119), "any family") for one in structures]
    return [one for one in found if not isinstance(one, Failure)]


def plain(crystals: Sequence[Crystal]) -> list[dict[str, Any]]:
    """Crystals as JSON, for a peer."""
    return [{"numbers": one.numbers.tolist(), "positions": one.positions.tolist(), "cell": one.cell.tolist()} for one in crystals]


def arrays_of(crystals: Sequence[Crystal]) -> tuple[Any, Any, Any, Any]:
    """The arguments of a predictor: numbers, counts, positions, cells."""
    return (
        np.concatenate([one.numbers for one in crystals]),
        np.array([len(one) for one in crystals], dtype=np.int64),
        np.concatenate([one.positions for one in crystals]),
        np.stack([one.cell for one in crystals]),
    )


def predict_all(predictor: Predictor, crystals: Sequence[Crystal], batch: int) -> list[float]:
    """Energies of all crystals, eV per cell, asked in batches."""
    energies: list[float] = []
    for start in range(0, len(crystals), batch):
        energies += predictor.predict(*arrays_of(crystals[start : start + batch])).energies.tolist()
    return energies


def versions_of(*names: str) -> dict[str, str]:
    """Versions of distributions; ``not installed`` for those that only lie on the path."""
    found = {}
    for name in names:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
