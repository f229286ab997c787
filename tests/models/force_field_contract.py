"""What every force field must do, whatever its family; a family's test module subclasses :class:`ForceFieldContract`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor
from scipy.spatial.transform import Rotation

from coevo.errors import ConfigError, ModelError
from coevo.families import Family, descriptor_of
from coevo.models.contracts import (
    Failure,
    FitSettings,
    ForceField,
    Prediction,
    Relaxation,
    RelaxationSettings,
    TrainingFrame,
)
from coevo.models.early_stopping import EarlyStopping, HullWatch

FEW = settings(max_examples=6, suppress_health_check=[HealthCheck.differing_executors, HealthCheck.too_slow])


def lithium_sulfide() -> Structure:
    """Antifluorite, primitive cell, 3 atoms."""
    half = 5.72 / 2
    cell = Lattice([[0, half, half], [half, 0, half], [half, half, 0]])
    return Structure(cell, ["S", "Li", "Li"], [[0, 0, 0], [0.25, 0.25, 0.25], [0.75, 0.75, 0.75]])


def lithium_phosphide() -> Structure:
    """Li3P, hexagonal (P6_3/mmc), 8 atoms."""
    third, z = 1 / 3, 0.583
    sites = [
        (0, 0, 0.25),
        (0, 0, 0.75),
        (third, 2 * third, z),
        (2 * third, third, z + 0.5),
        (2 * third, third, 1 - z),
        (third, 2 * third, 0.5 - z),
        (third, 2 * third, 0.25),
        (2 * third, third, 0.75),
    ]
    return Structure(Lattice.hexagonal(4.26, 7.59), ["Li"] * 6 + ["P"] * 2, sites)


def rattled(structure: Structure, seed: int, *, stdev: float = 0.08, strain: float = 0.03) -> Structure:
    """Displace the atoms and strain the cell at random."""
    rng = np.random.default_rng(seed)
    moved = structure.copy()
    cell = moved.lattice.matrix @ (np.eye(3) + rng.uniform(-strain, strain, (3, 3)))
    positions = moved.frac_coords @ cell + rng.normal(0.0, stdev, (len(moved), 3))
    return Structure(Lattice(cell), moved.species, positions, coords_are_cartesian=True)


def lonely_atom(symbol: str = "Li") -> Structure:
    """No neighbour within any cutoff that a force field uses."""
    return Structure(Lattice.cubic(30.0), [symbol], [[0, 0, 0]])


def crushed(symbols: Sequence[str] = ("Li", "P", "S", "S")) -> Structure:
    """Four atoms in a cube of 1 Å."""
    return Structure(Lattice.cubic(1.0), list(symbols), [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])


class ForceFieldContract:
    """Subclass it as ``TestFamily`` and override :meth:`force_field`.

    The crystals are of Li, P and S; a family that does not know these overrides :meth:`small` (three atoms or more),
    :meth:`large` (eight atoms or more) and ``symbols``. What a family cannot do follows from its descriptor.
    """

    symbols: ClassVar[tuple[str, ...]] = ("Li", "P", "S", "S")

    @staticmethod
    def small() -> Structure:
        return lithium_sulfide()

    @staticmethod
    def large() -> Structure:
        return lithium_phosphide()

    @pytest.fixture(scope="class")
    @classmethod
    def descriptor(cls, force_field) -> Family:
        return descriptor_of(force_field.family, "force_field")

    @pytest.fixture(scope="class")
    @classmethod
    def force_field(cls) -> ForceField:
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def crystals(cls) -> list[Structure]:
        return [rattled(cls.small(), 1), rattled(cls.large(), 2), rattled(cls.small(), 3)]

    # ----- evaluate

    def test_is_a_force_field(self, force_field, descriptor):
        assert isinstance(force_field, ForceField)
        assert force_field.family == descriptor.name
        assert force_field.format == descriptor.loader.format
        assert force_field.energy_scale in {weights.energy_scale for weights in descriptor.weights.values()}
        assert {"relax", "stress"} <= descriptor.capabilities

    def test_elements_of_the_descriptor_are_those_of_the_model(self, force_field, descriptor):
        for symbol in sorted(descriptor.elements or ()):
            crystal = Structure(Lattice.cubic(3.0), [symbol], [[0, 0, 0]])
            [found] = force_field.evaluate([crystal])
            assert isinstance(found, Prediction), symbol
        if descriptor.elements is not None:
            foreign = Structure(Lattice.cubic(3.0), ["Cm"], [[0, 0, 0]])
            assert force_field.evaluate([foreign])[0].reason == "unsupported_element"

    def test_evaluates_in_order(self, force_field, crystals):
        together = force_field.evaluate(crystals)
        for crystal, prediction in zip(crystals, together, strict=True):
            assert prediction.forces.shape == (len(crystal), 3)
            assert prediction.stress.shape == (3, 3)
            assert prediction.forces.dtype == prediction.stress.dtype == np.float64
            [alone] = force_field.evaluate([crystal])
            assert prediction.energy == pytest.approx(alone.energy, abs=1e-5)
            assert prediction.forces == pytest.approx(alone.forces, abs=1e-4)
            assert prediction.fmax == pytest.approx(np.linalg.norm(prediction.forces, axis=1).max())

    def test_evaluates_nothing(self, force_field):
        assert force_field.evaluate([]) == []
        assert force_field.relax([], RelaxationSettings()) == []

    def test_same_call_same_bits(self, force_field, crystals):
        for one, two in zip(force_field.evaluate(crystals), force_field.evaluate(crystals), strict=True):
            assert one.energy == two.energy
            assert (one.forces == two.forces).all()
            assert (one.stress == two.stress).all()

    def test_forces_are_the_slope_of_the_energy(self, force_field, crystals):
        crystal, step = crystals[1], 0.01
        [prediction] = force_field.evaluate([crystal])
        moved = []
        for atom, axis in ((0, 0), (2, 1), (7, 2)):
            for sign in (1, -1):
                copy = crystal.copy()
                copy.translate_sites([atom], np.eye(3)[axis] * sign * step, frac_coords=False)
                moved.append(copy)
        energies = [p.energy * len(crystal) for p in force_field.evaluate(moved)]
        slopes = [-(energies[2 * k] - energies[2 * k + 1]) / (2 * step) for k in range(3)]
        assert slopes == pytest.approx([prediction.forces[0, 0], prediction.forces[2, 1], prediction.forces[7, 2]], abs=4e-3)
        assert prediction.forces.sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-4)

    def test_stress_is_the_slope_by_strain(self, force_field, crystals):
        crystal, step = crystals[1], 2e-3
        [prediction] = force_field.evaluate([crystal])
        for component in ((0, 0), (1, 1), (0, 2)):
            energies = []
            for sign in (1, -1):
                strain = np.zeros((3, 3))
                strain[component] += 0.5 * sign * step
                strain[component[::-1]] += 0.5 * sign * step
                cell = crystal.lattice.matrix @ (np.eye(3) + strain)
                [found] = force_field.evaluate([Structure(Lattice(cell), crystal.species, crystal.frac_coords)])
                energies.append(found.energy * len(crystal))
            slope = (energies[0] - energies[1]) / (2 * step * crystal.volume)
            assert slope == pytest.approx(prediction.stress[component], abs=1e-4)
        assert prediction.stress == pytest.approx(prediction.stress.T)

    @FEW
    @given(seed=st.integers(0, 2**32 - 1))
    def test_rotation_translation_permutation(self, force_field, seed):
        rng = np.random.default_rng(seed)
        crystal = rattled(self.large(), seed)
        rotation = Rotation.random(rng=rng).as_matrix()
        order = rng.permutation(len(crystal))
        positions = (crystal.cart_coords + rng.uniform(-9, 9, 3))[order] @ rotation.T
        turned = Structure(
            Lattice(crystal.lattice.matrix @ rotation.T),
            [crystal.species[i] for i in order],
            positions,
            coords_are_cartesian=True,
            to_unit_cell=bool(rng.integers(2)),
        )
        before, after = force_field.evaluate([crystal, turned])
        assert after.energy == pytest.approx(before.energy, abs=1e-5)
        assert after.forces == pytest.approx(before.forces[order] @ rotation.T, abs=3e-4)
        assert after.stress == pytest.approx(rotation @ before.stress @ rotation.T, abs=3e-5)

    def test_supercell(self, force_field, crystals):
        double = crystals[0].copy()
        double.make_supercell([2, 1, 1])
        one, two = force_field.evaluate([crystals[0], double])
        assert two.energy == pytest.approx(one.energy, abs=1e-5)
        assert two.stress == pytest.approx(one.stress, abs=2e-5)

    def test_failures_stay_in_their_places(self, force_field, crystals):
        half = Structure(Lattice.cubic(4.0), [{self.symbols[0]: 0.5, self.symbols[-1]: 0.5}], [[0, 0, 0]])
        lonely, dense = lonely_atom(self.symbols[0]), crushed(self.symbols)
        found = force_field.evaluate([lonely, crystals[0], dense, half, crystals[1]])
        assert [type(result) for result in found] == [Failure, Prediction, Failure, Failure, Prediction]
        assert [found[k].reason for k in (0, 2, 3)] == ["no_neighbours", "collapsed", "disordered"]
        assert all(found[k].detail for k in (0, 2, 3))
        [alone] = force_field.evaluate([crystals[1]])
        assert found[4].energy == pytest.approx(alone.energy, abs=1e-5)

    # ----- relax

    def test_relaxes(self, force_field, crystals):
        chosen = RelaxationSettings(fmax=0.05, max_steps=200, path_frames=3)
        before = force_field.evaluate(crystals)
        relaxed = force_field.relax(crystals, chosen)
        again = force_field.evaluate([result.structure for result in relaxed])
        for crystal, start, result, check in zip(crystals, before, relaxed, again, strict=True):
            assert isinstance(result, Relaxation)
            assert result.structure.species == crystal.species
            assert result.prediction.energy == pytest.approx(check.energy, abs=1e-5)
            assert result.prediction.forces == pytest.approx(check.forces, abs=3e-4)
            assert check.fmax < 0.05 + 1e-3
            assert np.abs(check.stress).max() * crystal.volume / len(crystal) < 0.06
            assert check.energy < start.energy
            assert 0 < result.steps <= 200
            assert len(result.path) == min(3, result.steps)
            assert np.allclose(result.path[0].lattice.matrix, crystal.lattice.matrix)
            path = [p.energy for p in force_field.evaluate(result.path)]
            assert path == sorted(path, reverse=True)

    def test_fixed_cell(self, force_field, crystals):
        [result] = force_field.relax(crystals[1:2], RelaxationSettings(fmax=0.05, relax_cell=False))
        assert np.array_equal(result.structure.lattice.matrix, crystals[1].lattice.matrix)
        assert result.prediction.fmax < 0.05

    def test_nothing_to_do(self, force_field, crystals):
        [first] = force_field.relax(crystals[:1], RelaxationSettings(fmax=0.02))
        [second] = force_field.relax([first.structure], RelaxationSettings(fmax=0.03, path_frames=2))
        assert second.steps == 0
        assert second.path == []

    def test_relaxation_failures_stay_in_their_places(self, force_field, crystals):
        lonely, dense = lonely_atom(self.symbols[0]), crushed(self.symbols)
        found = force_field.relax([dense, crystals[0], lonely], RelaxationSettings(fmax=0.05))
        assert [type(result) for result in found] == [Failure, Relaxation, Failure]
        assert [found[0].reason, found[2].reason] == ["collapsed", "no_neighbours"]
        [alone] = force_field.relax(crystals[:1], RelaxationSettings(fmax=0.05))
        assert found[1].prediction.energy == pytest.approx(alone.prediction.energy, abs=2e-4)

    def test_too_few_steps(self, force_field, crystals):
        [found] = force_field.relax(crystals[:1], RelaxationSettings(fmax=1e-3, max_steps=3))
        assert isinstance(found, Failure)
        assert found.reason == "not_converged"
        assert "3 steps" in found.detail

    def test_fixed_volume(self, force_field, crystals):
        [result] = force_field.relax(crystals[1:2], RelaxationSettings(fmax=0.05, fixed_volume=True))
        assert result.structure.volume == pytest.approx(crystals[1].volume, rel=1e-9)
        stress = result.prediction.stress
        deviator = stress - np.trace(stress) / 3 * np.eye(3)
        assert np.abs(deviator).max() * crystals[1].volume / len(crystals[1]) < 0.06
        assert result.prediction.fmax < 0.05
        [free] = force_field.relax(crystals[1:2], RelaxationSettings(fmax=0.05))
        assert free.prediction.energy < result.prediction.energy + 1e-3

    def test_pressure(self, force_field, crystals):
        pressure = 0.03  # eV/Å³, 4.8 GPa
        [free] = force_field.relax(crystals[:1], RelaxationSettings(fmax=0.01))
        [pressed] = force_field.relax(crystals[:1], RelaxationSettings(fmax=0.01, pressure=pressure))
        assert pressed.structure.volume < free.structure.volume
        assert pressed.prediction.stress == pytest.approx(-pressure * np.eye(3), abs=2e-3)

    # ----- workers and progress

    def test_workers_change_nothing(self, force_field, crystals):
        structures = [*crystals, lonely_atom(self.symbols[0]), *[rattled(self.small(), seed) for seed in range(10, 14)]]
        chosen = RelaxationSettings(fmax=0.05, batch_size=2, path_frames=1)
        done: list[int] = []
        one = force_field.relax(structures, chosen, workers=1)
        two = force_field.relax(structures, chosen, workers=2, progress=done.append)
        assert sum(done) == len(structures)
        for a, b in zip(one, two, strict=True):
            assert type(a) is type(b)
            if isinstance(a, Relaxation):
                assert a.prediction.energy == b.prediction.energy
                assert a.steps == b.steps
                assert np.array_equal(a.structure.cart_coords, b.structure.cart_coords)
                assert np.array_equal(a.path[0].cart_coords, b.path[0].cart_coords)
            else:
                assert a == b

    def test_workers_evaluate_the_same(self, force_field):
        structures = [rattled(self.small(), seed) for seed in range(40)]
        done: list[int] = []
        one = force_field.evaluate(structures, workers=1)
        two = force_field.evaluate(structures, workers=2, progress=done.append)
        assert sum(done) == 40
        assert [p.energy for p in one] == [p.energy for p in two]
        assert all(np.array_equal(a.forces, b.forces) for a, b in zip(one, two, strict=True))

    # ----- checkpoints

    def test_save_and_load(self, force_field, crystals, tmp_path):
        first, second = tmp_path / "first", tmp_path / "second"
        force_field.save(first)
        loaded = type(force_field).load(first)
        loaded.save(second)
        assert first.read_bytes() == second.read_bytes()
        assert loaded.energy_scale == force_field.energy_scale
        for a, b in zip(force_field.evaluate(crystals), loaded.evaluate(crystals), strict=True):
            assert a.energy == b.energy
            assert np.array_equal(a.forces, b.forces)

    # ----- calculator

    def test_calculator(self, force_field, crystals):
        [prediction] = force_field.evaluate(crystals[1:2])
        atoms = AseAtomsAdaptor.get_atoms(crystals[1])
        atoms.calc = force_field.calculator()
        assert atoms.get_potential_energy() / len(atoms) == pytest.approx(prediction.energy, abs=1e-5)
        assert atoms.get_forces() == pytest.approx(prediction.forces, abs=1e-4)
        assert atoms.get_stress(voigt=False) == pytest.approx(prediction.stress, abs=1e-5)

    # ----- fit

    @classmethod
    def shifted_frames(cls, force_field: ForceField, seeds: range) -> list[TrainingFrame]:
        """Labels that differ from the model's own by a smooth, learnable change: energies and forces of a softened potential."""
        structures = [rattled(cls.small() if seed % 2 else cls.large(), seed) for seed in seeds]
        return [
            TrainingFrame(structure, found.energy + 0.05, 0.8 * found.forces, 0.8 * found.stress)
            for structure, found in zip(structures, force_field.evaluate(structures), strict=True)
        ]

    def test_fit(self, force_field, descriptor, crystals, tmp_path):
        if not descriptor.can("fit"):
            with pytest.raises(ModelError, match=f"{force_field.family} cannot be fitted"):
                force_field.fit([], [], FitSettings(), seed=1)
            return
        training, validation = self.shifted_frames(force_field, range(16)), self.shifted_frames(force_field, range(100, 106))
        before = force_field.evaluate(crystals)
        force_field.save(tmp_path / "before")
        epochs: list[int] = []
        chosen = FitSettings(epochs=4, learning_rate=1e-3, batch_size=4, patience=4)
        fitted, report = force_field.fit(training, validation, chosen, seed=3, progress=epochs.append)
        assert fitted is not force_field
        assert sum(epochs) == 4
        assert report["frames"]["training"] == 16
        assert report["frames"]["validation"] == 6
        start, end = report["validation_before"], report["validation_after"]
        assert end["force_rmse_mev_per_angstrom"] < 0.7 * start["force_rmse_mev_per_angstrom"]
        assert end["energy_rmse_mev_per_atom"] < 0.7 * start["energy_rmse_mev_per_atom"]
        losses = [epoch["validation_loss"] for epoch in report["epochs"]]
        assert losses[report["best_epoch"]] == min(losses)
        # The report's errors are those of the model that came back.
        found = fitted.evaluate([frame.structure for frame in validation])
        errors = [1e3 * (p.energy - frame.energy) for p, frame in zip(found, validation, strict=True)]
        assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(end["energy_rmse_mev_per_atom"], rel=0.01)
        # The model it came from is as it was.
        force_field.save(tmp_path / "after")
        assert (tmp_path / "before").read_bytes() == (tmp_path / "after").read_bytes()
        assert [p.energy for p in force_field.evaluate(crystals)] == [p.energy for p in before]

    def test_a_hull_is_watched(self, force_field, descriptor):
        """A reaction whose energy is off by 0.1 eV/atom before any training; the report says which epoch the rule took."""
        if not descriptor.can("fit"):
            return
        training, validation = self.shifted_frames(force_field, range(4)), self.shifted_frames(force_field, range(100, 102))
        pair = [frame.structure for frame in validation]
        first, second = (frame.energy - 0.05 for frame in validation)
        watch = HullWatch(pair, np.array([[1.0, -1.0]]), np.array([first - second + 0.1]))
        chosen = FitSettings(epochs=2, learning_rate=1e-3, batch_size=2, patience=2)
        if not descriptor.can("watch"):
            with pytest.raises(ConfigError, match=f"{force_field.family} cannot watch"):
                force_field.fit(training, validation, chosen, seed=3, watch=watch)
            return
        fitted, report = force_field.fit(training, validation, chosen, seed=3, watch=watch)
        assert report["watched"] == 1
        told = [(epoch["validation_loss"], epoch["hull_spread"]) for epoch in report["epochs"]]
        assert told[0][1] == pytest.approx(0.1, abs=1e-4)
        stopping = EarlyStopping(chosen.patience, *told[0])
        for number, (loss, spread) in enumerate(told[1:], start=1):
            stopping.is_best(number, loss, spread)
        assert report["best_epoch"] == stopping.best_epoch
        energies = np.array([found.energy for found in fitted.evaluate(pair)])
        assert watch.spread(energies) == pytest.approx(told[stopping.best_epoch][1], abs=1e-4)

    def test_fit_is_deterministic(self, force_field, descriptor, tmp_path):
        if not descriptor.can("fit"):
            return
        training, validation = self.shifted_frames(force_field, range(6)), self.shifted_frames(force_field, range(50, 52))
        chosen = FitSettings(epochs=1, learning_rate=1e-3, batch_size=2)
        for name, seed in (("a", 1), ("b", 1), ("c", 2)):
            fitted, _ = force_field.fit(training, validation, chosen, seed=seed)
            fitted.save(tmp_path / name)
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
        assert (tmp_path / "a").read_bytes() != (tmp_path / "c").read_bytes()
