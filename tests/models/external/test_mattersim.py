"""MatterSim in its environment, by a small model of its kind: the contract of force fields, values, fits and checkpoints."""

from __future__ import annotations

import pickle
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest
from force_field_contract import ForceFieldContract, lithium_phosphide, lithium_sulfide, rattled
from pymatgen.core import Lattice, Structure
from small_mattersim import answer_of, chgnet_frames, small_mattersim  # noqa: F401 - the fixture

from coevo.errors import CheckpointError, ModelError
from coevo.families.built_in import MATTERSIM, MATTERSIM_ENVIRONMENT
from coevo.models.contracts import FitSettings, TrainingFrame
from coevo.models.external.archive import pack
from coevo.models.external.checking import examine_environment
from coevo.models.external.fitting import write_frames
from coevo.models.external.force_fields import MatterSimForceField
from coevo.models.external.workers import shut_down_model_workers
from coevo.models.registry import force_field_from

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.models

PUBLISHED_DOCUMENT = {"weights": "mattersim-v1.0.0-1M", "energy_scale": "pbe", "functional": "PBE"}
"""What a checkpoint says that began with published weights; those are not at hand."""


@pytest.fixture(scope="module", autouse=True)
def no_worker_is_left():
    yield
    shut_down_model_workers()


@pytest.fixture(scope="module")
def force_field(small_mattersim) -> MatterSimForceField:  # noqa: F811
    return force_field_from("mattersim", f"pbe:{small_mattersim}")


class TestMatterSimContract(ForceFieldContract):
    @pytest.fixture(scope="class")
    @classmethod
    def force_field(cls, small_mattersim):  # noqa: F811
        return force_field_from("mattersim", f"pbe:{small_mattersim}")


def test_the_environment_has_what_its_pins_say():
    found = examine_environment(MATTERSIM_ENVIRONMENT)
    assert not found.broken
    assert found.versions["mattersim"] == "1.2.3"
    assert found.weights.keys() == MATTERSIM.weights.keys()


def test_what_the_small_model_is(force_field):
    greeting = force_field.predictor.greeting
    assert (greeting.cutoff, greeting.energy_scale) == (5.0, "pbe")
    assert greeting.elements == set(force_field.atomic_numbers) == set(MatterSimForceField.atomic_numbers)
    assert greeting.versions["mattersim"] == "1.2.3"
    assert greeting.element_energies.keys() == set(force_field.atomic_numbers)
    assert (force_field.document["weights"], force_field.document["energy_scale"]) == ("file", "pbe")


def test_the_small_model_has_learned(force_field):
    """Signs and units of what coevo sends and gets, beside labels of another family."""
    frames = chgnet_frames(range(2000, 2020))
    found = force_field.evaluate([frame.structure for frame in frames])
    for labels, predictions in (
        ([f.energy for f in frames], [p.energy for p in found]),
        (np.concatenate([f.forces for f in frames]), np.concatenate([p.forces for p in found])),
        ([f.stress for f in frames], [p.stress for p in found]),
    ):
        error = np.array(predictions) - np.array(labels)
        assert np.std(error) < 0.3 * np.std(labels)


OWN_CALCULATOR = """
import json, sys, torch
torch.set_num_threads(1)
from ase import Atoms
from mattersim.forcefield import MatterSimCalculator
calculator = MatterSimCalculator.from_checkpoint("checkpoint.pth", device="cpu")
found = []
for line in open("frames.jsonl"):
    record = json.loads(line)
    atoms = Atoms(numbers=record["numbers"], positions=record["positions"], cell=record["cell"], pbc=True, calculator=calculator)
    found.append([atoms.get_potential_energy().item(), atoms.get_forces().tolist(), atoms.get_stress(voigt=False).tolist()])
print(json.dumps(found))
"""


def own_file(force_field: MatterSimForceField, directory: Path) -> Path:
    """The file of MatterSim's own form that a fitted model holds, copied."""
    [file] = force_field._model.path.iterdir()
    return shutil.copy(file, directory / "checkpoint.pth")


def labelled(force_field, crystals) -> list[TrainingFrame]:
    """The crystals with the model's own labels."""
    found = force_field.evaluate(crystals)
    return [TrainingFrame(c, p.energy, p.forces, p.stress) for c, p in zip(crystals, found, strict=True)]


def test_a_batch_is_what_its_own_calculator_says_one_by_one(force_field, tmp_path: Path):
    crystals = [rattled(c, seed) for seed in range(6) for c in (lithium_sulfide(), lithium_phosphide())]
    frames = labelled(force_field, crystals)
    write_frames(tmp_path / "frames.jsonl", frames)
    own_file(force_field, tmp_path)
    own = answer_of(tmp_path, OWN_CALCULATOR, HOME=str(tmp_path))  # where it makes a directory
    for frame, (energy, forces, stress) in zip(frames, own, strict=True):
        assert frame.energy == pytest.approx(energy / len(frame.structure), abs=1e-5)
        assert frame.forces == pytest.approx(np.array(forces), abs=1e-5)
        assert frame.stress == pytest.approx(np.array(stress), abs=1e-6)
        assert np.abs(frame.stress).max() > 1e-3


DOUBLE_PRECISION = """
import json
from unittest import mock
import mattersim_model, torch
from ase import Atoms
import numpy as np
torch.set_default_dtype(torch.float64)
model = mattersim_model.open_model(
    {"document": {"weights": "file", "energy_scale": "pbe"}, "model": ".", "device": "cpu"}, torch.device("cpu")
)
model.potential.model.double()
record = json.loads(open("frames.jsonl").readline())

def predict(positions, cell):
    double = mock.patch.object(torch.Tensor, "float", torch.Tensor.double)
    with double, mock.patch.object(torch, "FloatTensor", torch.DoubleTensor):
        return model.predict(record["numbers"], [len(record["numbers"])], positions, [cell])

positions, cell, step = np.array(record["positions"]), np.array(record["cell"]), 1e-4
found, slopes = predict(positions, cell), np.zeros((3, 3))
for i in range(3):
    for j in range(3):
        energies = []
        for sign in (1, -1):
            strain = np.zeros((3, 3))
            strain[i, j] += sign * step / 2
            strain[j, i] += sign * step / 2
            change = np.eye(3) + strain
            energies.append(predict(positions @ change, cell @ change)["energies"][0])
        slopes[i, j] = (energies[0] - energies[1]) / (2 * step * np.linalg.det(cell))
moved = positions.copy()
moved[1, 2] += step
back = positions.copy()
back[1, 2] -= step
force = -(predict(moved, cell)["energies"][0] - predict(back, cell)["energies"][0]) / (2 * step)
print(json.dumps([found["stresses"][0].tolist(), slopes.tolist(), found["forces"][1][2], force]))
"""


def test_stress_and_forces_are_slopes_in_double_precision(force_field, tmp_path: Path):
    """Units and sign, to more digits than the network's own single precision has."""
    write_frames(tmp_path / "frames.jsonl", labelled(force_field, [rattled(lithium_phosphide(), 3)]))
    own_file(force_field, tmp_path)
    stress, slopes, force, slope = answer_of(tmp_path, DOUBLE_PRECISION)
    assert np.array(slopes) == pytest.approx(np.array(stress), abs=1e-7)
    assert slope == pytest.approx(force, abs=1e-6)
    assert np.abs(stress).max() > 1e-3
    [single] = force_field.evaluate([rattled(lithium_phosphide(), 3)])
    assert single.stress == pytest.approx(np.array(stress), abs=1e-5)


def test_a_left_handed_cell_has_the_same_stress(force_field):
    crystal = rattled(lithium_sulfide(), 5)
    a, b, c = crystal.lattice.matrix
    other = Structure(Lattice([b, a, c]), crystal.species, crystal.cart_coords, coords_are_cartesian=True)
    right, left = force_field.evaluate([crystal, other])
    assert left.stress == pytest.approx(right.stress, abs=1e-5)
    assert left.energy == pytest.approx(right.energy, abs=1e-5)
    assert left.forces == pytest.approx(right.forces, abs=1e-4)


def test_few_neighbours(force_field):
    """Neighbours beyond the range of angles, alone and in a batch with others."""
    sparse = Structure(Lattice.cubic(4.5), ["Li"], [[0, 0, 0]])
    [alone] = force_field.evaluate([sparse])
    together = force_field.evaluate([lithium_sulfide(), sparse, lithium_phosphide()])
    assert together[1].energy == pytest.approx(alone.energy, abs=1e-5)


def test_a_fit_of_a_fit(force_field, tmp_path: Path):
    """The parent's loss and the new one's are those that coevo measures, and the same seed gives the same checkpoint."""
    contract, chosen = TestMatterSimContract, FitSettings(epochs=3, learning_rate=1e-3, batch_size=2)
    parents = [force_field]
    for seed in (1, 2):
        training = contract.shifted_frames(parents[-1], range(6))
        validation = contract.shifted_frames(parents[-1], range(50, 53))
        fitted, report = parents[-1].fit(training, validation, chosen, seed=seed)
        assert report["best_epoch"] > 0
        assert report["loss_after"] < report["loss_before"]
        assert report["epochs"][0]["validation_loss"] == pytest.approx(report["loss_before"], rel=1e-3)
        assert report["epochs"][report["best_epoch"]]["validation_loss"] == pytest.approx(report["loss_after"], rel=1e-3)
        assert fitted.document["parent"] == parents[-1].digest
        assert len(fitted.document["training"]) == 64
        parents.append(fitted)
    again, _ = parents[1].fit(training, validation, chosen, seed=2)
    assert again.digest == fitted.digest
    for name in ("weights", "energy_scale", "functional", "sha256", "elements"):
        assert fitted.document[name] == force_field.document[name]
    assert fitted.document["versions"].keys() == {"mattersim", "torch", "torch_geometric"}
    fitted.save(tmp_path / "checkpoint")
    loaded = force_field_from("mattersim", checkpoint=tmp_path / "checkpoint")
    assert loaded.digest == fitted.digest
    crystal = [rattled(lithium_sulfide(), 7)]
    assert loaded.evaluate(crystal)[0].energy == fitted.evaluate(crystal)[0].energy


def test_a_fit_that_is_not_better_keeps_the_parent(force_field):
    frames = TestMatterSimContract.shifted_frames(force_field, range(1, 5, 2))
    exact = labelled(force_field, [rattled(lithium_sulfide(), seed) for seed in range(4)])
    fitted, report = force_field.fit(frames, exact, FitSettings(epochs=1, learning_rate=1e-3), seed=1)
    assert report["best_epoch"] == 0
    assert report["validation_after"] == report["validation_before"]
    assert fitted.digest == force_field.digest


def test_no_home_directory(force_field, monkeypatch):
    """MatterSim itself makes a directory there whenever it loads a model."""
    [before] = force_field.evaluate([lithium_sulfide()])
    shut_down_model_workers()
    monkeypatch.setenv("HOME", "/dev/null")
    [after] = force_field_from_copy(force_field).evaluate([lithium_sulfide()])
    assert after.energy == before.energy


def force_field_from_copy(force_field: MatterSimForceField) -> MatterSimForceField:
    """The same model with a predictor of its own."""
    return MatterSimForceField(force_field._model, force_field.document)


PUBLISHED = """
import json
from pathlib import Path
import mattersim_model, mattersim_weights, torch
from coevo_runner import TaskError
mattersim_weights.places = lambda: [Path("/dev/null/weights"), Path("weights")]
request = {"document": {"weights": "mattersim-v1.0.0-1M"}, "model": None, "device": "cpu"}
said = []

def attempt():
    try:
        model = mattersim_model.open_model(request, torch.device("cpu"))
        said.append(model.energy_scale)
    except TaskError as err:
        said.append(str(err))

attempt()
Path("checkpoint.pth").rename("weights/mattersim-v1.0.0-1M.pth")
said.append(mattersim_weights.place_of("mattersim-v1.0.0-1M"))
attempt()
name = mattersim_weights.git_name(Path("weights/mattersim-v1.0.0-1M.pth"))
mattersim_weights.PUBLISHED["mattersim-v1.0.0-1M"] = ("pbe", name)
attempt()
print(json.dumps(said))
"""


def test_published_weights(force_field, tmp_path: Path):
    """Where they are looked for, what is said if they are not there or are others, and that they are opened if they are."""
    own_file(force_field, tmp_path)
    absent, place, other, opened = answer_of(tmp_path, PUBLISHED, HTTPS_PROXY="http://127.0.0.1:9")
    assert "weights mattersim-v1.0.0-1M are not here and cannot be fetched" in absent
    assert "copy mattersim-v1.0.0-1M.pth of MatterSim's repository (pretrained_models) to /dev/null/weights or weights" in absent
    assert place == "weights/mattersim-v1.0.0-1M.pth"
    assert "is not the file that was published as mattersim-v1.0.0-1M" in other
    assert opened == "pbe"


def test_a_file_that_is_no_model_is_refused(tmp_path: Path):
    (tmp_path / "text.pth").write_text("no model")
    with pytest.raises(ModelError, match="no checkpoint of MatterSim"):
        force_field_from("mattersim", f"pbe:{tmp_path / 'text.pth'}")
    with pytest.raises(ModelError, match="has no heads, and 'pbe' was named"):
        force_field_from("mattersim", f"pbe:{tmp_path / 'text.pth'}#pbe")


FEWER = """
import torch
from mattersim.forcefield.m3gnet.m3gnet import M3Gnet
from mattersim.forcefield.potential import Potential
Potential(M3Gnet(num_blocks=1, units=8, max_l=2, max_n=2, max_z=16, device="cpu"), device="cpu").save("./few.pth")
print(1)
"""


def test_elements_are_those_of_the_file(tmp_path: Path):
    """A network up to sulfur: others are failures, each for itself."""
    answer_of(tmp_path, FEWER)
    few = force_field_from("mattersim", f"r2scan:{tmp_path / 'few.pth'}")
    assert (few.energy_scale, few.functional) == ("r2scan", "r2SCAN")
    assert few.atomic_numbers == set(range(1, 17))
    salt = Structure(Lattice.cubic(5.1), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    known, unknown = few.evaluate([lithium_sulfide(), salt])
    assert np.isfinite(known.energy)
    assert unknown.reason == "unsupported_element"


def test_a_pickle_in_a_checkpoint_is_not_run(tmp_path: Path):
    """A file that would make a directory if it were unpickled."""

    class Trap:
        def __reduce__(self):
            return __import__("os").mkdir, (str(tmp_path / "trapped"),)

    (tmp_path / "checkpoint.pth").write_bytes(pickle.dumps({"model_name": Trap()}))
    pack(tmp_path / "packed", "mattersim", PUBLISHED_DOCUMENT, {"checkpoint.pth": tmp_path / "checkpoint.pth"})
    loaded = force_field_from("mattersim", checkpoint=tmp_path / "packed")
    with pytest.raises(ModelError, match="cannot serve this model"):
        loaded.evaluate([lithium_sulfide()])
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("del c['model']['final.g.0.linear.weight']", "it lacks final.g.0.linear.weight"),
        ("c['model_args']['units'] = 10**9", "its network has units 1000000000, allowed: 1 to 2048"),
        ("c['model_name'] = 'graphormer'", "it is of a 'graphormer', allowed: m3gnet"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(force_field, tmp_path: Path, change: str, message: str):
    file = own_file(force_field, tmp_path)
    program = (
        f"import torch; c = torch.load('checkpoint.pth', weights_only=True); {change}; torch.save(c, 'checkpoint.pth'); print(1)"
    )
    answer_of(tmp_path, program)
    pack(tmp_path / "packed", "mattersim", PUBLISHED_DOCUMENT, {"checkpoint.pth": file})
    with pytest.raises(ModelError, match=message):
        force_field_from("mattersim", checkpoint=tmp_path / "packed").evaluate([lithium_sulfide()])


def test_a_checkpoint_that_says_another_scale_is_refused(tmp_path: Path):
    pack(tmp_path / "packed", "mattersim", {**PUBLISHED_DOCUMENT, "energy_scale": "mp2020"}, {})
    with pytest.raises(CheckpointError, match=r"says scale 'mp2020', and those of mattersim-v1\.0\.0-1M are 'pbe'"):
        MatterSimForceField.load(tmp_path / "packed")
