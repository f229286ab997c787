"""Motifs of the known phases and of hand-made ones, in any cell; pymatgen finds the same pieces in the same bond graph."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from math import cos, radians, sin

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.analysis.dimensionality import get_structure_components
from pymatgen.analysis.graphs import StructureGraph
from pymatgen.core import Lattice, Structure

from built_motifs import boxed, built
from coevo.analysis.cell_reduction import Crystal
from coevo.analysis.motifs.bonds import DEFAULT_RULE, bonds_of
from coevo.analysis.motifs.motifs import motifs_of, unbalanced_charge

# From the published structures: names, charges, and pieces (of endless ones: formula units) per cell.
KNOWN_PHASES = {
    "Li bcc": {},
    "Li2S": {("S (bare)", -2): 1},
    "P black": {("P layer (black P)", 0): 4},
    "Li3P": {("P (bare)", -3): 2},
    "P2S5 (P4S10)": {("P4S10 cage", 0): 2},
    "beta-Li3PS4 (ordered approximant)": {("PS4", -3): 4},
    "alpha-S8 (Fddd)": {("S8 ring", 0): 4},
    "S mp-96-like (P2/c,32)": {("S8 ring", 0): 4},
    "P4S6 (P2S3)": {("P4S6 cage (5 bridges)", 0): 4},
    "Li7P3S11": {("P2S7", -4): 2, ("PS4", -3): 2},
    "P4S7": {("P4S7 cage", 0): 4},
    "Li7PS6 (cubic argyrodite model)": {("PS4", -3): 4, ("S (bare)", -2): 8},
    "P4S3": {("P4S3 cage", 0): 8},
}


def found_in(structure, **options):
    return {(motif.name, motif.charge): motif.units for motif in motifs_of(structure, **options)}


def only(structure):
    (motif,) = motifs_of(structure)
    return motif


def test_known_phases(known_phases):
    assert {name: found_in(known_phases[name]) for name in KNOWN_PHASES} == KNOWN_PHASES
    (fibrous,) = motifs_of(known_phases["P fibrous red (P-1, 42)"])
    assert (fibrous.kind, fibrous.formula, fibrous.charge, fibrous.known) == ("chain", "(P)n", 0, False)
    assert fibrous.name.startswith("(P)n chain #")
    # each P has three bonds; tubes of five-rings
    assert (fibrous.bridges, fibrous.rings[0]) == ({"P-P bond": 1.5}, 5)


def test_charges_of_known_phases_add_up(known_phases):
    sums = {name: unbalanced_charge(structure, motifs_of(structure)) for name, structure in known_phases.items()}
    assert sums.pop("Li bcc") is None
    assert set(sums.values()) == {0}


def test_p2s6_with_a_p_p_bond(li2ps3):
    motif = only(li2ps3)
    assert (motif.name, motif.charge, motif.rings, motif.bridges) == ("P2S6 (P-P bond)", -4, (), {"P-P bond": 1.0})
    assert unbalanced_charge(li2ps3, [motif]) == 0
    # one Li less: the charges of the same motifs do not add up
    fewer = Structure.from_sites(list(li2ps3)[1:])
    assert unbalanced_charge(fewer, motifs_of(fewer)) == -1


MOLECULES = {
    "PS4": ("P-Sa P-Sb P-Sc P-Sd", -3, ()),
    "P2S7": ("P1-Sa P1-Sb P1-Sc P2-Sd P2-Se P2-Sf P1-Sg Sg-P2", -4, ()),
    "P2S6 (edge-sharing)": ("P1-Sa P1-Sb P2-Sc P2-Sd P1-Se P1-Sf P2-Se P2-Sf", -2, (4,)),
    "P2S6 (P-P bond)": ("P1-Sa P1-Sb P1-Sc P2-Sd P2-Se P2-Sf P1-P2", -4, ()),
    "P2S8 (S-S bridge)": ("P1-Sa P1-Sb P1-Sc P2-Sd P2-Se P2-Sf P1-Sg P2-Sh Sg-Sh", -4, ()),
    "P2S7 ring": ("P1-Sa P1-Sb P2-Sc P2-Sd P1-Se P2-Se P1-Sf P2-Sg Sf-Sg", -2, (5,)),
    "P2S8 ring (S2 and S2 bridges)": ("P1-Sa P1-Sb P2-Sc P2-Sd P1-Se Se-Sf P2-Sf P1-Sg Sg-Sh P2-Sh", -2, (6,)),
    "P2S8 ring (S and S3 bridges)": ("P1-Sa P1-Sb P2-Sc P2-Sd P1-Se P2-Se P1-Sf Sf-Sg Sg-Sh P2-Sh", -2, (6,)),
    "P3S9 ring": (
        "P1-Sa P1-Sb P2-Sc P2-Sd P3-Se P3-Sf P1-Sg P2-Sg P2-Sh P3-Sh P3-Si P1-Si", -3, (6,)
    ),
    "P3S8 ring (P-P bond)": ("P1-Sa P1-Sb P2-Sc P2-Sd P3-Se P3-Sf P1-P2 P2-Sh P3-Sh P3-Si P1-Si", -3, (5,)),
    "P3S10": ("P1-Sa P1-Sb P1-Sc P1-Sd P2-Sd P2-Se P2-Sf P2-Sg P3-Sg P3-Sh P3-Si P3-Sj", -5, ()),
    "P7 cage": ("P1-P2 P1-P3 P1-P4 P2-P5 P3-P6 P4-P7 P5-P6 P6-P7 P7-P5", -3, (3, 5, 5)),
    "P4S4 cage (P-P bonds apart)": ("P1-P2 P3-P4 P1-Sa Sa-P3 P1-Sb Sb-P4 P2-Sc Sc-P3 P2-Sd Sd-P4", 0, (5, 5, 5)),
    "S4 chain": ("S1-S2 S2-S3 S3-S4", -2, ()),
    "S6 ring": ("S1-S2 S2-S3 S3-S4 S4-S5 S5-S6 S6-S1", 0, (6,)),
}  # fmt: skip


@pytest.mark.parametrize("name", MOLECULES)
def test_hand_made_molecules(name):
    text, charge, rings = MOLECULES[name]
    motif = only(built(text))
    assert (motif.name, motif.charge, motif.rings) == (name, charge, rings)
    assert (motif.kind, motif.known, motif.count) == ("molecule", True, 1)


CHAINS = {
    "(PS4)n chain": ("P-Sa P-Sb P-Sc Sc-Sd Sd-P>", -1, "(PS4)n", {"S-S bond": 1.0, "S-S bridge": 1.0}),
    "(PS3)n chain": ("P-Sa P-Sb P-Sc Sc-P>", -1, "(PS3)n", {"corner": 1.0}),
    "S chain": ("S1-S2 S2-S3 S3-S1>", 0, "(S)n", {"S-S bond": 1.0}),
    "P chain": ("P1-P2 P2-P1>", -1, "(P)n", {"P-P bond": 1.0}),
}


@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("repeats", [1, 3])
def test_hand_made_chains(name, repeats):
    text, charge, formula, bridges = CHAINS[name]
    motif = only(built(text).make_supercell([1, 1, repeats], in_place=False))
    assert (motif.name, motif.charge, motif.formula, motif.bridges) == (name, charge, formula, bridges)
    assert (motif.kind, motif.dimension, motif.rings, motif.count) == ("chain", 1, (), 1)


def test_a_unit_is_repeated_until_its_charge_is_whole():
    # two P of three have three bonds, the third has two: one charge for three atoms
    motif = only(built("P1-P2 P2-P1> P2-P3 P3-P1>").make_supercell([1, 1, 2], in_place=False))
    assert (motif.formula, motif.charge, motif.units, motif.rings) == ("(P3)n", -1, 2, (3,))
    assert motif.bridges == {"P-P bond": 4.0}


def triangle(height):
    """PS3 with its P at some height above the plane of its S, Å."""
    corners = [[2.0 * cos(radians(a)), 2.0 * sin(radians(a)), 0.0] for a in (0, 120, 240)]
    return boxed(["P", "S", "S", "S"], [[0.0, 0.0, height], *corners])


def test_flat_and_pyramidal_ps3_differ():
    flat, between, pyramid = (only(triangle(height)) for height in (0.0, 0.4, 1.0))
    assert (flat.name, flat.charge) == ("PS3 (planar)", -1)
    assert (pyramid.name, pyramid.charge) == ("PS3 (pyramidal)", -3)
    assert (between.name, between.charge) == ("PS3 (between flat and pyramidal)", None)
    assert len({flat.label, between.label, pyramid.label}) == 3


@pytest.mark.parametrize(
    ("symbols", "points", "name", "charge"),
    [
        (["S", "S"], [[0, 0, 0], [0, 0, 2.12]], "S2 pair", -2),
        (["S", "S"], [[0, 0, 0], [0, 0, 1.90]], "S2 pair", None),
        (["O", "O"], [[0, 0, 0], [0, 0, 1.50]], "O2 pair", -2),
        (["P", "P"], [[0, 0, 0], [0, 0, 2.1]], "P2 pair", None),
        (["S"], [[0, 0, 0]], "S (bare)", -2),
        (["Cl"], [[0, 0, 0]], "Cl (bare)", -1),
        (["P", "S", "S"], [[0, 0, 0], [0, 0, 2.0], [0, 1.9, -0.6]], None, None),
        (["C", "O", "O", "O"], [[0, 0, 0], [1.28, 0, 0], [-0.64, 1.1085, 0], [-0.64, -1.1085, 0]], "CO3 (planar)", -2),
        (["N", "O", "O", "O"], [[0, 0, 0], [1.25, 0, 0], [-0.625, 1.0825, 0], [-0.625, -1.0825, 0]], "NO3 (planar)", -1),
        (["P", *"OOOO"], [[0, 0, 0], *(0.89 * np.array([[1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]]))], "PO4", -3),
        (["S", *"OOOO"], [[0, 0, 0], *(0.85 * np.array([[1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]]))], "SO4", -2),
        (["B", *"HHHH"], [[0, 0, 0], *(0.70 * np.array([[1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]]))], "BH4", -1),
        (["Si", *"OOOO"], [[0, 0, 0], *(0.94 * np.array([[1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]]))], "SiO4", -4),
        (["Cl", *"OOOO"], [[0, 0, 0], *(0.83 * np.array([[1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]]))], "ClO4", -1),
        (["O", "H"], [[0, 0, 0], [0, 0, 0.97]], None, -1),
    ],
)  # fmt: skip
def test_anions_of_other_elements(symbols, points, name, charge):
    motif = only(boxed(symbols, points))
    assert motif.charge == charge
    if name is not None:
        assert motif.name == name
    else:
        assert not motif.known
        assert "#" in motif.name


def test_p4_and_endless_motifs_of_elements():
    corners = 0.78 * np.array([[1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]])
    white = only(boxed(["P"] * 4, corners.tolist()))
    assert (white.name, white.charge, white.rings) == ("P4 tetrahedron", 0, (3, 3, 3))
    diamond = only(Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.431), ["Si"], [[0, 0, 0]]))
    assert (diamond.kind, diamond.charge, diamond.rings) == ("framework", 0, (6,))
    graphene = only(Structure.from_spacegroup("P6/mmm", Lattice.hexagonal(2.46, 3.35), ["C"], [[1 / 3, 2 / 3, 0]]))
    assert (graphene.kind, graphene.charge, graphene.rings) == ("layer", None, (6,))
    selenium = only(Structure.from_spacegroup("P3_121", Lattice.hexagonal(4.37, 4.95), ["Se"], [[0.225, 0, 1 / 3]]))
    assert (selenium.name, selenium.charge, selenium.rings) == ("Se chain", 0, ())


def test_cristobalite_shares_corners():
    cristobalite = Structure.from_spacegroup("Fd-3m", Lattice.cubic(7.16), ["Si", "O"], [[0, 0, 0], [0.125, 0.125, 0.125]])
    motif = only(cristobalite)
    assert (motif.kind, motif.formula, motif.charge, motif.bridges) == ("framework", "(SiO2)n", 0, {"corner": 2.0})
    # rings of six SiO4
    assert motif.rings == (12,)


def described(structure):
    """Motifs with their amount per atom of the structure, and all that does not depend on the cell."""
    return {
        motif.label: (
            Fraction(motif.units, len(structure)), motif.name, motif.formula, motif.rings, tuple(motif.bridges.items()),
        )
        for motif in motifs_of(structure)
    }  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(
    number=st.integers(0, 1000),
    seed=st.integers(0, 2**31),
    cell=st.sampled_from(
        [np.diag([2, 1, 1]), np.diag([1, 1, 3]), [[1, 1, 0], [0, 1, 0], [0, 0, 1]], [[1, 1, 0], [-1, 1, 0], [0, 0, 1]],
         [[1, 2, 0], [0, 1, 3], [0, 0, 1]]]
    ),
    niggli=st.booleans(),
)  # fmt: skip
def test_cell_setting_and_order_do_not_matter(known_phases, random_crystals, move, number, seed, cell, niggli):
    pool = [structure for structure in known_phases.values() if len(structure) <= 60] + random_crystals
    structure = pool[number % len(pool)]
    changed = structure.make_supercell(cell, in_place=False)
    if niggli:
        changed = changed.get_reduced_structure("niggli")
    changed = move(changed, np.random.default_rng(seed))
    assert described(changed) == described(structure)


def test_pymatgen_finds_the_same_pieces(known_phases, random_crystals, li2ps3):
    seen = set()
    for structure in [*known_phases.values(), *random_crystals, li2ps3]:
        bonds = bonds_of(Crystal.from_structure(structure))
        edges = {
            (i, j, (0, 0, 0), tuple(image)): None
            for i, j, image in zip(bonds.first.tolist(), bonds.second.tolist(), bonds.image.tolist(), strict=True)
            if i <= j
        }
        nonmetals = [site for site, atom in enumerate(structure) if not atom.specie.is_metal]
        if not nonmetals:
            continue
        theirs = Counter(
            (component["dimensionality"], tuple(sorted(s.specie.symbol for s in component["structure_graph"].structure)))
            for component in get_structure_components(StructureGraph.from_edges(structure, edges))
            if not component["structure_graph"].structure[0].specie.is_metal
        )
        ours = Counter()
        for motif in motifs_of(structure):
            ours[motif.dimension] += motif.count
        assert ours == Counter({d: sum(n for (x, _), n in theirs.items() if x == d) for d, _ in theirs})
        molecules = Counter({formula: n for (d, formula), n in theirs.items() if d == 0})
        mine = Counter()
        for motif in motifs_of(structure):
            if motif.dimension == 0:
                mine[tuple(sorted(motif.symbols))] += motif.count
        assert mine == molecules
        seen |= set(ours)
    assert seen >= {0, 1, 2}


def test_the_example_is_laid_out_whole(known_phases):
    for motif in motifs_of(known_phases["Li7P3S11"]):
        points = np.array(motif.positions)
        assert len(motif.bonds) == len(motif.symbols) - 1
        for i, j, vector in motif.bonds:
            assert np.linalg.norm(points[j] - points[i]) < DEFAULT_RULE.cutoff("P", "S")
            np.testing.assert_allclose(points[i] + vector, points[j], atol=1e-9)
    chain = only(built(CHAINS["(PS4)n chain"][0]))
    out = [
        bond for bond in chain.bonds if np.abs(np.array(chain.positions[bond[0]]) + bond[2] - chain.positions[bond[1]]).max() > 1
    ]
    assert len(out) == 1
    assert 1.9 < np.linalg.norm(out[0][2]) < 2.3


def test_another_rule_makes_other_motifs(known_phases):
    structure = known_phases["Li7P3S11"]
    # below the bridging bonds of P2S7 (2.17 and 2.20 Å) the ion falls apart
    found = found_in(structure, rule=DEFAULT_RULE.with_pairs(["P-S=2.1"]))
    assert {name.split(" ")[0] for name, _ in found} == {"PS4", "PS3", "S"}
