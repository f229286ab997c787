from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from coevo.analysis.motifs.bond_graphs import fragment_signature, fragments

# Fragments and bonds from the published structures: one P-P bond in P4S6 (beta) and P4S7, three in P4S3, none in P4S10; black and
# fibrous phosphorus are three-fold coordinated; sulfur is S8 rings; Li7P3S11 holds a P2S7 and a PS4.
EXPECTED = {
    "Li bcc": "|",
    "Li2S": "S:1|",
    "Li3P": "P:1|",
    "P black": "P(2D):1|P-P:3/2",
    "P fibrous red (P-1, 42)": "P(1D):1|P-P:3/2",
    "alpha-S8 (Fddd)": "S8:1/8|S-S:1",
    "beta-Li3PS4 (ordered approximant)": "PS4:1|P-S:4",
    "Li7P3S11": "P2S7:1,PS4:1|P-S:12",
    "Li7PS6 (cubic argyrodite model)": "PS4:1,S:2|P-S:4",
    "P2S5 (P4S10)": "P4S10:1/2|P-S:8",
    "P4S3": "P4S3:1|P-P:3,P-S:6",
    "P4S7": "P4S7:1|P-P:1,P-S:12",
}


def test_known_phases(known_phases):
    found = {name: fragment_signature(structure) for name, structure in known_phases.items()}
    assert {name: found[name] for name in EXPECTED} == EXPECTED


def test_p2s6(li2ps3):
    assert fragment_signature(li2ps3) == "P2S6:1/2|P-P:1/2,P-S:3"


@pytest.mark.parametrize(
    ("structure", "dimensions"),
    [
        (Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.431), ["Si"], [[0, 0, 0]]), [3]),
        (Structure.from_spacegroup("P6/mmm", Lattice.hexagonal(2.46, 3.35), ["C"], [[1 / 3, 2 / 3, 0]]), [2]),
        (Structure.from_spacegroup("P3_121", Lattice.hexagonal(4.37, 4.95), ["Se"], [[0.225, 0, 1 / 3]]), [1]),
        (Structure(Lattice.cubic(4), ["N", "N"], [[0, 0, 0], [1.1 / 4, 0, 0]]), [0]),
    ],
)  # fmt: skip
def test_periodicity(structure, dimensions):
    assert [fragment.dimension for fragment in fragments(structure)] == dimensions


def test_a_molecule_across_the_cell_border_is_one(known_phases):
    shifted = known_phases["P4S3"].copy()
    shifted.translate_sites(range(len(shifted)), [0.37, 0.41, 0.13])
    assert fragment_signature(shifted) == EXPECTED["P4S3"]
    assert sorted(len(fragment.atoms) for fragment in fragments(shifted)) == [7] * 8


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(sorted(EXPECTED)),
    seed=st.integers(0, 2**31),
    cell=st.sampled_from(
        [np.diag([2, 1, 1]), np.diag([1, 1, 3]), [[1, 1, 0], [0, 1, 0], [0, 0, 1]], [[1, 1, 0], [-1, 1, 0], [0, 0, 1]]]
    ),
)
def test_invariant_to_setting(known_phases, move, name, seed, cell):
    structure = known_phases[name]
    if len(structure) > 60:
        structure = structure.get_primitive_structure()
    changed = move(structure.make_supercell(cell, in_place=False), np.random.default_rng(seed))
    assert fragment_signature(changed) == EXPECTED[name]
