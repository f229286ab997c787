"""MACE with a small model of its own making, in its environment: the contract of force fields, values, fits, files and heads."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from force_field_contract import ForceFieldContract, lithium_phosphide, lithium_sulfide, rattled
from pymatgen.core import Lattice, Structure
from small_mace import ELEMENTS, in_environment, small_mace  # noqa: F401 - the fixture

from coevo.errors import CheckpointError, ConfigError, ModelError
from coevo.models.contracts import FitSettings
from coevo.models.external.archive import pack
from coevo.models.external.force_fields import MaceForceField
from coevo.models.external.workers import shut_down_model_workers
from coevo.models.registry import force_field_from

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.models


@pytest.fixture(scope="module", autouse=True)
def no_worker_is_left():
    yield
    shut_down_model_workers()


@pytest.fixture(scope="module")
def force_field(small_mace):  # noqa: F811
    return force_field_from("mace", f"pbe:{small_mace}")


class TestMaceContract(ForceFieldContract):
    @pytest.fixture(scope="class")
    @classmethod
    def force_field(cls, small_mace):  # noqa: F811
        return force_field_from("mace", f"pbe:{small_mace}")


BY_MACE = """
import json, sys
import numpy as np
from ase import Atoms
from mace.calculators import MACECalculator
calculator = MACECalculator(model_paths=sys.argv[1], device="cpu", default_dtype=sys.argv[2])
found = []
for crystal in json.load(open("crystals.json")):
    atoms = Atoms(pbc=True, **crystal)
    atoms.calc = calculator
    stress = atoms.get_stress(voigt=False).tolist()
    found.append({"energy": atoms.get_potential_energy(), "forces": atoms.get_forces().tolist(), "stress": stress})
json.dump(found, open("found.json", "w"))
"""


def by_mace(file: Path, structures: list[Structure], directory: Path, dtype: str) -> list[dict]:
    """What MACE's own calculator says of structures, one after another."""
    crystals = [
        {"numbers": list(s.atomic_numbers), "positions": s.cart_coords.tolist(), "cell": s.lattice.matrix.tolist()}
        for s in structures
    ]
    (directory / "crystals.json").write_text(json.dumps(crystals))
    in_environment("-c", BY_MACE, str(file), dtype, directory=directory)
    return json.loads((directory / "found.json").read_text())


def test_a_batch_is_what_mace_says_one_by_one(small_mace, force_field, tmp_path):  # noqa: F811
    structures = [rattled(lithium_sulfide(), 1), rattled(lithium_phosphide(), 2), rattled(lithium_sulfide(), 3)]
    expected = by_mace(small_mace, structures, tmp_path, "float32")
    for structure, found, told in zip(structures, force_field.evaluate(structures), expected, strict=True):
        assert found.energy == pytest.approx(told["energy"] / len(structure), abs=1e-5)
        assert found.forces == pytest.approx(np.array(told["forces"]), abs=1e-5)
        assert found.stress == pytest.approx(np.array(told["stress"]), abs=1e-5)
    greeting = force_field.predictor.greeting
    assert greeting.elements == set(ELEMENTS) == set(MaceForceField.atomic_numbers)
    assert (greeting.cutoff, greeting.energy_scale) == (5.0, "pbe")
    assert greeting.versions["mace"] == "0.3.16"


IN_DOUBLE = "import sys, torch, mace; torch.save(torch.load(sys.argv[1], weights_only=False).double(), sys.argv[2])"


def test_a_model_in_double_precision_stays_so(small_mace, tmp_path):  # noqa: F811
    """Forces and stress are the derivatives of the energy to far more digits than single precision has."""
    in_environment("-c", IN_DOUBLE, str(small_mace), "double.model", directory=tmp_path)
    force_field = force_field_from("mace", f"r2scan:{tmp_path / 'double.model'}")
    assert (force_field.energy_scale, force_field.functional) == ("r2scan", "r2SCAN")
    crystal, step = rattled(lithium_phosphide(), 2), 1e-4
    variants = [crystal]
    for component in ((0, 0), (1, 2)):
        for sign in (1, -1):
            strain = np.zeros((3, 3))
            strain[component] += 0.5 * sign * step
            strain[component[::-1]] += 0.5 * sign * step
            cell = crystal.lattice.matrix @ (np.eye(3) + strain)
            variants.append(Structure(Lattice(cell), crystal.species, crystal.frac_coords))
    for sign in (1, -1):
        moved = crystal.copy()
        moved.translate_sites([4], [0.0, sign * step, 0.0], frac_coords=False)
        variants.append(moved)
    found, *others = force_field.evaluate(variants)
    energies = [other.energy * len(crystal) for other in others]
    slopes = [(plus - minus) / (2 * step) for plus, minus in zip(energies[::2], energies[1::2], strict=True)]
    assert slopes[0] / crystal.volume == pytest.approx(found.stress[0, 0], abs=1e-7)
    assert slopes[1] / crystal.volume == pytest.approx(found.stress[1, 2], abs=1e-7)
    assert -slopes[2] == pytest.approx(found.forces[4, 1], abs=1e-6)


def test_a_fit_of_a_fit(force_field, tmp_path):
    contract, chosen = TestMaceContract, FitSettings(epochs=2, batch_size=2, learning_rate=1e-3)
    parents = [force_field]
    for seed in (1, 2):
        training = contract.shifted_frames(parents[-1], range(4))
        validation = contract.shifted_frames(parents[-1], range(50, 52))
        fitted, report = parents[-1].fit(training, validation, chosen, seed=seed)
        assert report["best_epoch"] > 0
        assert report["loss_after"] < report["loss_before"]
        assert report["epochs"][0]["validation_loss"] == pytest.approx(report["loss_before"], rel=1e-3)
        assert report["epochs"][report["best_epoch"]]["validation_loss"] == pytest.approx(report["loss_after"], rel=1e-3)
        assert fitted.document["parent"] == parents[-1].digest
        assert len(fitted.document["training"]) == 64
        parents.append(fitted)
    assert (fitted.energy_scale, fitted.functional, fitted.document["weights"]) == ("pbe", "PBE", "file")
    assert fitted.document["sha256"] == force_field.document["sha256"]
    assert fitted.document["versions"]["mace"] == "0.3.16"
    fitted.save(tmp_path / "checkpoint")
    loaded = force_field_from("mace", checkpoint=tmp_path / "checkpoint")
    assert loaded.digest == fitted.digest
    crystal = [rattled(lithium_sulfide(), 7)]
    assert loaded.evaluate(crystal)[0].energy == fitted.evaluate(crystal)[0].energy


def test_a_fit_that_is_not_better_keeps_the_parent(force_field):
    crystals = [rattled(lithium_sulfide(), seed) for seed in range(4)]
    frames = TestMaceContract.shifted_frames(force_field, range(1, 5, 2))
    exact = [
        replace(frames[0], structure=crystal, energy=found.energy, forces=found.forces, stress=found.stress)
        for crystal, found in zip(crystals, force_field.evaluate(crystals), strict=True)
    ]
    fitted, report = force_field.fit(frames, exact, FitSettings(epochs=1, learning_rate=1e-3), seed=1)
    assert report["best_epoch"] == 0
    assert report["validation_after"] == report["validation_before"]
    assert fitted.digest == force_field.digest


# ----- heads

TWO_HEADS = """
import sys, numpy as np, torch, mace
from mace import modules
from mace.tools.scripts_utils import extract_config_mace_model
torch.manual_seed(1)
model = torch.load(sys.argv[1], weights_only=False)
config = extract_config_mace_model(model)
energies = torch.atleast_2d(torch.tensor(config["atomic_energies"]))
config.update(heads=["first", "second"], atomic_energies=torch.cat([energies, energies - 1.0]).numpy())
config.update({name: np.repeat(np.atleast_1d(config[name])[:1], 2) for name in ("atomic_inter_scale", "atomic_inter_shift")})
torch.save(modules.ScaleShiftMACE(**config), sys.argv[2])
"""
"""A model of two heads, whose weights nobody trained."""


def test_a_head_is_named_and_stays(small_mace, tmp_path):  # noqa: F811
    in_environment("-c", TWO_HEADS, str(small_mace), "two.model", directory=tmp_path)
    file = tmp_path / "two.model"
    first, second = (force_field_from("mace", f"pbe:{file}#{head}") for head in ("first", "second"))
    crystals = [rattled(lithium_sulfide(), 1), rattled(lithium_phosphide(), 2)]
    energies = [[p.energy for p in one.evaluate(crystals)] for one in (first, second)]
    assert not np.allclose(energies[0], energies[1], atol=0.1)
    shift = [one.predictor.greeting.element_energies[3] for one in (first, second)]
    assert shift[0] - shift[1] == pytest.approx(1.0)
    training, validation = (TestMaceContract.shifted_frames(second, seeds) for seeds in (range(4), range(50, 52)))
    fitted, report = second.fit(training, validation, FitSettings(epochs=1, batch_size=2, learning_rate=1e-3), seed=1)
    assert report["loss_before"] == pytest.approx(report["epochs"][0]["validation_loss"], rel=1e-3)
    assert fitted.document["head"] == "second"
    for name, said in ((f"pbe:{file}", "first, second, and none of them was named"), (f"pbe:{file}#third", "no head 'third'")):
        with pytest.raises(ModelError, match=said):
            force_field_from("mace", name)


# ----- files


def test_elements_are_those_of_the_file(small_mace, tmp_path):  # noqa: F811
    """A model of three elements: others are failures, each for itself."""
    in_environment("-c", FEWER, str(small_mace), "few.model", directory=tmp_path)
    force_field = force_field_from("mace", f"pbe:{tmp_path / 'few.model'}")
    assert force_field.atomic_numbers == {3, 15, 16}
    salt = Structure(Lattice.cubic(3.5), ["Na", "S"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    known, unknown = force_field.evaluate([lithium_sulfide(), salt])
    assert np.isfinite(known.energy)
    assert unknown.reason == "unsupported_element"


FEWER = """
import sys, numpy as np, torch, mace
from mace import modules
from mace.tools.scripts_utils import extract_config_mace_model
config = extract_config_mace_model(torch.load(sys.argv[1], weights_only=False))
config.update(atomic_numbers=[3, 15, 16], num_elements=3, atomic_energies=np.array([[-2.0, -5.0, -4.0]]))
torch.save(modules.ScaleShiftMACE(**config), sys.argv[2])
"""


def test_a_file_that_is_no_model_is_refused(tmp_path):
    (tmp_path / "text.model").write_text("no model")
    with pytest.raises(ModelError, match="no model file of MACE"):
        force_field_from("mace", f"pbe:{tmp_path / 'text.model'}")
    with pytest.raises(ConfigError, match="there is no file"):
        force_field_from("mace", f"pbe:{tmp_path / 'none.model'}")


def test_a_pickle_in_a_checkpoint_is_not_run(tmp_path: Path):
    """A file that would make a directory if it were unpickled."""

    class Trap:
        def __reduce__(self):
            return __import__("os").mkdir, (str(tmp_path / "trapped"),)

    (tmp_path / "checkpoint.pth").write_bytes(pickle.dumps({"config": Trap()}))
    document = {"weights": "medium-mpa-0", "energy_scale": "pbe", "functional": "PBE"}
    pack(tmp_path / "packed", "mace", document, {"checkpoint.pth": tmp_path / "checkpoint.pth"})
    loaded = force_field_from("mace", checkpoint=tmp_path / "packed", trusted=True)
    with pytest.raises(ModelError, match="cannot serve this model"):
        loaded.evaluate([lithium_sulfide()])
    assert not (tmp_path / "trapped").exists()


def test_a_checkpoint_that_says_another_scale_is_refused(tmp_path: Path):
    pack(tmp_path / "packed", "mace", {"weights": "medium-mpa-0", "energy_scale": "r2scan", "functional": "PBE"}, {})
    with pytest.raises(CheckpointError, match="says scale 'r2scan', and those of medium-mpa-0 are 'pbe'"):
        MaceForceField.load(tmp_path / "packed")


def test_published_weights_that_are_not_here_are_told(tmp_path, monkeypatch):
    """Where they would be and which file it is, for those who bring it by hand."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match=r"weights small are not in .*https://github.com/ACEsuit/mace-mp/"):
        force_field_from("mace", "small").evaluate([lithium_sulfide()])
