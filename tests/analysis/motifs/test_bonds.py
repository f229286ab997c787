"""The bond rule and the report on its cut-offs, against pymatgen's neighbours of each pair of elements."""

from __future__ import annotations

import numpy as np
import pytest
from ase.data import atomic_numbers, covalent_radii
from pymatgen.analysis.local_env import CutOffDictNN
from pymatgen.core import Lattice, Structure

from coevo.analysis.cell_reduction import Crystal
from coevo.analysis.motifs.bond_tolerance import tolerance
from coevo.analysis.motifs.bonds import BOND_CUTOFFS, DEFAULT_RULE, BondRule, bonds_of
from coevo.analysis.motifs.motifs import motifs_of
from coevo.errors import AnalysisError

# What the docstring of coevo.analysis.motifs.bonds says: longest bond, next distance, Å.
GAPS = {"P-S": (2.20, 3.34), "P-P": (2.39, 3.04), "S-S": (2.06, 3.12)}


def pair_distances(structures, pair):
    """All distances of a pair up to 4 Å, by pymatgen."""
    a, b = pair.split("-")
    found = []
    for structure in structures:
        first, second, _, distance = structure.get_neighbor_list(4.0)
        symbols = np.array([site.specie.symbol for site in structure])
        found.append(distance[(symbols[first] == a) & (symbols[second] == b)])
    return np.sort(np.concatenate(found))


@pytest.mark.parametrize("pair", GAPS)
def test_cutoffs_are_in_the_middle_of_the_gaps_of_the_known_phases(known_phases, pair):
    distances = pair_distances(known_phases.values(), pair)
    cutoff = DEFAULT_RULE.cutoff(*pair.split("-"))
    longest, following = distances[distances < cutoff].max(), distances[distances >= cutoff].min()
    assert (round(longest, 2), round(following, 2)) == pytest.approx(GAPS[pair], abs=0.011)
    assert cutoff == pytest.approx(np.sqrt(longest * following), abs=0.026)
    # and nothing is within 10 % of it
    assert longest < 0.9 * cutoff
    assert following > 1.1 * cutoff


def test_other_pairs_are_bonded_below_1_25_sums_of_covalent_radii():
    for a, b in (("Si", "O"), ("C", "H"), ("S", "O"), ("As", "Se")):
        expected = 1.25 * (covalent_radii[atomic_numbers[a]] + covalent_radii[atomic_numbers[b]])
        assert DEFAULT_RULE.cutoff(a, b) == pytest.approx(expected)
        assert DEFAULT_RULE.cutoff(b, a) == DEFAULT_RULE.cutoff(a, b)


def test_bonds_are_those_of_pymatgens_cutoffs(known_phases, random_crystals, li2ps3):
    near = CutOffDictNN({(a, b): length for a, b, length in BOND_CUTOFFS})
    count = 0
    for structure in [*known_phases.values(), *random_crystals[:40], li2ps3]:
        bonds = bonds_of(Crystal.from_structure(structure))
        ours = sorted(zip(bonds.first.tolist(), bonds.second.tolist(), map(tuple, bonds.image.tolist()), strict=True))
        theirs = sorted(
            (site, found["site_index"], tuple(int(x) for x in found["image"]))
            for site in range(len(structure))
            for found in near.get_nn_info(structure, site)
        )
        assert ours == theirs
        count += len(ours)
    assert count > 900


def test_a_user_may_change_pairs():
    rule = DEFAULT_RULE.with_pairs(["S-P=2.5", "O-Si = 1.8"])
    assert (rule.cutoff("P", "S"), rule.cutoff("Si", "O"), rule.cutoff("P", "P")) == (2.5, 1.8, 2.7)
    assert rule.scaled(1.1).cutoff("S", "P") == pytest.approx(2.75)
    assert rule.with_pairs(["P-S=2.7"]) == DEFAULT_RULE.with_pairs(["Si-O=1.8"])
    assert hash(rule) == hash(DEFAULT_RULE.with_pairs(["O-Si=1.8", "P-S=2.5"]))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("P-S", "two non-metals and a length"),
        ("PS=2.5", "two non-metals and a length"),
        ("P-S-S=2.5", "two non-metals and a length"),
        ("P-Xx=2", "'Xx' is no element"),
        ("Li-S=2.5", "Li is a metal"),
        ("P-S=long", "'long' is no number"),
        ("P-S=nan", "not between"),
        ("P-S=25", "not between"),
        ("P-S=-1", "not between"),
    ],
)
def test_bad_pairs(text, why):
    with pytest.raises(AnalysisError, match=why):
        DEFAULT_RULE.with_pairs([text])


def test_metals_are_not_bonded_and_empty_is_no_error():
    iron = Structure(Lattice.cubic(2.87), ["Fe", "Fe"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    assert len(bonds_of(Crystal.from_structure(iron)).first) == 0
    assert motifs_of(iron) == []
    assert tolerance([iron]).pairs == ()
    assert tolerance([]).structures == 0


def dumbbell(length):
    return Structure(Lattice.cubic(12), ["S", "S"], [[0, 0, 0], [0, 0, length / 12]])


def test_tolerance_counts_what_lies_near():
    # 2.55 Å: bonds at 2.0, 2.45 (4 % below) and 2.35 (8 %); others at 2.6 (2 % above) and 3.0
    report = tolerance([dumbbell(length) for length in (2.0, 2.45, 2.35, 2.6, 3.0)])
    (pair,) = report.pairs
    assert (pair.pair, pair.cutoff, pair.bonds) == ("S-S", 2.55, 3)
    assert (pair.longest_bond, pair.shortest_other) == (pytest.approx(2.45), pytest.approx(2.6))
    assert (pair.within_5_percent, pair.within_10_percent) == (2, 3)
    assert (report.structures, report.changed_shorter, report.changed_longer) == (5, 1, 1)


def test_changed_motifs_are_those_that_other_cutoffs_change(random_crystals, known_phases):
    structures = [*random_crystals, *known_phases.values()]
    report = tolerance(structures)

    def labels(structure, rule):
        return [(motif.label, motif.units) for motif in motifs_of(structure, rule)]

    for factor, changed in ((0.95, report.changed_shorter), (1.05, report.changed_longer)):
        rule = DEFAULT_RULE.scaled(factor)
        assert changed == sum(labels(structure, rule) != labels(structure, DEFAULT_RULE) for structure in structures) > 0
    assert tolerance(known_phases.values()).changed_longer == 0


@pytest.mark.long
def test_the_report_does_not_depend_on_workers(random_crystals):
    many = random_crystals * 4
    assert tolerance(many, workers=2) == tolerance(many)


def test_no_cutoffs_of_its_own_is_the_rule_of_radii():
    assert BondRule(cutoffs=()).cutoff("P", "S") == pytest.approx(1.25 * (1.07 + 1.05))
