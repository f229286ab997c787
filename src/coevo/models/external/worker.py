"""One process of a family that stays: started in the family's environment with one model, asked batch after batch."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import threading
import weakref
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.errors import ModelError
from coevo.models.external.exchange import last_lines
from coevo.models.external.families import PROTOCOL_FILE, WORKER_FILE
from coevo.models.external.frames import FrameError, NoAnswerError, Pipes, encoded, finite_number
from coevo.models.external.process import BoundedLog, end_group

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coevo.families import ExternalFamily
    from coevo.models.contracts import FloatArray
    from coevo.models.external.environment import Environment

PROTOCOL = 1
"""Version of the protocol; ``runners/coevo_worker.py`` has the same."""

START_PATIENCE = 1800.0
"""Seconds that a worker may take to start, at least: it imports a gigabyte, perhaps from a file system that many read."""

_EXIT = 20.0
"""Seconds after the end of what it says in which a process that ends has an exit code, however busy the machine is."""

_LARGEST_ATOMIC_NUMBER = 118
_TEXT = 300
"""Characters of a text of a worker in a message."""


class WorkerGoneError(Exception):
    """The process ended, was ended, or said something that is no answer; another one can be started.

    ``story`` has the last lines of its log.
    """

    def __init__(self, message: str, story: str):
        super().__init__(message)
        self.story = story


class NotAskedError(Exception):
    """The process had been ended here before it was asked, or is another process's: another one is to be asked the same."""


class RefusedBatchError(Exception):
    """The process said why it has no answer to this batch, and goes on: ``out_of_memory`` or ``error``."""

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class WorkerModel:
    """What a worker serves and where; plain data, which worker processes of coevo are sent, whose own variables may be older.

    Attributes
    ----------
    family : ExternalFamily
    environment : Environment
    variables : dict
        All variables of the worker.
    digest : str
        sha256 of the checkpoint.
    files : str or None
        Directory with the model's files; None where the document says it all.
    document : dict
        Of the checkpoint.
    device : str
        ``cpu``, ``cuda`` or ``cuda:N``.
    trusted : bool
        Whether the runner may read the files in a way that can run code.
    sources : tuple of str
        Places whose published weights may be fetched.
    place : str
        Directory for logs, which whoever runs the job reads, and for what workers have of their own. It goes with the process
        that made it, and with it what worker processes of coevo leave there, which end without ceremony.
    checkouts : dict
        Name to path of the checkouts that the family runs from, verified when this was made.
    """

    family: ExternalFamily
    environment: Environment
    variables: dict[str, str]
    digest: str
    files: str | None
    document: dict[str, Any]
    device: str
    trusted: bool
    sources: tuple[str, ...]
    place: str
    checkouts: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str, str]:
        """One worker per key is kept in a process."""
        return self.family.name, self.digest, self.device

    def request(self) -> dict[str, Any]:
        """What ``request.json`` says."""
        told = {"checkouts": self.checkouts} if self.checkouts else {}
        return {
            **told,
            "protocol": PROTOCOL,
            "family": self.family.name,
            "task": "serve",
            "model": "input/model" if self.files is not None else None,
            "document": self.document,
            "device": self.device,
            "trusted": self.trusted,
            "sources": list(self.sources),
        }


@dataclass(frozen=True)
class Greeting:
    """What a worker says of its model when it is ready.

    Attributes
    ----------
    elements : frozenset of int
        Atomic numbers.
    cutoff : float
        Å.
    energy_scale : str
    versions : dict
        Package to version.
    device : str
    element_energies : dict
        Atomic number to eV, where the family knows energies of the elements.
    """

    elements: frozenset[int]
    cutoff: float
    energy_scale: str
    versions: dict[str, str]
    device: str
    element_energies: dict[int, float] = field(default_factory=dict)


class Worker:
    """A process that answers; started by the constructor, which waits for its greeting.

    Parameters
    ----------
    model : WorkerModel

    Attributes
    ----------
    greeting : Greeting
    pid : int

    Raises
    ------
    ModelError
        If the process cannot be started, or says that it cannot serve this model; the message has the last lines of its log.
    """

    def __init__(self, model: WorkerModel):
        self.model = model
        self._lock = threading.RLock()
        self._calls = 0
        self._owner = os.getpid()
        environment = model.environment
        self.patience = float(environment.described.patience)
        self._directory = _furnished(model)
        self._log_path = _new_log(model)
        command = environment.command(model.family.runner.name, "serve")
        try:
            self._process = subprocess.Popen(
                command,
                cwd=self._directory,
                env={**model.variables, **_one_thread(model.device)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                start_new_session=True,
            )
        except OSError as err:
            shutil.rmtree(self._directory, ignore_errors=True)
            raise ModelError(
                f"{command[0]} cannot be started: {err.strerror}; `coevo env list` says what is configured"
            ) from None
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self.pid = process.pid
        self._log = BoundedLog(process.stderr, self._log_path, environment.secrets(model.variables))
        self._pipes = Pipes(process.stdout.fileno(), process.stdin.fileno())
        self._end = weakref.finalize(self, _end, self._owner, process, self._log, self._directory)
        try:
            self.greeting = self._greeted()
        except FrameError as err:
            raise ModelError(f"{model.family.name}: its worker did not start: {self._ended(err)}{self._story()}") from None
        except ModelError:
            self.close()
            raise

    def predict(
        self, numbers: NDArray[np.int64], counts: NDArray[np.int64], positions: FloatArray, cells: FloatArray
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Energies (n,; eV per cell), forces (N, 3; eV/Å) and stresses (n, 3, 3; eV/Å³, ASE sign) of a batch.

        Raises
        ------
        NotAskedError
            If the process was ended by :meth:`close`.
        WorkerGoneError
            If there is no answer; the process is ended.
        RefusedBatchError
            If the process says why it has none.
        """
        n, atoms = len(counts), len(numbers)
        question = {
            "numbers": np.asarray(numbers, "<i8"),
            "counts": np.asarray(counts, "<i8"),
            "positions": np.asarray(positions, "<f8"),
            "cells": np.asarray(cells, "<f8"),
        }
        with self._lock:
            if self._owner != os.getpid() or not self._end.alive:  # its descriptors may be those of other files by now
                raise NotAskedError
            self._calls += 1
            try:
                self._pipes.send(encoded({"call": self._calls}, question), self.patience)
                shapes = {"energies": (n,), "forces": (atoms, 3), "stresses": (n, 3, 3)}
                head, found = self._pipes.receive(shapes, self.patience)
                if head.get("call") != self._calls:
                    raise FrameError(f"it answered question {str(head.get('call'))[:40]} and not {self._calls}")
            except FrameError as err:
                how = self._ended(err)
                self._tell_log(f"the worker is gone while it had {n} structures: {how}")
                raise WorkerGoneError(how, self._story()) from None
            if head.get("ok") is not True:
                reason, message = str(head.get("reason")), _text(head.get("message"))
                reason = "out_of_memory" if reason == "out_of_memory" else "error"
                self._tell_log(f"{reason} with {n} structures, {atoms} atoms: {message}")
                raise RefusedBatchError(reason, message)
        return found["energies"], found["forces"], found["stresses"]

    @property
    def alive(self) -> bool:
        """Whether the process is of this one and runs."""
        return self._owner == os.getpid() and self._end.alive and self._process.poll() is None

    def close(self) -> None:
        """End the process and what belongs to it."""
        with self._lock:
            self._end()

    def _tell_log(self, text: str) -> None:
        """Add a line of coevo's own to the log."""
        self._log.add(f"coevo: {text}\n")

    def _greeted(self) -> Greeting:
        head, _ = self._pipes.receive({}, max(self.patience, START_PATIENCE))
        if head.get("ok") is not True:
            raise ModelError(
                f"{self.model.family.name}: its worker cannot serve this model: {_text(head.get('message'))}{self._story()}"
            )
        for key, expected in (("protocol", PROTOCOL), ("family", self.model.family.name)):
            if head.get(key) != expected or type(head.get(key)) is not type(expected):
                raise FrameError(f"its greeting says {key} {str(head.get(key))[:80]!r}, allowed: {expected!r}")
        greeting, scale = _read_greeting(head), str(self.model.document.get("energy_scale"))
        if greeting.energy_scale != scale:
            raise ModelError(
                f"{self.model.family.name}: its worker serves energies of scale {greeting.energy_scale!r}, and the checkpoint "
                f"says {scale!r}: its runner and its descriptor are not of one version{self._story()}"
            )
        return greeting

    def _ended(self, err: FrameError) -> str:
        """End the process; say in words how it went."""
        if err.ended:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=_EXIT)
        code = self._process.poll()
        self.close()
        if isinstance(err, NoAnswerError):
            return f"no answer in the time that it was given (patience: {self.patience:g} s), so it was ended"
        if code is None:
            return f"{err}, so it was ended"
        return f"{err} (signal {-code})" if code < 0 else f"{err} (exit code {code})"

    def _story(self) -> str:
        self.close()
        lines = last_lines(self._log_path)
        return "".join(["\nthe last lines of its log:", *(f"\n  {line}" for line in lines)]) if lines else ""


def _furnished(model: WorkerModel) -> Path:
    """The directory of a worker: its scripts, its request, and a copy of the model, so that it cannot change ours."""
    directory = Path(tempfile.mkdtemp(prefix=f"coevo-{model.family.name}-worker-", dir=model.place))
    for script in (PROTOCOL_FILE, WORKER_FILE, model.family.runner, *model.family.companions):
        shutil.copyfile(script, directory / script.name)
    (directory / "input").mkdir()
    if model.files is not None:
        shutil.copytree(model.files, directory / "input" / "model")
    text = json.dumps(model.request(), allow_nan=False, sort_keys=True)
    (directory / "request.json").write_text(text, encoding="utf-8")
    return directory


def _new_log(model: WorkerModel) -> Path:
    descriptor, name = tempfile.mkstemp(prefix=f"{model.family.name}-{os.getpid()}-", suffix=".log", dir=model.place)
    os.close(descriptor)
    return Path(name)


def _one_thread(device: str) -> dict[str, str]:
    """A sum that is split over threads depends in its last digits on how it was split; processes are what uses the cores."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    hidden = {"CUDA_VISIBLE_DEVICES": ""} if device == "cpu" else {}
    return dict.fromkeys(names, "1") | hidden


def _end(owner: int, process: subprocess.Popen[bytes], log: BoundedLog, directory: Path) -> None:
    # A child made by fork has the same objects, and must not end what its parent uses.
    if os.getpid() != owner:
        return
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()
    end_group(process)
    log.finish()
    shutil.rmtree(directory, ignore_errors=True)


def _read_greeting(head: dict[str, Any]) -> Greeting:
    elements, cutoff, versions = head.get("elements"), finite_number(head.get("cutoff")), head.get("versions")
    known = range(1, _LARGEST_ATOMIC_NUMBER + 1)
    if not isinstance(elements, list) or not elements or not all(type(z) is int and z in known for z in elements):
        raise FrameError("its greeting has no list of atomic numbers called elements")
    if cutoff is None or not 0.5 <= cutoff <= 50.0:
        raise FrameError(f"its greeting says cutoff {str(head.get('cutoff'))[:40]}, allowed: 0.5 to 50 Å")
    if not isinstance(versions, dict) or not all(isinstance(v, str) for v in versions.values()):
        raise FrameError("its greeting has no versions, a mapping of packages to texts")
    given = head.get("element_energies") or {}
    energies: dict[int, float] = {}
    for name, value in given.items() if isinstance(given, dict) else ():
        energy = finite_number(value)
        if not name.isdecimal() or energy is None:
            raise FrameError("its greeting has element_energies that are no numbers by atomic number")
        energies[int(name)] = energy
    texts = [_text(head.get(key)) for key in ("energy_scale", "device")]
    return Greeting(frozenset(elements), cutoff, texts[0], {k: _text(v) for k, v in versions.items()}, texts[1], energies)


def _text(value: Any) -> str:
    """A text of a worker as one printable line."""
    return "".join(c if c.isprintable() else " " for c in str(value))[:_TEXT]
