"""Relaxation at fixed cell, at fixed volume and under pressure, step for step as ASE's filters and FIRE do it."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.calculators.emt import EMT
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE

from coevo.errors import ConfigError
from coevo.models.ase_force_field import AsePredictor
from coevo.models.contracts import Failure, RelaxationSettings
from coevo.models.relaxing.batch import relax_batch
from coevo.models.relaxing.crystal import Crystal

CUTOFF = 5.8


def crystal(seed: int, symbols: str = "AuCu3", a: float = 3.8) -> Atoms:
    rng = np.random.default_rng(seed)
    sites = [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    atoms = Atoms(symbols, scaled_positions=sites, cell=[a, a * 1.03, a * 0.98], pbc=True)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.uniform(-0.04, 0.04, (3, 3))), scale_atoms=True)
    atoms.positions += rng.normal(0, 0.08, (4, 3))
    return atoms


def batch(atoms: list[Atoms]) -> list[Crystal]:
    return [Crystal(one.numbers.astype(np.int64), one.positions.copy(), one.cell.array.copy()) for one in atoms]


CASES = {
    "free": ({}, {}),
    "fixed volume": ({"fixed_volume": True}, {"constant_volume": True}),
    "pressed": ({"pressure": 0.05}, {"scalar_pressure": 0.05}),
    "pulled": ({"pressure": -0.02}, {"scalar_pressure": -0.02}),
}


@pytest.mark.parametrize("case", ["free", *(pytest.param(case, marks=pytest.mark.long) for case in list(CASES)[1:])])
def test_the_path_is_that_of_ase(case: str) -> None:
    """The generalised forces are the same, so that FIRE takes the same steps; ASE judges convergence by the same forces."""
    ours, theirs = CASES[case]
    crystals = [crystal(1), crystal(2, "Cu4", 3.6)]
    settings = RelaxationSettings(fmax=0.05, max_steps=300, optimiser="fire", **ours)
    for atoms, found in zip(crystals, relax_batch(AsePredictor(EMT(), CUTOFF), batch(crystals), settings), strict=True):
        assert not isinstance(found, Failure), found
        start = atoms.get_volume()
        atoms.calc = EMT()
        optimiser = FIRE(FrechetCellFilter(atoms, **theirs), logfile=None)
        optimiser.run(fmax=0.05, steps=300)
        assert optimiser.nsteps > 10
        assert found.steps == optimiser.nsteps
        assert found.prediction.energy == pytest.approx(atoms.get_potential_energy() / len(atoms), abs=1e-6)
        assert found.cell == pytest.approx(atoms.cell.array, abs=1e-5)
        assert found.positions == pytest.approx(atoms.positions, abs=1e-5)
        if case == "fixed volume":
            assert abs(np.linalg.det(found.cell)) == pytest.approx(start, rel=1e-10)


def test_a_fixed_cell_is_that_of_ase_without_a_filter() -> None:
    atoms = crystal(4)
    settings = RelaxationSettings(fmax=0.01, relax_cell=False, optimiser="fire")
    [found] = relax_batch(AsePredictor(EMT(), CUTOFF), batch([atoms]), settings)
    atoms.calc = EMT()
    optimiser = FIRE(atoms, logfile=None)
    optimiser.run(fmax=0.01, steps=200)
    assert found.steps == optimiser.nsteps
    assert np.array_equal(found.cell, atoms.cell.array)
    assert found.positions == pytest.approx(atoms.positions, abs=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_both_optimisers_end_in_the_same_minimum(case: str) -> None:
    ours, _ = CASES[case]
    predictor = AsePredictor(EMT(), CUTOFF)
    [first], [second] = (
        relax_batch(predictor, batch([crystal(5)]), RelaxationSettings(fmax=0.005, optimiser=name, **ours))
        for name in ("fire", "lbfgs")
    )
    assert first.prediction.energy == pytest.approx(second.prediction.energy, abs=1e-4)
    assert np.linalg.det(first.cell) == pytest.approx(np.linalg.det(second.cell), rel=5e-3)
    assert second.steps < first.steps


def test_the_stress_at_the_end_balances_the_pressure() -> None:
    """At 8 GPa the minimum of E + pV has the stress −p, and the energy of the prediction is E alone."""
    pressure = 0.05
    settings = RelaxationSettings(fmax=1e-3, max_steps=400, pressure=pressure)
    predictor = AsePredictor(EMT(), CUTOFF)
    [found] = relax_batch(predictor, batch([crystal(7)]), settings)
    assert found.prediction.stress == pytest.approx(-pressure * np.eye(3), abs=5e-4)
    atoms = Atoms("AuCu3", positions=found.positions, cell=found.cell, pbc=True, calculator=EMT())
    assert found.prediction.energy == pytest.approx(atoms.get_potential_energy() / 4)


def test_what_pressure_cannot_act_on_is_refused() -> None:
    for other, kept in (({"relax_cell": False}, "cell"), ({"fixed_volume": True}, "volume")):
        with pytest.raises(ConfigError, match=rf"pressure: got 0\.1 eV/Å³ with a fixed {kept}"):
            RelaxationSettings(pressure=0.1, **other)
    with pytest.raises(ConfigError, match="pressure: got nan, allowed: a finite number"):
        RelaxationSettings(pressure=float("nan"))


def test_a_crystal_that_is_torn_apart_is_a_failure_and_the_others_relax() -> None:
    """A pull beyond the strength of the crystal."""
    crystals = [crystal(8)]
    [found] = relax_batch(AsePredictor(EMT(), CUTOFF), batch(crystals), RelaxationSettings(pressure=-1.0, max_steps=400))
    assert isinstance(found, Failure)
    assert found.reason in {"exploded", "no_neighbours"}


def test_what_is_not_relaxed_in_time_is_a_failure_or_where_asked_for_a_result() -> None:
    """After three steps of FIRE, at the geometry where ASE's is after three."""
    atoms = crystal(1)
    limited = {"fmax": 1e-4, "max_steps": 3, "optimiser": "fire"}
    [failed] = relax_batch(AsePredictor(EMT(), CUTOFF), batch([atoms]), RelaxationSettings(**limited))
    assert isinstance(failed, Failure)
    assert failed.reason == "not_converged"
    settings = RelaxationSettings(keep_unconverged=True, **limited)
    [kept] = relax_batch(AsePredictor(EMT(), CUTOFF), batch([atoms]), settings)
    assert not isinstance(kept, Failure)
    atoms.calc = EMT()
    FIRE(FrechetCellFilter(atoms), logfile=None).run(fmax=1e-4, steps=3)
    assert kept.steps == 3
    assert kept.positions == pytest.approx(atoms.positions, abs=1e-6)
    assert kept.prediction.energy == pytest.approx(atoms.get_potential_energy() / len(atoms), abs=1e-7)
