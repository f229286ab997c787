"""Molecular dynamics in batches, against what is known of springs, of argon, and of itself."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.calculators.lj import LennardJones
from pymatgen.core import Lattice, Structure

from coevo.analysis.transport.diffusion import diffusion
from coevo.models.ase_force_field import AsePredictor
from coevo.models.chgnet.force_field import ChgnetForceField
from coevo.models.contracts import Failure
from coevo.models.molecular_dynamics import Dynamics, Motion, begin, move, move_batch
from coevo.models.relaxing.crystal import Crystal, crystal_from_structure
from coevo.models.relaxing.predictor import BatchPrediction

STIFFNESS = 4.0


class Springs:
    """Each atom hangs on a spring at its place (an Einstein crystal)."""

    cutoff, device_type = 4.0, "cpu"

    def __init__(self, *crystals: Crystal):
        self.places = np.concatenate([crystal.positions for crystal in crystals])

    def predict(self, numbers, counts, positions, cells, *, pairs=()):
        away = positions - self.places
        owner = np.repeat(np.arange(len(counts)), counts)
        energies = np.bincount(owner, 0.5 * STIFFNESS * (away**2).sum(axis=1))
        return BatchPrediction(energies, -STIFFNESS * away, np.zeros((len(counts), 3, 3)))


def lattice(symbol: str = "Li", times: int = 5) -> Crystal:
    structure = Structure(Lattice.cubic(3.0), [symbol], [[0.1, 0.1, 0.1]]) * (times, times, times)
    found = crystal_from_structure(structure, range(1, 119), "test")
    assert isinstance(found, Crystal)
    return found


def test_the_thermostat_gives_the_temperature_and_the_spread_of_an_einstein_crystal() -> None:
    crystal = lattice()
    [found] = move_batch(Springs(crystal), [begin(crystal, 450.0, 1)], Dynamics(2.0, 5.0, 1500, 10))
    settled = found.frames[50:]
    assert found.temperatures[50:].mean() == pytest.approx(450.0, rel=0.02)
    # equipartition: k <u²> = k_B T
    variance = ((settled - crystal.positions) ** 2).mean()
    assert STIFFNESS * variance == pytest.approx(units.kB * 450.0, rel=0.05)


def test_without_friction_energy_is_kept() -> None:
    crystal = lattice(times=3)
    [found] = move_batch(Springs(crystal), [begin(crystal, 450.0, 1)], Dynamics(1.0, 0.0, 4000, 20))
    kinetic = 3 * len(crystal) * 0.5 * units.kB * 450.0
    slope = np.polyfit(np.arange(len(found.totals)), found.totals, 1)[0] * len(found.totals)
    assert abs(slope) < 1e-3 * kinetic
    assert found.totals.std() < 0.02 * kinetic


@pytest.fixture(scope="module")
def chgnet() -> ChgnetForceField:
    return ChgnetForceField.published()


def sulfide(shift: float = 0.25) -> Crystal:
    structure = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.70), ["Li", "S"], [[0.25, 0.25, 0.25], [0.0, 0.0, 0.0]])
    structure.translate_sites(list(range(len(structure))), [shift, 0.0, 0.0])
    found = crystal_from_structure(structure, range(1, 95), "test")
    assert isinstance(found, Crystal)
    return found


def test_alone_is_as_beside_others_and_forces_are_those_of_wrapped_atoms(chgnet: ChgnetForceField) -> None:
    motions = [begin(sulfide(0.1 * k), 900.0, 7 + k) for k in range(3)]
    dynamics = Dynamics(2.0, 1.0, 15, 5)
    together = move(chgnet, motions, dynamics, batch_atoms=1000)
    alone = move(chgnet, motions, dynamics, batch_atoms=1)
    for one, other in zip(together, alone, strict=True):
        assert np.abs(one.frames - other.frames).max() < 1e-6
    # atoms that are put into other cells move as they did
    cells = np.random.default_rng(0).integers(-3, 4, (12, 3))
    crystal = motions[0].crystal
    away = Crystal(crystal.numbers, crystal.positions + cells @ crystal.cell, crystal.cell)
    [moved] = move(chgnet, [Motion(away, motions[0].velocities, 900.0, motions[0].random)], dynamics)
    assert np.abs(moved.frames - cells @ crystal.cell - alone[0].frames).max() < 1e-4
    # ASE's Verlet with the same network
    from ase import Atoms
    from ase.md.verlet import VelocityVerlet

    atoms = Atoms(numbers=crystal.numbers, positions=crystal.positions, cell=crystal.cell, pbc=True)
    atoms.calc = chgnet.calculator()
    atoms.set_velocities(motions[0].velocities)
    VelocityVerlet(atoms, 2.0 * units.fs).run(10)
    [free] = move(chgnet, motions[:1], Dynamics(2.0, 0.0, 10, 10))
    assert np.abs(atoms.positions - free.frames[-1]).max() < 1e-4


@pytest.mark.long
def test_energy_is_kept_on_the_published_network(chgnet: ChgnetForceField) -> None:
    """Without a thermostat, 200 steps of 1 fs of hot Li2S: forces are those of the energy, so that it does not drift."""
    [found] = move(chgnet, [begin(sulfide(), 600.0, 3)], Dynamics(1.0, 0.0, 200, 2))
    atoms = len(found.end.crystal)
    slope = np.polyfit(np.arange(len(found.totals)), found.totals, 1)[0] * len(found.totals) / atoms
    exchanged = np.ptp(found.energies) / atoms
    assert exchanged > 0.02  # eV/atom, between potential and kinetic energy
    assert abs(slope) < 1e-3  # eV/atom in 0.2 ps
    assert np.ptp(found.totals) / atoms < 0.1 * exchanged


def test_what_goes_on_is_what_would_have_gone_on() -> None:
    """Positions, velocities and random numbers at the end are all that the next piece needs."""
    crystal = lattice(times=3)
    springs = Springs(crystal)
    [whole] = move_batch(springs, [begin(crystal, 450.0, 1)], Dynamics(2.0, 5.0, 40, 10))
    [first] = move_batch(springs, [begin(crystal, 450.0, 1)], Dynamics(2.0, 5.0, 20, 10))
    [second] = move_batch(springs, [first.end], Dynamics(2.0, 5.0, 20, 10))
    assert np.abs(np.concatenate([first.frames, second.frames]) - whole.frames).max() < 1e-12


def test_a_crystal_that_fails_leaves_and_the_others_move_on() -> None:
    good, bad = lattice(times=3), lattice(times=3)
    wild = begin(bad, 450.0, 2)
    wild = Motion(wild.crystal, wild.velocities * 100.0, 450.0, wild.random)
    predictor = AsePredictor(LennardJones(sigma=2.6, epsilon=0.05, rc=6.0, smooth=True), 6.0)
    found = move_batch(predictor, [begin(good, 450.0, 1), wild], Dynamics(1.0, 1.0, 20, 5))
    assert found[0].failure is None
    assert len(found[0].frames) == 4
    assert isinstance(found[1].failure, Failure)
    assert found[1].failure.reason in {"exploded", "collapsed"}


@pytest.mark.long
def test_liquid_argon_diffuses_as_rahman_found() -> None:
    """A. Rahman, Phys. Rev. 1964, 136, A405: 94.4 K, 1.374 g/cm³, 864 atoms, D = 2.43e-5 cm²/s.

    Here 256 atoms; Yeh and Hummer's correction (J. Phys. Chem. B 2004, 108, 15873) to Rahman's cell, 2.837297 k_B T / 6 π η L,
    with the viscosity of liquid argon near there, 2.5e-4 Pa s.
    """
    edge = (256 * 39.948 * 1.66053907 / 1.374) ** (1 / 3)
    atoms = bulk("Ar", "fcc", a=edge / 4, cubic=True) * (4, 4, 4)
    crystal = Crystal(atoms.numbers.astype(np.int64), atoms.positions, np.array(atoms.cell))
    predictor = AsePredictor(LennardJones(sigma=3.4, epsilon=120.0 * units.kB, rc=2.25 * 3.4, ro=2.0 * 3.4, smooth=True), 7.65)
    # melted hot, cooled, then without a thermostat, which would hold the atoms back
    [hot] = move_batch(predictor, [begin(crystal, 250.0, 4)], Dynamics(10.0, 5.0, 300, 300))
    [cold] = move_batch(
        predictor, [Motion(hot.end.crystal, hot.end.velocities, 94.4, hot.end.random)], Dynamics(10.0, 5.0, 400, 400)
    )
    [free] = move_batch(predictor, [cold.end], Dynamics(10.0, 0.0, 2500, 10))
    temperature = free.temperatures.mean()
    found = diffusion([free.frames - free.frames.mean(axis=1, keepdims=True)], 0.1)
    thermal = 1.380649e-23 * temperature
    lengths = [edge * 1e-10, edge * 1e-10 * (864 / 256) ** (1 / 3)]
    correction = 2.837297 * thermal / (6 * np.pi * 2.5e-4) * (1 / lengths[0] - 1 / lengths[1]) * 1e4
    # D of a dense liquid near there goes as its temperature, to a fair approximation
    value = (found.value + correction) * 94.4 / temperature
    assert abs(temperature - 94.4) < 6.0
    assert value == pytest.approx(2.43e-5, rel=0.12)
