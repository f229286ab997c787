"""Rediscovery against pymatgen's StructureMatcher, and the rules by which matches, misses and motifs are told."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from coevo.analysis.comparison.matching import Matching
from coevo.analysis.comparison.rediscovery import (
    Carrier,
    Displacement,
    Found,
    MotifReturn,
    Rediscovery,
    StructureMatch,
    best_match,
    displacement,
    lowest,
    match_targets,
    motif_returns,
    summary_line,
)
from coevo.analysis.comparison.uniqueness import Item
from coevo.analysis.motifs.bond_graphs import fragment_signature
from crystal_piles import displaced

MATCHING = Matching()


def items(structures: dict[str, Structure]) -> list[Item]:
    return [Item(name, structure, 0.0) for name, structure in structures.items()]


def small(known_phases: dict[str, Structure]) -> dict[str, Structure]:
    return {name: s for name, s in known_phases.items() if len(s) <= 32}


def test_matches_are_those_of_pymatgens_matcher_with_the_veto(known_phases) -> None:
    targets = small(known_phases)
    entries = {
        f"{name} {stdev}": displaced(s, stdev, seed)
        for seed, (name, s) in enumerate(targets.items())
        for stdev in (0.02, 0.15, 0.4)
    }
    found = match_targets(items(targets), items(entries), MATCHING)
    matcher = StructureMatcher()
    for name, target in targets.items():
        expected = [
            other
            for other, entry in entries.items()
            if matcher.fit(target, entry) and fragment_signature(target) == fragment_signature(entry)
        ]
        assert found[name] == expected
        assert f"{name} 0.02" in expected
    # what is far away is not called a match
    assert sum(map(len, found.values())) < len(entries)


def test_one_entry_may_be_two_targets(li2s: Structure) -> None:
    targets = items({"a": li2s, "b": displaced(li2s, 0.02, 1), "c": li2s.copy().scale_lattice(1.2 * li2s.volume)})
    entry = items({"x": displaced(li2s, 0.03, 2)})
    assert match_targets(targets, entry, MATCHING) == {"a": ["x"], "b": ["x"], "c": ["x"]}


def test_without_entries_of_its_formula_a_target_has_no_match(li2s: Structure, li3ps4: Structure) -> None:
    assert match_targets(items({"a": li2s}), items({"x": li3ps4}), MATCHING) == {"a": []}
    assert match_targets(items({"a": li2s}), [], MATCHING) == {"a": []}


@given(
    order=st.permutations(range(6)),
    cell=st.sampled_from([(1, 1, 1), (2, 1, 1), (1, 2, 1)]),
    shift=st.floats(0, 1, exclude_max=True),
)
@settings(max_examples=10, deadline=None)
def test_cells_origins_and_order_do_not_matter(order: list[int], cell: tuple[int, int, int], shift: float) -> None:
    target = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.71), ["Li", "S"], [[0.25, 0.25, 0.25], [0, 0, 0]])
    entries = {f"{stdev}": displaced(target.get_primitive_structure(), stdev, 3) for stdev in (0.0, 0.02, 0.05, 0.1, 0.5, 0.9)}
    moved = {}
    for number in order:
        name, structure = list(entries.items())[number]
        other = structure.make_supercell(cell, in_place=False)
        other.translate_sites(range(len(other)), [shift, 0.3, 0.1])
        moved[name] = other
    expected = match_targets(items({"t": target}), items(entries), MATCHING)["t"]
    assert set(match_targets(items({"t": target}), items(moved), MATCHING)["t"]) == set(expected)
    assert {"0.0", "0.02"} <= set(expected) < set(entries)


def test_a_displacement_is_that_of_pymatgen(known_phases) -> None:
    matcher = StructureMatcher()
    for seed, structure in enumerate(small(known_phases).values()):
        entry = displaced(structure, 0.05, seed)
        entry.scale_lattice(1.06 * entry.volume)
        rms, largest = matcher.get_rms_dist(structure, entry)
        found = displacement(structure, entry, MATCHING)
        assert (found.rms, found.largest) == (pytest.approx(rms, rel=1e-12), pytest.approx(largest, rel=1e-12))
        per_atom = structure.volume / len(structure)
        assert found.rms_angstrom == pytest.approx(rms * (per_atom * np.sqrt(1.06)) ** (1 / 3), rel=1e-9)
        assert found.volume_ratio == pytest.approx(1.06)


def test_a_displacement_known_by_hand() -> None:
    """Of two atoms one moves by 0.1 Å: without the common translation each is 0.05 Å from its place."""
    rocksalt = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.2), ["Li", "S"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    target = rocksalt.get_primitive_structure()
    entry = target.copy()
    entry.translate_sites([0], [0.1, 0.0, 0.0], frac_coords=False)
    found = displacement(target, entry, MATCHING)
    assert found.rms_angstrom == pytest.approx(0.05, rel=1e-6)
    assert found.rms == pytest.approx(0.05 / (5.2**3 / 8) ** (1 / 3), rel=1e-6)
    assert found.largest == pytest.approx(found.rms, rel=1e-6)


def test_a_displacement_of_what_does_not_match_is_none(li2s: Structure, li3ps4: Structure) -> None:
    assert displacement(li2s, li3ps4, MATCHING) is None


def entry(name: str, iteration: int = 1, energy: float = 0.0) -> Found:
    return Found(name, "Li2S", iteration, energy)


def moved(rms: float) -> Displacement:
    return Displacement(rms, 2.0 * rms, rms, 1.0)


def test_the_best_match_is_the_nearest_and_ties_go_by_iteration_then_id() -> None:
    near, far, unknown = (
        StructureMatch(entry("a", 4), moved(0.01)),
        StructureMatch(entry("b", 1), moved(0.2)),
        StructureMatch(entry("c", 1), None),
    )
    assert best_match([unknown, far, near]) is near
    assert best_match([unknown]) is unknown
    assert best_match([]) is None
    early, late, later = (StructureMatch(entry(name, it), moved(0.1)) for name, it in (("z", 1), ("a", 2), ("b", 2)))
    assert best_match([later, late, early]) is early
    assert best_match([later, late]) is late


def test_the_nearest_miss_has_the_lowest_energy() -> None:
    assert lowest([entry("a", energy=0.3), entry("c", energy=0.1), entry("b", energy=0.1)]).id == "b"
    assert lowest([]) is None


def test_motifs_are_found_by_label_in_any_composition_and_in_the_targets() -> None:
    target = Carrier("Li3PS4", 0, {"ps4": "PS4", "s": "S (bare)", "p": "P (bare)"})
    entries = [
        Carrier("Li7PS6", 3, {"ps4": "PS4", "s": "S (bare)"}),
        Carrier("Li2S", 1, {"s": "S (bare)"}),
        Carrier("Li3PS4", 5, {"ps4": "PS4"}),
        # another motif of the same name is another motif
        Carrier("Li3P", 2, {"other": "P (bare)"}),
    ]
    assert motif_returns(target, entries) == (
        MotifReturn("P (bare)", 0, None, 0, None),
        MotifReturn("PS4", 2, 3, 1, 5),
        MotifReturn("S (bare)", 2, 1, 0, None),
    )


def row(name: str, found: bool, motifs: tuple[MotifReturn, ...] | None) -> Rediscovery:
    best = StructureMatch(entry("e", 2), moved(0.02)) if found else None
    return Rediscovery(
        name,
        "a paper",
        "Li2S",
        3,
        None,
        None,
        "",
        int(found),
        2 if found else None,
        best,
        4,
        None if found else entry("m"),
        motifs,
    )


def test_a_row_is_plain_json() -> None:
    found = row("Li2S", True, (MotifReturn("S (bare)", 3, 1, 2, 2),)).to_dict()
    assert json.loads(json.dumps(found, allow_nan=False)) == {
        "name": "Li2S",
        "source": "a paper",
        "formula": "Li2S",
        "nsites": 3,
        "reference": None,
        "energy_above_hull": None,
        "note": "",
        "matches": 1,
        "first_iteration": 2,
        "best": {
            "entry": {"id": "e", "formula": "Li2S", "iteration": 2, "energy_above_hull": 0.0},
            "displacement": {"rms": 0.02, "rms_angstrom": 0.04, "largest": 0.02, "volume_ratio": 1.0},
        },
        "entries_of_formula": 4,
        "nearest": None,
        "motifs": [
            {
                "motif": "S (bare)",
                "entries": 3,
                "first_iteration": 1,
                "entries_of_formula": 2,
                "first_iteration_of_formula": 2,
            }
        ],
        "by_structure": True,
        "by_motif": True,
    }


def test_the_summary_counts_structures_and_motifs_apart() -> None:
    there, away = MotifReturn("PS4", 2, 1, 0, None), MotifReturn("P2S7", 0, None, 0, None)
    rows = [row("a", True, (there,)), row("b", False, (there,)), row("c", False, (there, away))]
    assert [r.by_motif for r in rows] == [True, True, False]
    assert summary_line(rows) == "1 of 3 withheld phases came back by structure, 2 of 3 by motif"
    metal = row("Li", True, ())
    assert metal.by_motif is None
    assert summary_line([*rows, metal]) == (
        "2 of 4 withheld phases came back by structure, 2 of 3 by motif (the others have no non-metal motif)"
    )
    assert summary_line([row("a", True, None)]) == "1 of 1 withheld phases came back by structure"
    assert summary_line([]) == "no withheld phases"
