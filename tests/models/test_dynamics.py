"""Langevin dynamics on springs, of which everything is known."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units
from pymatgen.core import Lattice, Structure

from coevo.models.contracts import Failure, Prediction
from coevo.models.dynamics import snapshots

STIFFNESS = 4.0
"""eV/Å²; of Li, 54 fs a vibration."""


class Springs:
    """Each atom hangs on a spring at its place in a crystal (an Einstein crystal)."""

    def __init__(self, *crystals: Structure, stiffness: float = STIFFNESS):
        self.places = {crystal.composition.formula: crystal.frac_coords for crystal in crystals}
        self.stiffness = stiffness
        self.asked = 0

    def evaluate(self, structures, **_):
        self.asked += 1
        return [self._one(structure) for structure in structures]

    def _one(self, structure):
        shift = structure.frac_coords - self.places[structure.composition.formula]
        away = structure.lattice.get_cartesian_coords(shift - np.round(shift))
        energy = 0.5 * self.stiffness * (away**2).sum() / len(structure)
        return Prediction(float(energy), -self.stiffness * away, np.zeros((3, 3)))


def crystal(symbol: str = "Li", times: int = 5) -> Structure:
    return Structure(Lattice.cubic(3.0), [symbol], [[0.0, 0.0, 0.0]]) * (times, times, times)


def away(geometry: Structure, start: Structure) -> np.ndarray:
    shift = geometry.frac_coords - start.frac_coords
    return start.lattice.get_cartesian_coords(shift - np.round(shift))


def test_displacements_have_the_variance_of_the_temperature():
    start, temperature = crystal(), 450.0
    keep = [100, 150, 200, 250, 300]
    [found] = snapshots(Springs(start), [start], temperature=temperature, timestep=2.0, keep=keep, seeds=[1])
    variance = np.mean([away(geometry, start) ** 2 for geometry in found])
    # equipartition: k <u²> = k_B T for each component; 5 times 375 of them, and Verlet's positions are a little too wide
    assert variance == pytest.approx(units.kB * temperature / STIFFNESS, rel=0.1)


def test_a_crystal_moves_as_it_does_alone_and_as_it_did_before():
    first, second = crystal("Li", 2), crystal("S", 2)
    springs = Springs(first, second)
    settings = {"temperature": 300.0, "timestep": 2.0, "keep": [3, 6]}
    both = snapshots(springs, [first, second], seeds=[5, 6], **settings)
    [alone] = snapshots(springs, [second], seeds=[6], **settings)
    assert [g.cart_coords.tolist() for g in both[1]] == [g.cart_coords.tolist() for g in alone]
    assert [len(each) for each in both] == [2, 2]
    assert both[0][0] != both[0][1]


def test_what_explodes_and_what_the_force_field_refuses_is_a_failure_and_the_others_go_on():
    good, bad, refused = crystal("Li", 2), crystal("S", 2), crystal("P", 2)

    class Mixed(Springs):
        def _one(self, structure):
            symbol = structure[0].specie.symbol
            if symbol == "P":
                return Failure("no_neighbours", "an atom is alone")
            found = super()._one(structure)
            return Prediction(found.energy, -300.0 * found.forces, found.stress) if symbol == "S" else found

    springs = Mixed(good, bad, refused)
    seen = []
    found = snapshots(
        springs,
        [good, bad, refused],
        temperature=300.0,
        timestep=2.0,
        keep=[20],
        seeds=[1, 2, 3],
        progress=seen.append,
    )
    assert len(found[0]) == 1
    assert found[1].reason == "exploded"
    assert found[2] == Failure("no_neighbours", "an atom is alone")
    assert sum(seen) == 20
