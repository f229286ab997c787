"""What is decided by a quick computation is what the slow one decides: a seed gives the crystals that it always gave."""

from __future__ import annotations

import numpy as np
import pytest
from generator_contract import LI_P_S
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.analysis.ewald import EwaldSummation
from pymatgen.core import Lattice, Structure

from coevo.configs.tree import GeneratorConfig
from coevo.models.contracts import Conditions
from coevo.models.random_crystals.cells import Cell
from coevo.models.random_crystals.chemistry import electrostatic_energy
from coevo.models.random_crystals.context import SamplingContext
from coevo.models.random_crystals.electrostatics import Placement, ewald_sum, lowest
from coevo.models.random_crystals.genetic import _atoms
from coevo.models.random_crystals.geometry import PrimitiveCell, Separations, nearest_distances, primitive, too_close
from coevo.models.random_crystals.knowledge import Knowledge
from coevo.models.random_crystals.space_groups import positions, shares, weighted
from coevo.models.random_crystals.unit_orientation import Operation, Pairing, Site, orientation, point_operations

SEEDS = st.integers(0, 2**32 - 1)
TETRAHEDRON = ((0.0, 0.0, 0.0), (1.2, 1.2, 1.2), (1.2, -1.2, -1.2), (-1.2, 1.2, -1.2), (-1.2, -1.2, 1.2))
UNITS = {
    "tetrahedron": (("P", "S", "S", "S", "S"), TETRAHEDRON),
    "flat triangle": (("B", "O", "O", "O"), ((0.0, 0.0, 0.0), (1.4, 0.0, 0.0), (-0.7, 1.212, 0.0), (-0.7, -1.212, 0.0))),
    "bent": (("S", "O", "O"), ((0.0, 0.0, 0.0), (1.2, 0.8, 0.0), (-1.2, 0.8, 0.0))),
    "octahedron": (
        ("P", "F", "F", "F", "F", "F", "F"),
        ((0.0, 0.0, 0.0), *(tuple(float(s * 1.6 * (i == k)) for k in range(3)) for i in range(3) for s in (1, -1))),
    ),
    "pair": (("S", "S"), ((0.0, 0.0, 1.0), (0.0, 0.0, -1.0))),
}


def skewed(rng: np.random.Generator) -> np.ndarray:
    """Rows of a cell that is not reduced, Å; often flat enough for all images to matter."""
    return (rng.normal(size=(3, 3)) + rng.uniform(1, 4) * np.eye(3)) * rng.uniform(0.8, 2.5)


@pytest.fixture(scope="module")
def context() -> SamplingContext:
    return SamplingContext(Knowledge(settings=GeneratorConfig()), Conditions(LI_P_S, max_atoms=24))


@settings(max_examples=60, deadline=None)
@given(seed=SEEDS, same=st.booleans(), ratio=st.booleans())
def test_who_is_closer_than_allowed(seed, same, ratio):
    rng = np.random.default_rng(seed)
    lattice, a = skewed(rng), rng.random((6, 3))
    b = a if same else rng.random((4, 3))
    distances = nearest_distances(lattice, a, b, same=same)
    # of these limits some are the distances themselves: the comparison must not depend on how they are computed
    limits = np.where(rng.random(distances.shape) < 0.4, distances, distances * rng.uniform(0.5, 1.5, size=distances.shape))
    found = Separations(lattice, a, b, float(limits.max()), same=same).below(limits, ratio=ratio)
    np.testing.assert_array_equal(found, distances / limits < 1.0 if ratio else distances < limits)


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS)
def test_too_close_is_the_smallest_ratio(seed):
    rng = np.random.default_rng(seed)
    lattice, coords, symbols = skewed(rng), rng.random((5, 3)), ["Li", "Li", "P", "S", "S"]
    minima = {(a, b): float(rng.uniform(0.2, 0.8)) for a in LI_P_S for b in LI_P_S}
    ratios = nearest_distances(lattice, coords, coords, same=True) / [[minima[a, b] for b in symbols] for a in symbols]
    assert too_close(lattice, coords, symbols, minima) == (ratios.min() < 1.0)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, number=st.sampled_from([1, 2, 14, 62, 166, 194, 225]))
def test_the_roomiest_orbit(context, seed, number):
    rng = np.random.default_rng(seed)
    cell = Cell.random(context, number, float(rng.uniform(60, 1200)), rng)
    cell.add(["S"] * 3, rng.random((3, 3)))
    for position in positions(number)[:4]:
        images = position.images(np.vstack([rng.random((8, 3)), np.zeros((2, 3))]))
        rooms = cell.room("Li", images)
        best = int(np.argmax(rooms))
        assert cell.roomiest("Li", images) == (best if rooms[best] >= 1.0 else None)


def test_equal_rooms_give_the_first_orbit(context):
    cell = Cell(context, 1, 3.0 * np.eye(3))
    images = np.random.default_rng(0).random((6, 1, 3))
    assert len(set(cell.room("Li", images).tolist())) == 1, "each atom is nearest to its own image"
    assert cell.roomiest("Li", images) == 0
    assert cell.roomiest("P", images) is None or cell.room("P", images)[0] >= 1.0


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("number", [2, 12, 47, 82, 166, 187, 215])
def test_orientations_do_not_depend_on_what_is_left_out(context, monkeypatch, unit, number):
    species, coordinates = UNITS[unit]
    operations = point_operations(species, coordinates)
    rng = np.random.default_rng(number)
    cell = Cell.random(context, number, 300.0, rng)
    sites = [cell.site(p.project(rng.random((1, 3)))[0]) for p in positions(number)[1:]]

    def turns(*, kept: bool) -> list[tuple[bytes | None, float]]:
        found = []
        for k, site in enumerate(sites):
            draws = np.random.default_rng([number, k])
            for _ in range(4):
                turn = orientation(site if kept else Site([h.matrix for h in site.operations]), operations, draws)
                found.append((None if turn is None else turn.tobytes(), draws.random()))
        return found

    quick = turns(kept=True)
    monkeypatch.setattr(Pairing, "hopeful", True)
    if not operations:
        monkeypatch.setattr(Pairing, "contains", lambda *_: False)
    assert quick == turns(kept=False)


def test_a_unit_with_too_few_operations_is_without_hope():
    operations = point_operations(*UNITS["bent"])
    half_turns = [np.diag([1.0, -1.0, -1.0]), np.diag([-1.0, 1.0, -1.0]), np.diag([-1.0, -1.0, 1.0])]
    assert not Pairing(Site(half_turns), operations).hopeful
    assert Pairing(Site(half_turns[:1]), operations).hopeful
    assert not Operation(np.diag([1.0, 1.0, -1.0])).may_be(Operation(np.diag([1.0, -1.0, -1.0])))


@settings(max_examples=40, deadline=None)
@given(seed=SEEDS)
def test_weighted_draws_are_those_of_numpy(seed):
    weights = np.random.default_rng(seed).random(7) ** 3
    one, other = np.random.default_rng(seed), np.random.default_rng(seed)
    for _ in range(5):
        assert weighted(shares(weights), one) == other.choice(7, p=weights / weights.sum())
    assert one.random() == other.random()


def filled(seed: int) -> tuple[np.ndarray, list[str], np.ndarray]:
    rng = np.random.default_rng(seed)
    coords = np.vstack([rng.random((4, 3)), rng.random((2, 3))])
    matrix, symbols = skewed(rng) * 2, ["Li"] * 4 + ["S"] * 2
    if seed % 2:  # a doubled cell, of which the primitive one is half
        coords = np.vstack([coords * [0.5, 1, 1], coords * [0.5, 1, 1] + [0.5, 0, 0]])
        symbols = symbols * 2
    return matrix, symbols, coords


@pytest.mark.parametrize("seed", range(8))
def test_primitive_cells_are_those_of_structures(seed):
    matrix, symbols, coords = filled(seed)
    quick, slow = PrimitiveCell.of(matrix, symbols, coords).structure, primitive(Structure(matrix, symbols, coords))
    assert [s.specie for s in quick] == [s.specie for s in slow]
    assert quick.lattice.matrix.tobytes() == slow.lattice.matrix.tobytes()
    assert quick.frac_coords.tobytes() == slow.frac_coords.tobytes()
    assert len(quick) == 6


@pytest.mark.parametrize("seed", range(6))
def test_coulomb_energies_are_those_of_pymatgen(seed):
    structure = PrimitiveCell.of(*filled(seed)).structure
    charges = np.array([1.0 if s.specie.symbol == "Li" else -2.0 for s in structure])
    structure.add_oxidation_state_by_element({"Li": 1, "S": -2})
    expected = EwaldSummation(structure, acc_factor=6).total_energy
    assert ewald_sum(structure.lattice, structure.frac_coords, charges) == pytest.approx(expected, abs=1e-4)


def test_rock_salt_has_its_madelung_energy():
    cell = Structure.from_spacegroup("Fm-3m", Lattice.cubic(2.0), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    charges = np.array([1.0 if s.specie.symbol == "Na" else -1.0 for s in cell])
    assert ewald_sum(cell.lattice, cell.frac_coords, charges) == pytest.approx(-1.747565 * 14.399645 * 4, rel=2e-5)


def test_the_lowest_placement_is_that_of_pymatgens_energies():
    rng = np.random.default_rng(3)
    matrix = 7.0 * np.eye(3)
    cells = [PrimitiveCell.of(matrix, ["Li"] * 2 + ["S"], rng.random((3, 3))) for _ in range(6)]
    for scaled in (False, True):
        placements = [Placement(c) for c in [*cells, cells[2]]]
        energies = [electrostatic_energy(p.structure) * (p.length if scaled else 1.0) for p in placements]
        assert lowest(placements, scaled=scaled) is placements[int(np.argmin(energies))], "the first of equal ones"
    alone = Placement(cells[0])
    assert lowest([alone]) is alone
    assert "energy" not in vars(alone)
    assert "estimate" not in vars(alone), "one alone needs no energy"
    unknown = [Placement(PrimitiveCell.of(matrix, ["Li", "P"], rng.random((2, 3)))) for _ in range(2)]
    assert lowest(unknown) is unknown[0]


def test_remembered_positions_follow_the_atoms():
    structure = Structure(*(filled(2)[k] for k in (0, 1, 2)))
    atoms = _atoms(structure, tags=False)
    before = atoms.get_scaled_positions()
    before[:] = 7.0  # the caller's own
    changes = (lambda: None, lambda: atoms.rattle(0.2), lambda: atoms.set_cell(atoms.cell * 1.1), lambda: atoms.set_pbc(False))
    for change in changes:
        change()
        np.testing.assert_array_equal(atoms.get_scaled_positions(), super(type(atoms), atoms).get_scaled_positions())
    assert type(atoms.copy()) is type(atoms)
