from __future__ import annotations

import numpy as np
from pymatgen.core.structure_matcher import StructureMatcher

from coevo.analysis.comparison.matching import Matching
from coevo.analysis.comparison.uniqueness import Item, match_references


def test_finds_the_known_phases_and_nothing_else(known_phases, random_crystals, vary):
    rng = np.random.default_rng(4)
    references = [Item(name, s, -1.0) for name, s in known_phases.items() if len(s) <= 32]
    known = [Item(f"copy of {r.id}", vary(r.structure, rng), 0.0) for r in references]
    novel = [Item(f"random {i}", structure, 0.0) for i, structure in enumerate(random_crystals[:30])]
    found = match_references([*known, *novel], references, Matching(fragment_veto=False))
    assert {item.id: found[item.id] for item in known} == {item.id: item.id.removeprefix("copy of ") for item in known}
    matcher = StructureMatcher(ltol=0.2, stol=0.3, angle_tol=5)
    for item in novel:
        expected = [r.id for r in references if matcher.fit(r.structure, item.structure)]
        assert found[item.id] == (expected[0] if expected else None)


def test_the_lowest_matching_reference_is_named(li2s, li3ps4):
    references = [Item("b", li2s, -1.0), Item("c", li2s, -2.0), Item("a", li2s, -2.0), Item("d", li3ps4, -9.0)]
    items = [Item("x", li2s, 0.0), Item("y", li2s.copy(), 0.0)]
    for order in (references, references[::-1]):
        assert match_references(items, order, Matching()) == {"x": "a", "y": "a"}


def test_no_references(li2s):
    assert match_references([Item("x", li2s, 0.0)], [], Matching()) == {"x": None}
