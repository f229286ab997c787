from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.core.structure_matcher import OrderDisorderElementComparator, StructureMatcher

from coevo.analysis.cell_reduction import Crystal
from coevo.analysis.comparison.disordered_matching import can_mix, mixed, mixing_groups
from coevo.analysis.comparison.matching import Matching
from coevo.analysis.comparison.uniqueness import Item, find_representatives

LI, P, S, CL, CU, AU, NA, NE = 3, 15, 16, 17, 29, 79, 11, 10
DISORDERED = Matching(fragment_veto=False, kind="disordered")


def test_which_elements_mix():
    """Radii within 30 % of their mean and electronegativities within 1.0."""
    assert can_mix(P, S)
    assert can_mix(S, P)
    assert can_mix(S, CL)
    assert can_mix(CU, AU)
    assert not can_mix(LI, S)
    assert not can_mix(NA, CL)
    assert not can_mix(NE, S)
    assert mixing_groups(frozenset({LI, P, S, CL})) == [(P, S, CL)]
    assert mixing_groups(frozenset({LI, S})) == []


def test_mixed_crystals_keep_their_composition(li3ps4):
    spread = mixed(Crystal.from_structure(li3ps4))
    assert spread is not None
    assert not spread.is_ordered
    assert spread.composition.almost_equals(li3ps4.composition)
    assert mixed(Crystal.from_structure(Structure(Lattice.cubic(4.0), ["Li", "S"], [[0, 0, 0], [0.5, 0.5, 0.5]]))) is None


def cu_au(order: list[str]) -> Structure:
    """The four sites of an fcc cell."""
    return Structure(Lattice.cubic(3.9), order, [[0, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]])


def test_orderings_of_one_alloy_are_one():
    """CuAu (L1_0) and the same fcc sites filled in another order in a doubled cell."""
    layered = cu_au(["Cu", "Cu", "Au", "Au"])
    doubled = layered.make_supercell([2, 1, 1], in_place=False)
    symbols = [site.specie.symbol for site in doubled]
    one, other = symbols.index("Cu"), symbols.index("Au")
    doubled.replace(one, "Au")
    doubled.replace(other, "Cu")
    items = [Item("a", layered, 0.0), Item("b", doubled, 1.0), Item("c", cu_au(["Cu", "Cu", "Cu", "Au"]), 2.0)]
    assert find_representatives(items, [], Matching(fragment_veto=False)) == {"a": "a", "b": "b", "c": "c"}
    assert find_representatives(items, [], DISORDERED) == {"a": "a", "b": "a", "c": "c"}


@pytest.mark.parametrize("seed", range(4))
def test_equals_pymatgen(seed):
    """Random decorations of one lattice by P and S: the answer of StructureMatcher on the ordered and then the mixed crystal."""
    rng = np.random.default_rng(seed)
    places = rng.random((6, 3))
    lattice = Lattice.from_parameters(5.0, 5.6, 6.1, 88, 95, 101)
    crystals = [Structure(lattice, ["Li", "Li", *rng.permutation(["P", "P", "S", "S"])], places) for _ in range(4)]
    plain = StructureMatcher()
    loose = StructureMatcher(attempt_supercell=True, allow_subset=True, comparator=OrderDisorderElementComparator())
    expected: dict[str, str] = {}
    representatives: list[int] = []
    for k, crystal in enumerate(crystals):
        for known in representatives:
            half = crystals[known].copy()
            half.replace_species({"P": {"P": 0.5, "S": 0.5}, "S": {"P": 0.5, "S": 0.5}})
            if plain.fit(crystals[known], crystal) or loose.fit(half, crystal):
                expected[str(k)] = str(known)
                break
        else:
            representatives.append(k)
            expected[str(k)] = str(k)
    items = [Item(str(k), crystal, float(k)) for k, crystal in enumerate(crystals)]
    assert find_representatives(items, [], DISORDERED) == expected
    assert set(expected.values()) == {"0"}
    assert len(set(find_representatives(items, [], Matching(fragment_veto=False)).values())) > 1
