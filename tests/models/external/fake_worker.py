"""The runner of a family that exists for the tests: ASE's effective medium theory behind the protocol, sound or with one fault.

The name of the weights says what it does, and a crystal with palladium is what it does it to.
"""

from __future__ import annotations

import coevo_worker

# ruff: isort: split
# ruff: noqa: E402 - ASE is imported after what stands for SciPy
import json
import os
import struct
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np


class Tree:
    """The one thing that the calculator needs of SciPy: which points are near others, of a few atoms."""

    def __init__(self, points, copy_data):
        self.points = np.array(points)

    def query_ball_point(self, centres, r):
        gaps = np.linalg.norm(centres[:, None] - self.points, axis=2)
        return [np.flatnonzero(row <= radius).tolist() for row, radius in zip(gaps, r, strict=True)]


# SciPy takes two thirds of the second in which a worker starts, and tests start a hundred
modules = {name: ModuleType(name) for name in ("scipy", "scipy.sparse", "scipy.sparse.csgraph", "scipy.spatial")}
modules["scipy"].sparse, modules["scipy.sparse"].csgraph = modules["scipy.sparse"], modules["scipy.sparse.csgraph"]
modules["scipy.spatial"].cKDTree = Tree
sys.modules.update(modules)

# ruff: isort: split
from ase import Atoms
from ase.calculators.emt import EMT
from ase.data import atomic_numbers
from coevo_runner import OUTPUT, advance, read_records, require_trust, run, versions

ELEMENTS = [atomic_numbers[symbol] for symbol in ("Al", "Cu", "Ag", "Au", "Ni", "Pd", "Pt")]
PALLADIUM = atomic_numbers["Pd"]
CUTOFF = 5.8
DELTA, GPA = 0.1, 160.21766208


def effective_medium(numbers, positions, cell):
    atoms = Atoms(numbers=numbers, positions=positions, cell=cell, pbc=True)
    atoms.calc = EMT()
    return atoms.get_potential_energy(), atoms.get_forces(), atoms.get_stress(voigt=False)


class Model:
    """``slope`` times the effective medium and a constant per element."""

    def __init__(self, slope=1.0, constants=None):
        self.slope, self.constants = slope, dict(constants or {})

    def predict(self, numbers, counts, positions, cells):
        bounds = np.cumsum(counts)[:-1]
        found = [
            effective_medium(*one) for one in zip(np.split(numbers, bounds), np.split(positions, bounds), cells, strict=True)
        ]
        shifts = [sum(self.constants.get(str(z), 0.0) for z in part) for part in np.split(numbers, bounds)]
        return {
            "energies": np.array([self.slope * energy + shift for (energy, _, _), shift in zip(found, shifts, strict=True)]),
            "forces": self.slope * np.concatenate([forces for _, forces, _ in found]),
            "stresses": self.slope * np.array([stress for _, _, stress in found]),
        }


def model_of(request):
    if request["model"] is None:
        return Model()
    stored = json.loads(Path(request["model"], "model.json").read_text())
    return Model(stored["slope"], stored["constants"])


def raw(data):
    coevo_worker._answers.write(data)


def hang():
    Path(os.environ["FAKE_MARKERS"], f"hangs-{os.getpid()}").touch()
    time.sleep(3600)


def first_time(name):
    """Whether a marker was not there: what happens once only."""
    path = Path(os.environ["FAKE_MARKERS"], name)
    try:
        path.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def kill():
    os.kill(os.getpid(), 9)


ERRORS = {
    "tight": RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"),
    "tight-host": RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory: you tried ..."),
    "raises": ArithmeticError("palladium is hard"),
}
FAULTS = {
    "crash": lambda: os._exit(3),
    "killed": kill,
    "once": lambda: kill() if first_time("once") else None,
    "memory-once": lambda: kill() if first_time("memory-once") else None,
    "hang": hang,
    "garbage": lambda: raw(b"Calculating on cpu, please wait ...\n"),
    "huge": lambda: raw(coevo_worker.MAGIC + struct.pack("<Q", 1 << 60)),
    "list": lambda: raw(coevo_worker.MAGIC + struct.pack("<Q", 2) + b"[]"),
    "nonsense": lambda: raw(coevo_worker.MAGIC + struct.pack("<Q", 3) + b"\x00\xff{"),
    "deep": lambda: raw(coevo_worker.MAGIC + struct.pack("<Q", 100_000) + b"[" * 100_000),
    "stale": lambda: coevo_worker._send({"ok": False, "call": 99, "reason": "error", "message": "late"}),
}


def truncated(answer, call):
    head = {"ok": True, "call": call, "arrays": [[k, v.dtype.str, list(v.shape)] for k, v in answer.items()]}
    text = json.dumps(head).encode()
    raw(coevo_worker.MAGIC + struct.pack("<Q", len(text)) + text + answer["energies"].tobytes())
    os._exit(0)


def open_for_worker(request):
    fault, model = request["document"]["weights"], model_of(request)
    print("a line on standard output")  # as packages do
    os.write(1, b"another one, past Python\n")
    if fault == "mute":
        os._exit(5)
    if fault == "refuses":
        raise RuntimeError("these weights are of a newer version")
    calls = [0]

    def predict(numbers, counts, positions, cells):
        calls[0] += 1
        if "FAKE_KILL" in os.environ and calls[0] > 2 and first_time(os.environ["FAKE_KILL"]):
            kill()  # a worker in the middle of its work, as a user or the kernel would
        touched = PALLADIUM in numbers
        if fault in {"memory", "memory-once"} and len(counts) > 2:
            raise MemoryError(f"{len(counts)} structures")
        if fault == "hopeless":
            os.write(2, b"no such library\n")
            os._exit(4)
        if touched and fault in ERRORS:
            raise ERRORS[fault]
        if touched and fault in FAULTS:
            FAULTS[fault]()
        found = model.predict(numbers, counts, positions, cells)
        if touched and fault == "truncated":
            truncated(found, calls[0])
        if touched and fault == "nan":
            owner = np.repeat(np.arange(len(counts)), counts)
            found["energies"][owner[numbers == PALLADIUM]] = np.nan
        if touched and fault == "shape":
            found["forces"] = found["forces"][:-1]
        return found

    about = {
        "elements": ELEMENTS if fault != "no-elements" else [0, 7],
        "cutoff": CUTOFF,
        "energy_scale": "emt" if fault != "other-scale" else "pbe",
        "element_energies": {str(z): 0.0 for z in ELEMENTS},
        "versions": versions("ase", "numpy"),
        "device": "cpu",
    }
    return about, predict


def check(request):
    return {"versions": versions("ase", "numpy"), "device": "cpu", "weights": {"sound": "everywhere"}}


def read(request):
    """A file of the user's own: JSON with ``slope``, ``constants`` and what it says of its elements."""
    told = json.loads(Path(require_trust(request), request["file"]).read_text())
    (OUTPUT / "model").mkdir()
    (OUTPUT / "model" / "model.json").write_text(json.dumps({name: told[name] for name in ("slope", "constants")}))
    return {"model": "model", "document": {"elements": told["elements"], "weights": "of the runner's"}}


def fit(request):
    """Least squares over a random half of the frames, approached by half in each epoch."""
    settings, model = request["settings"], model_of(request)
    training, validation = (read_records(request[name]) for name in ("training", "validation"))
    symbols = [str(z) for z in ELEMENTS]
    rng = np.random.default_rng(request["seed"])
    epochs, states = [{"epoch": 0, "validation_loss": loss(model, validation, settings)}], [model]
    for epoch in range(1, settings["epochs"] + 1):
        chosen = rng.permutation(len(training))[: max(len(training) // 2, 2)]
        slope, constants = solved([training[k] for k in chosen], symbols)
        worse = request["document"]["weights"] == "worsens"
        model = Model(
            model.slope + (3.0 if worse else 0.5 * (slope - model.slope)),
            {z: model.constants.get(z, 0.0) + 0.7 * (constants[z] - model.constants.get(z, 0.0)) for z in symbols},
        )
        states.append(model)
        epochs.append({"epoch": epoch, "validation_loss": loss(model, validation, settings)})
        advance(1)
        print("epoch", epoch)
    best = min(range(len(epochs)), key=lambda k: epochs[k]["validation_loss"])
    if worse:  # some families always find themselves better
        best = len(epochs) - 1
    (OUTPUT / "model").mkdir()
    stored = {"slope": states[best].slope, "constants": states[best].constants}
    (OUTPUT / "model" / "model.json").write_text(json.dumps(stored, sort_keys=True))
    report = {"epochs": epochs, "best_epoch": 99 if request["document"]["weights"] == "boasts" else best}
    return {"model": "model", "document": {"versions": versions("ase")}, "report": report}


def solved(frames, symbols):
    rows, targets = [], []
    for frame in frames:
        energy, forces, _ = effective_medium(frame["numbers"], frame["positions"], frame["cell"])
        rows.append([energy] + [frame["numbers"].count(int(z)) for z in symbols])
        targets.append(frame["energy"])
        for mine, told in zip(forces.ravel(), np.ravel(frame["forces"]), strict=True):
            rows.append([10.0 * mine] + [0.0] * len(symbols))
            targets.append(10.0 * told)
    found = np.linalg.lstsq(np.array(rows), np.array(targets), rcond=None)[0]
    return float(found[0]), dict(zip(symbols, found[1:].tolist(), strict=True))


def loss(model, frames, settings):
    def huber(difference):
        size = np.abs(difference)
        return np.where(size <= DELTA, 0.5 * size**2, DELTA * (size - 0.5 * DELTA)).mean()

    counts = np.array([len(frame["numbers"]) for frame in frames])
    numbers = np.concatenate([frame["numbers"] for frame in frames])
    positions, cells = np.concatenate([f["positions"] for f in frames]), np.array([f["cell"] for f in frames])
    found = model.predict(numbers, counts, positions, cells)
    energy = (found["energies"] - [frame["energy"] for frame in frames]) / counts
    forces = found["forces"] - np.concatenate([frame["forces"] for frame in frames])
    stress = GPA * (found["stresses"] - [frame["stress"] for frame in frames])
    total = 10.0 * huber(energy) + settings["force_weight"] * huber(forces) + settings["stress_weight"] * huber(stress)
    return float(total)


if coevo_worker.SERVING:
    coevo_worker.serve("fake", open_for_worker)
sys.stdout.flush()
run("fake", {"check": check, "read": read, "fit": fit})
