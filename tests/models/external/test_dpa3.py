"""DPA-3 in its environment: the contract with a small model, published weights, its own calculator, fits and checkpoints."""

from __future__ import annotations

import io
import pickle
from typing import TYPE_CHECKING

import numpy as np
import pytest
from force_field_contract import ForceFieldContract, lithium_phosphide, lithium_sulfide, rattled
from pymatgen.core import Lattice, Structure
from small_dpa3 import DOCUMENT, by_own_calculator, published_mptrj, small_model

from coevo.errors import CheckpointError, ModelError
from coevo.models.contracts import FitSettings
from coevo.models.external.archive import pack
from coevo.models.external.checking import examine_environment
from coevo.models.external.force_fields import Dpa3ForceField
from coevo.models.external.workers import shut_down_model_workers
from coevo.models.registry import force_field_from

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.models


@pytest.fixture(scope="module", autouse=True)
def no_worker_is_left():
    yield
    shut_down_model_workers()


@pytest.fixture(scope="session")
def small_dpa3(tmp_path_factory) -> Dpa3ForceField:
    """Trained from scratch, in double precision."""
    return Dpa3ForceField.load(small_model(tmp_path_factory.mktemp("dpa3")))


class TestDpa3Contract(ForceFieldContract):
    @pytest.fixture(scope="class")
    @classmethod
    def force_field(cls, small_dpa3):
        return small_dpa3


def crystals() -> list[Structure]:
    return [rattled(structure, seed) for seed in range(3) for structure in (lithium_sulfide(), lithium_phosphide())]


def test_the_environment_says_what_it_has():
    found = examine_environment(Dpa3ForceField.external)
    assert not found.broken
    assert (found.versions["deepmd"], found.versions["torch"].partition("+")[0]) == ("3.2.0", "2.13.0")
    assert "for torch 2.11.0 and this is 2.13.0" in found.versions["operators of deepmd"]
    assert found.weights.keys() == {f"DPA-3.{size}-{branch}" for size in ("1-3M", "2-5M") for branch in ("mptrj", "omat24")}


@pytest.fixture
def far_from_the_internet(monkeypatch, tmp_path: Path) -> Path:
    """Where DeePMD-kit keeps published weights, empty, and nowhere to fetch them from."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / ".cache" / "deepmd" / "pretrained" / "models"
    folder.mkdir(parents=True)
    return folder


def test_weights_that_cannot_be_fetched(far_from_the_internet: Path):
    with pytest.raises(ModelError, match=r"cannot be fetched: .* `dp pretrained download DPA-3\.1-3M` fetches"):
        force_field_from("dpa3").evaluate([lithium_sulfide()])


def test_a_file_that_is_not_the_published_one_is_left_alone(far_from_the_internet: Path):
    (far_from_the_internet / "DPA-3.2-5M.pt").write_bytes(b"mine")
    found = examine_environment(Dpa3ForceField.external).weights
    assert found["DPA-3.1-3M-mptrj"] is None
    assert "which is not DPA-3.2-5M" in found["DPA-3.2-5M-omat24"]
    with pytest.raises(ModelError, match="another sha256"):
        force_field_from("dpa3", "DPA-3.2-5M-omat24").evaluate([lithium_sulfide()])
    assert (far_from_the_internet / "DPA-3.2-5M.pt").read_bytes() == b"mine"


def test_published_weights(tmp_path: Path):
    """Li2S by the network of MPtrj from March 2025, as TorchScript computes it without DeePMD-kit."""
    force_field = Dpa3ForceField.load(published_mptrj(tmp_path))
    [found] = force_field.evaluate([lithium_sulfide()])
    assert found.energy == pytest.approx(-3.9850, abs=1e-4)
    assert force_field.predictor.greeting.energy_scale == force_field.energy_scale == "pbe"
    assert force_field.predictor.greeting.elements == set(force_field.atomic_numbers)
    frames = TestDpa3Contract.shifted_frames(force_field, range(1, 7, 2))
    _, report = force_field.fit(frames[:2], frames[2:], FitSettings(epochs=1, learning_rate=1e-4, batch_size=1), seed=1)
    assert report["best_epoch"] == 1
    assert report["validation_after"]["energy_rmse_mev_per_atom"] < report["validation_before"]["energy_rmse_mev_per_atom"]


def test_batches_say_what_its_own_calculator_says(small_dpa3, tmp_path: Path):
    """Crystals of two sizes in one padded batch."""
    structures = crystals()
    for found, (energy, forces, stress) in zip(
        small_dpa3.evaluate(structures), by_own_calculator(small_dpa3, structures, tmp_path), strict=True
    ):
        assert found.energy == pytest.approx(energy / len(forces), abs=1e-8)
        assert found.forces == pytest.approx(np.array(forces), abs=1e-7)
        assert found.stress == pytest.approx(np.array(stress), abs=1e-8)


def test_stress_by_finite_differences(small_dpa3):
    crystal, step = rattled(lithium_phosphide(), 5), 1e-4
    [prediction] = small_dpa3.evaluate([crystal])
    for component in ((0, 0), (1, 2)):
        energies = []
        for sign in (1, -1):
            strain = np.zeros((3, 3))
            strain[component] += 0.5 * sign * step
            strain[component[::-1]] += 0.5 * sign * step
            cell = Lattice(crystal.lattice.matrix @ (np.eye(3) + strain))
            [found] = small_dpa3.evaluate([Structure(cell, crystal.species, crystal.frac_coords)])
            energies.append(found.energy * len(crystal))
        slope = (energies[0] - energies[1]) / (2 * step * crystal.volume)
        assert slope == pytest.approx(prediction.stress[component], abs=1e-7)


def test_a_left_handed_cell_is_the_same_crystal(small_dpa3):
    crystal = rattled(lithium_phosphide(), 6)
    matrix = crystal.lattice.matrix[[1, 0, 2]]
    mirrored = Structure(Lattice(matrix), crystal.species, crystal.cart_coords, coords_are_cartesian=True)
    assert np.linalg.det(matrix) * crystal.lattice.volume < 0 or np.linalg.det(crystal.lattice.matrix) < 0
    one, two = small_dpa3.evaluate([crystal, mirrored])
    assert two.energy == pytest.approx(one.energy, abs=1e-9)
    assert two.forces == pytest.approx(one.forces, abs=1e-8)
    assert two.stress == pytest.approx(one.stress, abs=1e-9)


def test_a_fit_of_a_fit(small_dpa3, tmp_path: Path):
    """The second fit goes on from the first, with the energies of the elements as they were."""
    contract = TestDpa3Contract
    training, validation = contract.shifted_frames(small_dpa3, range(4)), contract.shifted_frames(small_dpa3, range(50, 52))
    parent, chosen = small_dpa3, FitSettings(epochs=2, batch_size=2)
    for seed in (1, 2):
        fitted, report = parent.fit(training, validation, chosen, seed=seed)
        assert report["best_epoch"] > 0
        assert report["loss_after"] < report["loss_before"]
        assert report["loss_before"] == pytest.approx(report["epochs"][0]["validation_loss"], rel=1e-6)
        assert report["loss_after"] == pytest.approx(report["epochs"][report["best_epoch"]]["validation_loss"], rel=1e-6)
        assert fitted.document["parent"] == parent.digest
        assert (fitted.document["weights"], fitted.energy_scale) == ("DPA-3.1-3M-mptrj", "pbe")
        assert fitted.document["versions"]["deepmd"] == "3.2.0"
        assert fitted.predictor.greeting.element_energies == small_dpa3.predictor.greeting.element_energies
        parent = fitted
    parent.save(tmp_path / "checkpoint")
    loaded = force_field_from("dpa3", checkpoint=tmp_path / "checkpoint")
    assert loaded.digest == parent.digest
    structures = crystals()[:1]  # TorchScript compiles in its second call
    [(energy, forces, _)] = by_own_calculator(loaded, structures, tmp_path)
    assert loaded.evaluate(structures)[0].energy == pytest.approx(energy / len(forces), abs=1e-8)


def test_a_fit_that_is_not_better_keeps_the_parent(small_dpa3):
    frames = TestDpa3Contract.shifted_frames(small_dpa3, range(1, 5, 2))
    structures = [rattled(lithium_sulfide(), seed) for seed in range(4)]
    exact = [
        type(frames[0])(structure, found.energy, found.forces, found.stress)
        for structure, found in zip(structures, small_dpa3.evaluate(structures), strict=True)
    ]
    fitted, report = small_dpa3.fit(frames, exact, FitSettings(epochs=1, learning_rate=1e-3), seed=1)
    assert report["best_epoch"] == 0
    assert fitted.digest == small_dpa3.digest


class Trap:
    """Would make a directory if it were unpickled."""

    def __init__(self, place: str):
        self.place = place

    def __reduce__(self):
        return __import__("os").mkdir, (self.place,)


def test_a_pickle_in_a_checkpoint_is_not_run(tmp_path: Path):
    torch = pytest.importorskip("torch")
    plain, archive = io.BytesIO(), io.BytesIO()
    pickle.dump({"model": Trap(str(tmp_path / "trapped"))}, plain)
    torch.save({"model": Trap(str(tmp_path / "trapped"))}, archive)
    for name, data in (("plain", plain), ("archive", archive)):
        (tmp_path / name).write_bytes(data.getvalue())
        pack(tmp_path / f"{name}.tar", "dpa3", DOCUMENT, {"model.pt": tmp_path / name})
        loaded = force_field_from("dpa3", checkpoint=tmp_path / f"{name}.tar")
        with pytest.raises(ModelError, match="cannot serve this model"):
            loaded.evaluate([lithium_sulfide()])
    assert not (tmp_path / "trapped").exists()


def test_a_model_of_another_kind_is_refused(tmp_path: Path):
    torch = pytest.importorskip("torch")
    settings = {"type_map": ["Li"], "descriptor": {"type": "se_e2_a"}, "fitting_net": {}}
    several = {"model_dict": {"Alloy": settings, "SPICE2": settings}}
    for told, message in ((settings, "descriptor 'se_e2_a', allowed: 'dpa3'"), (several, "there are Alloy, SPICE2")):
        torch.save({"model": {"_extra_state": {"model_params": told}}}, tmp_path / "model.pt")
        pack(tmp_path / "packed", "dpa3", DOCUMENT, {"model.pt": tmp_path / "model.pt"})
        with pytest.raises(ModelError, match=message):
            force_field_from("dpa3", checkpoint=tmp_path / "packed").evaluate([lithium_sulfide()])


def test_a_checkpoint_that_says_another_scale_is_refused(tmp_path: Path):
    pack(tmp_path / "packed", "dpa3", {**DOCUMENT, "energy_scale": "omat24"}, {})
    with pytest.raises(CheckpointError, match=r"says scale 'omat24', and those of DPA-3\.1-3M-mptrj are 'pbe'"):
        Dpa3ForceField.load(tmp_path / "packed")
