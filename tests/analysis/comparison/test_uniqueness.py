from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Structure
from pymatgen.core.structure_matcher import StructureMatcher

from coevo.analysis.comparison.matching import Matching
from coevo.analysis.comparison.uniqueness import Item, find_representatives, in_order
from coevo.analysis.motifs.bond_graphs import fragment_signature

PLAIN = Matching(fragment_veto=False)


def as_items(structures, seed=0) -> list[Item]:
    energies = np.random.default_rng(seed).normal(-4, 0.1, len(structures))
    return [Item(f"s{i:03d}", structure, float(e)) for i, (structure, e) in enumerate(zip(structures, energies, strict=True))]


def pymatgen_groups(items: list[Item]) -> dict[str, str]:
    """First members of StructureMatcher's groups, on the order by energy."""
    ordered = in_order(items)
    names = {id(item.structure): item.id for item in ordered}
    matcher = StructureMatcher(ltol=0.2, stol=0.3, angle_tol=5)
    groups = matcher.group_structures([item.structure for item in ordered])
    return {names[id(member)]: names[id(group[0])] for group in groups for member in group}


@pytest.fixture(scope="module")
def crowd(random_crystals, known_phases, vary) -> list[Item]:
    """Random crystals and their variants, and the smaller known phases with variants of theirs."""
    rng = np.random.default_rng(11)
    small = [structure for structure in known_phases.values() if len(structure) <= 32]
    return as_items([*random_crystals, *small, *(vary(structure, rng) for structure in small * 2)])


def test_equals_group_structures(crowd):
    found = find_representatives(crowd, [], PLAIN)
    assert found == pymatgen_groups(crowd)
    # The test says nothing unless some match and some of one formula do not.
    assert 30 < len(set(found.values())) < len(crowd) - 30


def test_order_of_items_does_not_matter(crowd):
    shuffled = [crowd[i] for i in np.random.default_rng(1).permutation(len(crowd))]
    assert find_representatives(shuffled, [], Matching()) == find_representatives(crowd, [], Matching())


def test_existing_entries_stay_representatives(crowd):
    alone = find_representatives(crowd, [], PLAIN)
    unique = [item for item in crowd if alone[item.id] == item.id]
    existing = [Item(f"known-{item.id}", item.structure, 100.0) for item in unique]
    assert set(find_representatives(crowd, existing, PLAIN).values()) <= {entry.id for entry in existing}
    twins = [Item("known-1", unique[0].structure, 1.0), Item("known-2", unique[0].structure, 0.0)]
    assert find_representatives([unique[0]], twins, PLAIN) == {unique[0].id: "known-1"}


def test_an_item_that_is_an_entry_is_itself(li2s, li3ps4):
    existing = [Item("other", li2s, 0.0), Item("same", li2s, 0.0)]
    items = [Item("same", li2s, 0.0), Item("new", li3ps4, 0.0), Item("new", li3ps4, 0.0)]
    assert find_representatives(items, existing, PLAIN) == {"same": "same", "new": "new"}


def test_the_lowest_in_energy_represents(li2s, move):
    rng = np.random.default_rng(2)
    items = [Item(name, move(li2s, rng), energy) for name, energy in (("a", -4.0), ("b", -4.2), ("c", -4.2), ("d", -4.1))]
    assert find_representatives(items, [], Matching()) == dict.fromkeys("abcd", "b")


def test_fragment_veto(li2ps3):
    """A P-P bond stretched to 2.9 Å is no bond; the matcher alone sees the same crystal."""
    structure = li2ps3.copy()
    stretched = structure.copy()
    for index, site in enumerate(structure):
        if site.specie.symbol == "P":
            z = 1.45 / structure.lattice.c
            stretched.replace(index, "P", [0, 0, z if site.frac_coords[2] < 0.5 else 1 - z])
    assert fragment_signature(structure) != fragment_signature(stretched)
    items = [Item("bonded", structure, 0.0), Item("stretched", stretched, 1.0)]
    assert find_representatives(items, [], PLAIN)["stretched"] == "bonded"
    assert find_representatives(items, [], Matching())["stretched"] == "stretched"


def test_the_veto_only_splits(crowd):
    free, vetoed = find_representatives(crowd, [], PLAIN), find_representatives(crowd, [], Matching())
    structures = {item.id: item.structure for item in crowd}
    for item, representative in vetoed.items():
        assert fragment_signature(structures[item]) == fragment_signature(structures[representative])
    assert len(set(vetoed.values())) >= len(set(free.values()))


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31), name=st.sampled_from(["Li2S", "Li3P", "P black", "Li bcc"]))
def test_the_same_crystal_matches_in_every_setting(known_phases, move, seed, name):
    structure = known_phases[name]
    rng = np.random.default_rng(seed)
    changed = move(structure.make_supercell([[1, 0, 0], [1, 1, 0], [0, 0, int(rng.integers(1, 3))]], in_place=False), rng)
    items = [Item("a", structure, 0.0), Item("b", changed, 1.0)]
    assert find_representatives(items, [], Matching()) == {"a": "a", "b": "a"}


def test_tolerances_are_used(li2s):
    primitive = li2s.get_primitive_structure()
    shaken = primitive.copy()
    shaken.perturb(0.3, seed=1)
    items = [Item("a", primitive, 0.0), Item("b", shaken, 1.0)]
    assert find_representatives(items, [], Matching())["b"] == "a"
    assert find_representatives(items, [], Matching(stol=0.05))["b"] == "b"


def test_progress_counts_every_item(crowd):
    steps: list[int] = []
    find_representatives([*crowd[:20], crowd[21]], crowd[20:25], Matching(), progress=steps.append)
    assert sum(steps) == 21


def test_nothing():
    assert find_representatives([], [], Matching()) == {}


def test_site_properties_do_not_count(li2s):
    loaded = Structure(li2s.lattice, li2s.species, li2s.frac_coords, site_properties={"magmom": np.arange(12.0)})
    assert find_representatives([Item("a", loaded, 0.0), Item("b", li2s, 1.0)], [], Matching())["b"] == "a"
