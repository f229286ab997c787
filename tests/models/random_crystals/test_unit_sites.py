"""Units on special positions: which groups and sites are drawn, seen by spglib, and that a cell holds what was asked for."""

from __future__ import annotations

from collections import Counter
from functools import lru_cache

import numpy as np
import pytest
import spglib
from generator_contract import LI_P_S, li_p_s_examples, same_sample
from pymatgen.core import Lattice, Structure
from pyxtal.symmetry import Group

from coevo.configs.section import identifying, recorded
from coevo.configs.tree import GeneratorConfig
from coevo.models.contracts import Conditions, Example
from coevo.models.random_crystals import packing
from coevo.models.random_crystals.context import SamplingContext
from coevo.models.random_crystals.generator import EmbeddedGenerator
from coevo.models.random_crystals.geometry import RejectedDrawError
from coevo.models.random_crystals.knowledge import Unit
from coevo.models.random_crystals.space_groups import centring, order, positions
from coevo.models.random_crystals.unit_sites import HIGHEST_ORDER, draw_group, fewest_orbits, site_kinds, special_positions

TETRAHEDRON = Unit(
    formula="P1S4",
    species=("P", "S", "S", "S", "S"),
    coordinates=((0.0, 0.0, 0.0), (1.2, 1.2, 1.2), (1.2, -1.2, -1.2), (-1.2, 1.2, -1.2), (-1.2, -1.2, 1.2)),
    bins=(1, 0, 0, 0, 0, 0, 0, 0, 0),
    source="ideal",
)
PAIR = Unit(formula="S2", species=("S", "S"), coordinates=((0, 0, 1.0), (0, 0, -1.0)), bins=TETRAHEDRON.bins, source="ideal")


@lru_cache(maxsize=2)
def context(unit_sites: str = "special") -> SamplingContext:
    generator = EmbeddedGenerator.initial(GeneratorConfig(unit_sites=unit_sites)).fit(li_p_s_examples(), 0)[0]
    return SamplingContext(generator.knowledge, Conditions(LI_P_S, max_atoms=16, compositions=("Li3PS4",)))


def site_symmetries(structure: Structure, symbol: str) -> list[str]:
    """Of the atoms of an element, by spglib."""
    cell = (structure.lattice.matrix, structure.frac_coords, [site.specie.Z for site in structure])
    found = spglib.get_symmetry_dataset(cell, symprec=0.05)
    return [found.site_symmetry_symbols[k] for k, site in enumerate(structure) if site.specie.symbol == symbol]


@lru_cache(maxsize=1)
def packed() -> tuple[tuple[Structure, dict], ...]:
    rng, found = np.random.default_rng(4), []
    while len(found) < 12:
        try:
            structure, origin = packing.draw_packing(context(), rng)
            context().check(structure)
        except RejectedDrawError:
            continue
        found.append((structure, origin))
    return tuple(found)


def test_units_lie_on_mirror_planes_and_axes():
    special = [any(s.strip(".") != "1" for s in site_symmetries(structure, "P")) for structure, _ in packed()]
    assert np.mean(special) >= 0.8


def test_groups_are_of_low_order_and_hold_all_atoms():
    for structure, origin in packed():
        number = origin["space_group"]
        assert 2 <= order(number) // centring(number) <= HIGHEST_ORDER
        assert structure.composition.reduced_formula == "Li3PS4"
        found = spglib.get_symmetry(
            (structure.lattice.matrix, structure.frac_coords, [s.specie.Z for s in structure]), symprec=0.01
        )
        assert len(found["rotations"]) >= order(number) / centring(number)


@pytest.mark.parametrize("number", [2, 6, 11, 26, 31, 36, 62, 82, 166, 216])
def test_operations_of_sites_are_those_of_the_tables(number):
    """The order of a site's group times the multiplicity is the order of the group; PyXtal names the site."""
    kinds = site_kinds(number)
    for position, kind, listed in zip(positions(number), kinds, Group(number), strict=True):
        assert (len(kind) + 1) * position.multiplicity == order(number)
        listed.get_site_symmetry()
        name = listed.site_symm.replace(".", "").strip()
        if name == "m":
            assert kind == ((1, -1),), "a mirror: trace 1, determinant -1"
        if name == "-1":
            assert kind == ((-3, -1),)
        if name == "2":
            assert kind == ((-1, 1),)


def test_a_tetrahedron_goes_where_its_symmetry_lets_it():
    labels = {positions(11)[k].label for k in special_positions(TETRAHEDRON, 11, 2)}
    assert labels == {"2e"}, "P2_1/m: the mirror, not the inversion centres 2a to 2d"
    assert special_positions(TETRAHEDRON, 14, 4) == [], "P2_1/c has inversion centres only"
    assert {positions(31)[k].label for k in special_positions(TETRAHEDRON, 31, 2)} == {"2a"}
    # a group of -43m: the whole symmetry of the tetrahedron, at the vertices of the F cell
    assert {"4a", "4b", "4c", "4d"} <= {positions(216)[k].label for k in special_positions(TETRAHEDRON, 216, 4)}


def test_orbits_that_copies_need():
    assert fewest_orbits(TETRAHEDRON, 31, 2) == 1
    assert fewest_orbits(TETRAHEDRON, 6, 2) == 2, (
        "Pm: two on mirrors, or one pair on a general position, of which special ones go first"
    )
    assert fewest_orbits(TETRAHEDRON, 11, 1) == 0, "no position of P2_1/m has one place"
    assert fewest_orbits(TETRAHEDRON, 11, 4) == 2


def test_one_orbit_is_preferred():
    rng = np.random.default_rng(0)
    drawn = Counter(draw_group(context(), [TETRAHEDRON] * 2, {"Li": 6, "P": 2, "S": 8}, rng) for _ in range(300))
    one = sum(n for number, n in drawn.items() if fewest_orbits(TETRAHEDRON, number, 2 * centring(number)) == 1)
    assert one > 0.7 * 300
    assert len(drawn) > 10
    assert {11, 26, 31} <= set(drawn), "P2_1/m, Pmc2_1, Pmn2_1"


def test_units_that_no_group_of_low_order_holds():
    with pytest.raises(RejectedDrawError, match="no_space_group"):
        draw_group(context(), [PAIR], {"S": 2, "Li": 1}, np.random.default_rng(0))


def test_samples_with_special_positions_are_reproducible_and_have_keys_of_their_own():
    special, plain = GeneratorConfig(unit_sites="special"), GeneratorConfig()
    for described in (recorded, identifying):
        assert described(special)["unit_sites"] == "special"
        assert "unit_sites" not in described(plain)
    generator = EmbeddedGenerator.initial(special).fit(li_p_s_examples(), 0)[0]
    conditions = Conditions(LI_P_S, max_atoms=12)
    assert same_sample(generator.sample(6, conditions, 1), generator.sample(6, conditions, 1))


def test_other_chemistry():
    """Nothing knows Li, P or S: tetrahedra of sulfate, learned from one model crystal."""
    x = 1.48 / 3**0.5 / 7.0
    model = Structure.from_spacegroup(
        "F-43m", Lattice.cubic(7.0), ["S", "O", "Na", "Na"], [[0, 0, 0], [x, x, x], [0.25, 0.25, 0.25], [0.75, 0.75, 0.75]]
    )
    generator = EmbeddedGenerator.initial(GeneratorConfig(unit_sites="special", unit_fraction=1.0, variation_fraction=0.0))
    fitted = generator.fit([Example("model", model, 0.0)], 0)[0]
    assert [u.formula for u in fitted.knowledge.units] == ["O4S1"]
    sample = fitted.sample(6, Conditions(("Na", "S", "O"), max_atoms=28, compositions=("Na2SO4",)), 0)
    on_special = [any(s.strip(".") != "1" for s in site_symmetries(c.structure, "S")) for c in sample.candidates]
    assert sum(c.origin["operator"] == "units" for c in sample.candidates) == 6
    assert np.mean(on_special) > 0.6
