"""CHGNet against the contract and against stock chgnet and ASE."""

from __future__ import annotations

import contextlib
import io
import json
import multiprocessing
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import worker_tasks
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE
from force_field_contract import (
    ForceFieldContract,
    lithium_phosphide,
    lithium_sulfide,
    rattled,
)
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor

from coevo.errors import CheckpointError, ModelError, StorageError
from coevo.models.chgnet.force_field import ChgnetForceField
from coevo.models.contracts import Failure, FitSettings, RelaxationSettings, TrainingFrame
from coevo.models.relaxing.pool import run_batches

EV_PER_A3_IN_GPA = 160.21766208


@pytest.fixture(scope="module")
def chgnet_030() -> ChgnetForceField:
    return ChgnetForceField.published("0.3.0")


@pytest.fixture(scope="module")
def stock():
    """Stock CHGNet by name of its weights, loaded once."""
    from chgnet.model import CHGNet

    loaded = {}

    def load(name: str):
        if name not in loaded:
            with contextlib.redirect_stdout(io.StringIO()):
                loaded[name] = CHGNet.load(model_name=name, use_device="cpu", verbose=False)
        return loaded[name]

    return load


def varied_crystals() -> list[Structure]:
    """Dense, sparse, one-atom, skewed and many-element crystals."""
    skewed = Structure(
        Lattice.from_parameters(3.5, 6.1, 9.0, 65, 110, 75),
        ["Li", "P", "S", "S", "O"],
        [[0, 0, 0], [0.4, 0.5, 0.6], [0.1, 0.55, 0.3], [0.6, 0.1, 0.8], [0.7, 0.7, 0.2]],
    )
    return [
        rattled(lithium_phosphide(), 5),
        rattled(lithium_sulfide(), 6),
        Structure(Lattice.cubic(3.43), ["Li", "Li"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
        Structure(Lattice.cubic(3.6), ["Li"], [[0, 0, 0]]),  # no bond below 3 Å: no angles
        Structure(Lattice.cubic(4.5), ["P", "P"], [[0, 0, 0], [0.3, 0.2, 0.3]]),  # one bond below 3 Å, and no angles
        skewed,
        Structure.from_spacegroup("Fm-3m", Lattice.cubic(3.61), ["Cu"], [[0, 0, 0]]),
        Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.2), ["Fe", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]),
    ]


class TestContract(ForceFieldContract):
    @pytest.fixture(scope="class")
    @classmethod
    def force_field(cls, chgnet_030):
        return chgnet_030


class TestAgainstStock:
    @pytest.mark.parametrize("name", ["0.3.0", "0.2.0", "r2scan"])
    def test_energy_forces_stress(self, stock, name):
        crystals = varied_crystals()
        ours = ChgnetForceField.published(name).evaluate(crystals)
        for crystal, found in zip(crystals, ours, strict=True):
            theirs = stock(name).predict_structure(crystal, task="efs")
            assert found.energy == pytest.approx(float(theirs["e"]), abs=5e-5)
            scale = max(1.0, float(np.abs(theirs["f"]).max()))
            assert found.forces == pytest.approx(theirs["f"], abs=5e-4 * scale)
            assert found.stress == pytest.approx(theirs["s"] / EV_PER_A3_IN_GPA, abs=2e-4)

    def test_scales(self):
        scales = {name: ChgnetForceField.published(name).energy_scale for name in ("0.3.0", "0.2.0", "r2scan")}
        assert scales == {"0.3.0": "mp2020", "0.2.0": "mp2020", "r2scan": "r2scan"}
        assert ChgnetForceField.published("r2scan").functional == "r2SCAN"

    @pytest.mark.long
    def test_relaxation_follows_ase(self, chgnet_030):
        """One crystal takes ASE's own FIRE steps on positions and cell, to rounding."""
        crystal = rattled(lithium_phosphide(), 8)
        [ours] = chgnet_030.relax([crystal], RelaxationSettings(fmax=0.1, max_steps=100, optimiser="fire"))
        atoms = AseAtomsAdaptor.get_atoms(crystal)
        atoms.calc = chgnet_030.calculator()
        optimiser = FIRE(FrechetCellFilter(atoms), logfile=None)
        assert optimiser.run(fmax=0.1, steps=100)
        assert optimiser.nsteps == ours.steps
        assert ours.prediction.energy == pytest.approx(atoms.get_potential_energy() / len(atoms), abs=2e-5)
        assert ours.structure.lattice.matrix == pytest.approx(atoms.cell.array, abs=2e-3)

    @pytest.mark.long
    @pytest.mark.parametrize("optimiser", ["lbfgs", "fire"])
    def test_both_optimisers_find_the_minimum(self, chgnet_030, optimiser):
        crystals = [rattled(lithium_sulfide(), seed) for seed in range(20, 24)]
        found = chgnet_030.relax(crystals, RelaxationSettings(fmax=0.01, max_steps=300, optimiser=optimiser))
        [minimum] = chgnet_030.relax([lithium_sulfide()], RelaxationSettings(fmax=0.005))
        assert [result.prediction.energy for result in found] == pytest.approx([minimum.prediction.energy] * 4, abs=5e-4)

    def test_relaxation_agrees_with_stock_calculator(self, stock, chgnet_030):
        from chgnet.model.dynamics import CHGNetCalculator

        crystal = rattled(lithium_sulfide(), 9)
        [ours] = chgnet_030.relax([crystal], RelaxationSettings(fmax=0.02, max_steps=200))
        atoms = AseAtomsAdaptor.get_atoms(crystal)
        with contextlib.redirect_stdout(io.StringIO()):
            atoms.calc = CHGNetCalculator(stock("0.3.0"), use_device="cpu")
        FIRE(FrechetCellFilter(atoms), logfile=None).run(fmax=0.02, steps=200)
        assert ours.prediction.energy == pytest.approx(atoms.get_potential_energy() / len(atoms), abs=1e-4)
        assert ours.structure.volume == pytest.approx(atoms.get_volume(), rel=5e-3)


class TestFailures:
    def test_exploding_crystal(self, chgnet_030):
        """Atoms pushed into each other: whatever becomes of them, the neighbours in the batch are unharmed."""
        bad = Structure(Lattice.cubic(4.0), ["Li", "P", "S"], [[0, 0, 0], [0.05, 0, 0], [0.5, 0.5, 0.5]])
        good = rattled(lithium_sulfide(), 4)
        found = chgnet_030.relax([bad, good], RelaxationSettings(fmax=0.05))
        assert isinstance(found[0], Failure)
        assert found[0].reason == "collapsed"
        [alone] = chgnet_030.relax([good], RelaxationSettings(fmax=0.05))
        assert found[1].prediction.energy == pytest.approx(alone.prediction.energy, abs=2e-4)

    def test_volume_bound(self, chgnet_030, monkeypatch):
        monkeypatch.setattr("coevo.models.relaxing.batch.VOLUME_RATIO", (0.95, 1.05))
        compressed = lithium_sulfide()
        compressed.apply_strain(-0.12)
        stretched = lithium_sulfide()
        stretched.apply_strain(0.12)
        found = chgnet_030.relax([compressed, stretched], RelaxationSettings(fmax=0.01))
        assert [result.reason for result in found] == ["exploded", "collapsed"]

    def test_nan(self, chgnet_030, monkeypatch):
        from coevo.models.chgnet.network import Network

        energies = Network.energies
        monkeypatch.setattr(Network, "energies", lambda self, graph, vectors: energies(self, graph, vectors) * float("nan"))
        [single] = chgnet_030.evaluate([lithium_sulfide()])
        [relaxed] = chgnet_030.relax([lithium_sulfide()], RelaxationSettings())
        assert single.reason == relaxed.reason == "nan"

    def test_flat_cell_heavy_element_coincident_atoms(self, chgnet_030):
        flat = Structure(Lattice.from_parameters(60, 60, 0.02, 90, 90, 90), ["Li"], [[0, 0, 0]])
        curium = Structure(Lattice.cubic(3.5), ["Cm"], [[0, 0, 0]])
        coincident = Structure(Lattice.cubic(4.0), ["Li", "S"], [[0, 0, 0], [0, 0, 0]])
        found = chgnet_030.evaluate([flat, curium, coincident])
        assert [result.reason for result in found] == ["collapsed", "unsupported_element", "collapsed"]

    @pytest.mark.long
    def test_large_batches_pass_in_groups(self, chgnet_030, monkeypatch):
        """Groups bound the memory and change results by rounding only."""
        crystals = [rattled(lithium_phosphide(), seed) for seed in range(5)]
        together = chgnet_030.evaluate(crystals)
        relaxed = chgnet_030.relax(crystals, RelaxationSettings(fmax=0.05))
        monkeypatch.setattr("coevo.models.chgnet.graph.MAX_PAIRS_PER_PASS", 500)
        in_groups = chgnet_030.evaluate(crystals)
        assert [p.energy for p in in_groups] == pytest.approx([p.energy for p in together], abs=2e-6)
        assert all(np.allclose(a.forces, b.forces, atol=1e-4) for a, b in zip(in_groups, together, strict=True))
        again = chgnet_030.relax(crystals, RelaxationSettings(fmax=0.05))
        assert [r.prediction.energy for r in again] == pytest.approx([r.prediction.energy for r in relaxed], abs=2e-4)


def _is_running(pid: int) -> bool:
    """Whether a process exists that is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.timing
class TestWorkers:
    @pytest.mark.long
    def test_a_killed_worker_is_an_error_that_says_so(self, chgnet_030):
        recipe = chgnet_030.recipe
        with pytest.raises(ModelError, match=r"worker process .* died .* memory"):
            run_batches(recipe, chgnet_030.predictor, worker_tasks.end_abruptly, [[1], [2], [3]], (), workers=2, progress=None)
        # and the next call starts new workers
        found = run_batches(recipe, chgnet_030.predictor, worker_tasks.sizes, [["a", "bc"], ["d"]], (), workers=2, progress=None)
        assert found == [[1, 2], [1]]

    @pytest.mark.long
    def test_workers_end_with_a_killed_parent(self):
        """SIGKILL leaves the parent no time to say goodbye; its workers must notice by themselves."""
        script = Path(worker_tasks.__file__)
        parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True, cwd=script.parent)
        pids = [int(word) for word in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert all(Path(f"/proc/{pid}").exists() for pid in pids)
        parent.kill()
        parent.wait()
        deadline = time.monotonic() + 600
        while time.monotonic() < deadline and any(_is_running(pid) for pid in pids):
            time.sleep(0.1)
        assert not any(_is_running(pid) for pid in pids)

    @pytest.mark.long
    def test_from_a_thread_and_from_a_daemon(self, chgnet_030):
        structures = [rattled(lithium_sulfide(), seed) for seed in range(34)]
        expected = [p.energy for p in chgnet_030.evaluate(structures)]
        found = []
        thread = threading.Thread(target=lambda: found.extend(chgnet_030.evaluate(structures, workers=2)))
        thread.start()
        thread.join(300)
        assert [p.energy for p in found] == expected
        context = multiprocessing.get_context("spawn")
        queue = context.Queue()
        process = context.Process(target=worker_tasks.energies_in_daemon, args=(queue,), daemon=True)
        process.start()
        assert queue.get(timeout=300) == expected
        process.join(300)


class TestCheckpoints:
    @pytest.mark.parametrize("keep", [0, 5, 9, 3000, -1])
    def test_truncated(self, chgnet_030, tmp_path, keep):
        path = tmp_path / "model.safetensors"
        chgnet_030.save(path)
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(CheckpointError, match="truncated or of another kind"):
            ChgnetForceField.load(path)

    def test_missing(self, tmp_path):
        with pytest.raises(CheckpointError, match="No such file"):
            ChgnetForceField.load(tmp_path / "none")

    def test_pickle_is_not_read(self, tmp_path):
        path = tmp_path / "model"
        path.write_bytes(pickle.dumps({"model": 1}))
        with pytest.raises(CheckpointError, match="safetensors"):
            ChgnetForceField.load(path)

    def test_foreign_safetensors(self, tmp_path):
        import torch
        from safetensors.torch import save_file

        save_file({"x": torch.zeros(3)}, tmp_path / "other")
        with pytest.raises(CheckpointError, match="not a CHGNet checkpoint"):
            ChgnetForceField.load(tmp_path / "other")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda header, tensors: tensors.pop("site_wise.bias"), "missing"),
            (lambda header, tensors: tensors.update(extra=tensors["site_wise.bias"].clone()), "unknown"),
            (lambda header, tensors: tensors["site_wise.bias"].fill_(float("nan")), "not finite"),
            (lambda header, tensors: tensors.update({"site_wise.bias": tensors["mlp.layers.0.bias"].clone()}), "shape"),
            (lambda header, tensors: header.update(format="coevo-chgnet-99"), "format"),
            (lambda header, tensors: header["architecture"].update(n_conv="four"), "n_conv"),
            (lambda header, tensors: header["architecture"].pop("n_conv"), "missing or unknown keys"),
        ],
    )
    def test_wrong_contents(self, chgnet_030, tmp_path, change, message):
        from safetensors import safe_open
        from safetensors.torch import save_file

        path = tmp_path / "model"
        chgnet_030.save(path)
        with safe_open(path, "pt") as file:
            header = json.loads(file.metadata()["coevo"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        change(header, tensors)
        save_file(tensors, path, metadata={"coevo": json.dumps(header)})
        with pytest.raises(CheckpointError, match=message):
            ChgnetForceField.load(path)

    def test_unwritable(self, chgnet_030, tmp_path):
        with pytest.raises(StorageError, match="cannot be written"):
            chgnet_030.save(tmp_path / "no" / "such" / "directory")

    def test_digest_names_the_bytes(self, chgnet_030, tmp_path):
        import hashlib

        chgnet_030.save(tmp_path / "model")
        assert hashlib.sha256((tmp_path / "model").read_bytes()).hexdigest() == chgnet_030.digest


class TestFit:
    @pytest.mark.long
    def test_learns_from_the_teacher(self, chgnet_030):
        """Labels of the r2SCAN weights, moved onto the model's scale by offsets per element, lower the held-out error."""
        teacher = ChgnetForceField.published("r2scan")
        structures = [rattled(lithium_sulfide() if k % 2 else lithium_phosphide(), k) for k in range(32)]
        labels, own = teacher.evaluate(structures), chgnet_030.evaluate(structures)
        fractions = np.array([[s.composition.get_atomic_fraction(e) for e in ("Li", "P", "S")] for s in structures])
        gaps = np.array([label.energy - mine.energy for label, mine in zip(labels, own, strict=True)])
        offsets = np.linalg.lstsq(fractions, gaps, rcond=None)[0]
        frames = [
            TrainingFrame(s, label.energy - float(x @ offsets), label.forces, label.stress)
            for s, label, x in zip(structures, labels, fractions, strict=True)
        ]
        chosen = FitSettings(epochs=5, learning_rate=5e-4, batch_size=8)
        _, report = chgnet_030.fit(frames[:24], frames[24:], chosen, seed=0)
        before, after = report["validation_before"], report["validation_after"]
        assert after["force_rmse_mev_per_angstrom"] < 0.7 * before["force_rmse_mev_per_angstrom"]
        assert after["stress_rmse_gpa"] < 0.7 * before["stress_rmse_gpa"]
        assert report["epochs"][report["best_epoch"]]["validation_loss"] < 0.5 * report["epochs"][0]["validation_loss"]

    def test_energies_of_the_elements_stay(self, chgnet_030):
        frames = TestContract.shifted_frames(chgnet_030, range(4))
        fitted, _ = chgnet_030.fit(frames[:3], frames[3:], FitSettings(epochs=1, learning_rate=1e-3), seed=0)
        key = "composition_model.fc.weight"
        assert (fitted._weights.parameters[key] == chgnet_030._weights.parameters[key]).all()

    def test_no_better_epoch_returns_the_start(self, chgnet_030):
        structures = [rattled(lithium_sulfide(), k) for k in range(4)]
        frames = [
            TrainingFrame(s, p.energy, p.forces, p.stress)
            for s, p in zip(structures, chgnet_030.evaluate(structures), strict=True)
        ]
        fitted, report = chgnet_030.fit(frames[:3], frames[3:], FitSettings(epochs=6, learning_rate=1e-3, patience=2), seed=0)
        assert report["best_epoch"] == 0
        assert len(report["epochs"]) == 3
        assert fitted.digest == chgnet_030.digest

    def test_bad_labels(self, chgnet_030):
        [good] = TestContract.shifted_frames(chgnet_030, range(1))
        nan = TrainingFrame(good.structure, float("nan"), good.forces, good.stress)
        flat = TrainingFrame(good.structure, good.energy, good.forces[:2], good.stress)
        for training, validation, message in (
            ([nan], [good], "not finite"),
            ([flat], [good], "expected"),
            ([good], [], "none of the 0 validation frames"),
        ):
            with pytest.raises(ModelError, match=message):
                chgnet_030.fit(training, validation, FitSettings(epochs=1), seed=0)

    def test_diverging_fit_is_an_error(self, chgnet_030):
        frames = TestContract.shifted_frames(chgnet_030, range(4))
        with pytest.raises(ModelError, match="learning_rate"):
            chgnet_030.fit(frames[:3], frames[3:], FitSettings(epochs=5, learning_rate=1e6, batch_size=1), seed=0)
