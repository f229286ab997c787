"""A force field in the family's own interpreter, without a worker: the family's ASE calculator, and its runner's batches.

``python force_field_peer.py RUNNER`` runs in a directory with the runner's scripts and ``request.json``, as a worker does. Each
line of standard input is a task as JSON, each line of the answer what it gave and its CPU and wall seconds, which leave out
starting, opening the model and reading the task. It needs Python 3.8, numpy, ASE and torch, and nothing of coevo.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable


class _Served(BaseException):
    """Raised where the runner would begin to serve."""


def opened(runner: str, request: dict[str, Any]) -> tuple[dict[str, Any], Callable[..., Any]]:
    """What a family's runner gives to ``coevo_worker.serve``, opened in this process: what it says, and how it predicts."""
    import coevo_worker

    found: list[Any] = []

    def serve(_family: str, open_model: Any) -> None:
        found.append(open_model)
        raise _Served

    coevo_worker.SERVING, coevo_worker.serve = True, serve
    with suppress(_Served):
        import_module(Path(runner).stem)
    return found[0](request)


def calculator_of(request: dict[str, Any]) -> Any:
    """The family's own ASE calculator: ``module:name`` and its arguments; what those of coevo's families need is known."""
    module, _, name = request["calculator"].partition(":")
    known = {"sevennet": _for_sevennet, "mace": _for_mace, "dpa3": _for_dpa3}.get(request["family"])
    arguments = {**(known(request) if known else {}), **request["calculator_arguments"]}
    return getattr(import_module(module), name)(**arguments)


def _for_sevennet(request: dict[str, Any]) -> dict[str, Any]:
    from sevennet_model import CHECKPOINT, PUBLISHED

    published, modality, _scale = PUBLISHED[request["document"]["weights"]]
    model = published if request["model"] is None else str(Path(request["model"]) / CHECKPOINT)
    return {"model": model, "modal": modality, "device": request["device"]}


def _for_mace(request: dict[str, Any]) -> dict[str, Any]:
    import torch
    from mace_model import heads_of, open_model

    model = open_model(request, torch.device(request["device"]))
    return {"models": model.network, "head": heads_of(model.network)[model.head], "device": request["device"]}


def _for_dpa3(request: dict[str, Any]) -> dict[str, Any]:
    from dpa3_environment import import_deepmd, prepare

    prepare()
    import_deepmd()
    from dpa3_model import CHECKPOINT, PUBLISHED, published_file

    if request["model"] is not None:
        return {"model": str(Path(request["model"]) / CHECKPOINT)}
    published, branches, _scale = PUBLISHED[request["document"]["weights"]]
    return {"model": str(published_file(published)), "head": branches[0]}


def synchronise() -> None:
    """Wait for the GPU, if there is one in use."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()


class Stopwatch:
    """CPU seconds of this process and wall seconds, of the blocks that it is entered for."""

    def __init__(self) -> None:
        self.cpu = self.wall = 0.0

    def __enter__(self) -> Stopwatch:  # noqa: PYI034 - Self is of Python 3.11
        synchronise()
        self._cpu, self._wall = time.process_time(), time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        synchronise()
        self.cpu += time.process_time() - self._cpu
        self.wall += time.perf_counter() - self._wall


class Peer:
    """The model, opened when it is first needed."""

    def __init__(self, runner: str, request: dict[str, Any]) -> None:
        self.runner, self.request = runner, request
        self._calculator: Any = None
        self._predict: Any = None

    def atoms(self, crystal: dict[str, Any]) -> Any:
        """ASE's object of a crystal, with the calculator."""
        from ase import Atoms

        if self._calculator is None:
            self._calculator = calculator_of(self.request)
        return Atoms(
            crystal["numbers"], positions=crystal["positions"], cell=crystal["cell"], pbc=True, calculator=self._calculator
        )

    def single_points(self, crystals: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
        """Energy, forces and stress of one crystal after the other, by ASE's calculator, until the seconds are used up."""
        watch, energies, forces = Stopwatch(), [], []
        for crystal in crystals:
            atoms = self.atoms(crystal)
            with watch:
                energies.append(float(atoms.get_potential_energy()))
                forces.append(atoms.get_forces().tolist())
                atoms.get_stress()
            if watch.wall > seconds:
                break
        return {"cpu_seconds": watch.cpu, "wall_seconds": watch.wall, "energies": energies, "forces": forces}

    def relaxations(self, crystals: list[dict[str, Any]], fmax: float, steps: int, seconds: float) -> dict[str, Any]:
        """ASE's FIRE with FrechetCellFilter, one crystal after the other, until the seconds are used up."""
        from ase.filters import FrechetCellFilter
        from ase.optimize import FIRE

        watch, found = Stopwatch(), []
        for crystal in crystals:
            atoms = self.atoms(crystal)
            row: dict[str, Any] = {"converged": False, "energy": None, "steps": 0}
            with watch:
                optimiser = FIRE(FrechetCellFilter(atoms), logfile=None)
                try:
                    row["converged"] = bool(optimiser.run(fmax=fmax, steps=steps))
                    row["energy"] = float(atoms.get_potential_energy()) / len(atoms)
                except Exception as err:  # noqa: BLE001 - a crystal that explodes is none that converged
                    row["error"] = repr(err)[:200]
                row["steps"] = int(optimiser.nsteps)
            row["positions"], row["cell"] = atoms.positions.tolist(), atoms.cell.array.tolist()
            found.append(row)
            if watch.wall > seconds:
                break
        return {"cpu_seconds": watch.cpu, "wall_seconds": watch.wall, "crystals": found}

    def batches(self, batches: list[list[dict[str, Any]]], seconds: float) -> dict[str, Any]:
        """The runner's own predictions of batches; where it has a graph to make first, that is timed apart."""
        if self._predict is None:
            self._predict = opened(self.runner, self.request)[1]
        parts = _Parts(self._predict)
        watch, energies = Stopwatch(), []
        _reset_peak()
        for batch in batches:
            arrays = _joined(batch)
            with watch:
                found = parts.predict(**arrays)
            energies.extend(np.asarray(found["energies"]).tolist())
            if watch.wall > seconds:
                break
        return {
            "cpu_seconds": watch.cpu,
            "wall_seconds": watch.wall,
            "energies": energies,
            "graph_seconds": parts.graphs,
            "peak_device_bytes": _peak(),
        }


class _Parts:
    """Predictions of a runner; of one whose model has a method ``graph``, with the wall seconds that graphs take."""

    def __init__(self, predict: Any) -> None:
        self.predict = predict
        self.graphs: float | None = None
        model: Any = getattr(predict, "__self__", None)
        if hasattr(model, "graph"):
            self.graphs, self._graph = 0.0, type(model).graph.__get__(model)
            model.graph = self._timed

    def _timed(self, *args: Any, **kwargs: Any) -> Any:
        begun = time.perf_counter()
        found = self._graph(*args, **kwargs)
        self.graphs = (self.graphs or 0.0) + time.perf_counter() - begun
        return found


def _joined(batch: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "numbers": np.concatenate([np.asarray(one["numbers"], np.int64) for one in batch]),
        "counts": np.array([len(one["numbers"]) for one in batch], np.int64),
        "positions": np.concatenate([np.asarray(one["positions"], float) for one in batch]),
        "cells": np.stack([np.asarray(one["cell"], float) for one in batch]),
    }


def _reset_peak() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def _peak() -> int | None:
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    return int(torch.cuda.max_memory_allocated())


def main() -> None:
    """Answer until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what packages print is no answer
    request = json.loads(Path("request.json").read_text(encoding="utf-8"))
    import torch

    torch.set_num_threads(1)
    peer = Peer(sys.argv[1], request)
    for line in sys.stdin:
        task = json.loads(line)
        try:
            answer = {"ok": True, **getattr(peer, task.pop("task"))(**task)}
        except Exception as err:  # noqa: BLE001 - the other side decides what to make of it
            answer = {"ok": False, "message": f"{type(err).__name__}: {err}"[:1000]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
