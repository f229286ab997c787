"""SevenNet with its real weights, in its environment: the contract of force fields, values, fits and checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from force_field_contract import ForceFieldContract, lithium_sulfide, rattled

from coevo.errors import CheckpointError, ModelError
from coevo.models.contracts import FitSettings
from coevo.models.external.archive import pack
from coevo.models.external.force_fields import SevenNetForceField
from coevo.models.external.workers import shut_down_model_workers
from coevo.models.registry import force_field_from

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.models

VALUES = {"7net-0": -3.9636, "7net-l3i5": -3.9783, "7net-mf-0-pbe": -3.9587, "7net-mf-0-r2scan": -5.7617}
"""Energy of Li2S (Fm-3m, a = 5.72 Å) by SevenNet's own ASE calculator, eV/atom."""


@pytest.fixture(scope="module", autouse=True)
def no_worker_is_left():
    yield
    shut_down_model_workers()


class TestSevenNetContract(ForceFieldContract):
    @pytest.fixture(scope="class")
    @classmethod
    def force_field(cls):
        return force_field_from("sevennet")


@pytest.mark.parametrize("weights", VALUES)
def test_values(weights):
    force_field = force_field_from("sevennet", weights)
    [found] = force_field.evaluate([lithium_sulfide()])
    assert found.energy == pytest.approx(VALUES[weights], abs=1e-4)
    greeting = force_field.predictor.greeting
    assert greeting.energy_scale == force_field.energy_scale == ("r2scan" if "r2scan" in weights else "pbe")
    assert greeting.elements == set(force_field.atomic_numbers)
    assert greeting.versions["sevenn"] == "0.13.0"


def test_a_fit_of_a_fidelity_stays_of_it(tmp_path: Path):
    force_field = force_field_from("sevennet", "7net-mf-0-r2scan")
    contract = TestSevenNetContract
    training, validation = contract.shifted_frames(force_field, range(4)), contract.shifted_frames(force_field, range(50, 52))
    fitted, report = force_field.fit(training, validation, FitSettings(epochs=2, batch_size=2), seed=1)
    assert report["best_epoch"] > 0
    assert report["loss_after"] < report["loss_before"]
    assert (fitted.energy_scale, fitted.functional) == ("r2scan", "r2SCAN")
    assert fitted.document["weights"] == "7net-mf-0-r2scan"
    assert fitted.document["parent"] == force_field.digest
    assert fitted.document["versions"]["sevenn"] == "0.13.0"
    assert len(fitted.document["training"]) == 64
    fitted.save(tmp_path / "checkpoint")
    loaded = force_field_from("sevennet", checkpoint=tmp_path / "checkpoint")
    assert loaded.digest == fitted.digest
    crystal = [rattled(lithium_sulfide(), 7)]
    assert loaded.evaluate(crystal)[0].energy == fitted.evaluate(crystal)[0].energy
    # SevenNet's own tools read what the checkpoint holds
    file = next(iter(loaded._model.path.iterdir()))
    assert file.name == "checkpoint.pth"


def test_a_fit_that_is_not_better_keeps_the_parent():
    force_field = force_field_from("sevennet")
    crystals = [rattled(lithium_sulfide(), seed) for seed in range(4)]
    frames = TestSevenNetContract.shifted_frames(force_field, range(1, 5, 2))
    exact = [
        type(frames[0])(crystal, found.energy, found.forces, found.stress)
        for crystal, found in zip(crystals, force_field.evaluate(crystals), strict=True)
    ]
    fitted, report = force_field.fit(frames, exact, FitSettings(epochs=1, learning_rate=1e-3), seed=1)
    assert report["best_epoch"] == 0
    assert report["validation_after"] == report["validation_before"]
    assert fitted.digest == force_field.digest


def test_a_pickle_in_a_checkpoint_is_not_run(tmp_path: Path):
    """A file that would make a directory if it were unpickled."""
    import pickle

    class Trap:
        def __reduce__(self):
            return __import__("os").mkdir, (str(tmp_path / "trapped"),)

    (tmp_path / "checkpoint.pth").write_bytes(pickle.dumps({"config": Trap()}))
    document = {"weights": "7net-0", "energy_scale": "pbe", "functional": "PBE"}
    pack(tmp_path / "packed", "sevennet", document, {"checkpoint.pth": tmp_path / "checkpoint.pth"})
    loaded = force_field_from("sevennet", checkpoint=tmp_path / "packed")
    with pytest.raises(ModelError, match="cannot serve this model"):
        loaded.evaluate([lithium_sulfide()])
    assert not (tmp_path / "trapped").exists()


def test_a_checkpoint_that_says_another_scale_is_refused(tmp_path: Path):
    pack(tmp_path / "packed", "sevennet", {"weights": "7net-0", "energy_scale": "mp2020", "functional": "PBE"}, {})
    with pytest.raises(CheckpointError, match="says scale 'mp2020', and those of 7net-0 are 'pbe'"):
        SevenNetForceField.load(tmp_path / "packed")


def test_batches_change_the_last_digits_only():
    force_field = force_field_from("sevennet")
    crystals = [rattled(lithium_sulfide(), seed) for seed in range(6)]
    together = force_field.evaluate(crystals)
    alone = [force_field.evaluate([crystal])[0] for crystal in crystals]
    assert np.allclose([p.energy for p in together], [p.energy for p in alone], atol=1e-6)
