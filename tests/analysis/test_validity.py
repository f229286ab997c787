from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from coevo.analysis import validity as module
from coevo.analysis.sanity import check_structure
from coevo.analysis.validity import PROBLEMS, Validity, ValidityLimits, summarise_validity, validity


def pair(distance: float, length: float = 8.0, symbols=("Li", "S")) -> Structure:
    return Structure(Lattice.cubic(length), symbols, [[0, 0, 0], [distance / length, 0, 0]])


def published(structure: Structure) -> bool:
    """The rule of CDVAE and MatterGen, by the matrix of distances."""
    distances = structure.distance_matrix + np.diag(np.full(len(structure), 10.0))
    return bool(distances.min() >= 0.5 and structure.volume >= 0.1)


def test_known_phases_are_valid(known_phases):
    for name, structure in known_phases.items():
        found = validity(structure)
        assert (found.problem, found.structure_valid, found.radii_valid, found.volume_valid) == (None, True, True, True), name
        assert found.volume_per_atom == pytest.approx(structure.volume / len(structure))
    assert validity(known_phases["Li2S"]).valid
    # No oxidation states explain P-P bonds: SMACT's rule is coarse.
    assert validity(known_phases["P4S3"]).composition_valid is False


def test_distances(li2s):
    # Reach: 0.9 sums of the covalent radii of sulphur, 1.89 Å; Li-S is 2.47 Å.
    assert validity(li2s).shortest_distance is None
    wide = validity(li2s, ValidityLimits(min_distance=1.2))
    assert wide.shortest_distance == pytest.approx(5.71 * np.sqrt(3) / 4, abs=1e-6)
    assert wide.shortest_ratio == pytest.approx(5.71 * np.sqrt(3) / 4 / (1.28 + 1.05), abs=1e-6)
    assert (wide.radii_valid, wide.structure_valid) == (False, True)


@pytest.mark.parametrize(("distance", "expected"), [(0.4999, False), (0.5001, True)])
def test_half_an_angstrom(distance, expected):
    found = validity(pair(distance))
    assert found.distances_valid is found.structure_valid is expected
    assert found.shortest_distance == pytest.approx(distance)
    assert found.radii_valid is False
    assert published(pair(distance)) is expected


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_equals_published_rule_and_our_screening_on_random_cells(seed):
    rng = np.random.default_rng(seed)
    lattice = Lattice.from_parameters(*rng.uniform(2.0, 7.0, 3), *rng.uniform(60, 118, 3))
    symbols = rng.choice(["Li", "P", "S", "H"], int(rng.integers(1, 7))).tolist()
    structure = Structure(lattice, symbols, rng.random((len(symbols), 3)))
    found = validity(structure, check_composition=False)
    assert found.structure_valid is published(structure)
    limits = {"min_volume_per_atom": 4.0, "max_volume_per_atom": 120.0, "min_distance": 0.6, "max_length_ratio": 1e6}
    reason = check_structure(structure, {"Li", "P", "S", "H"}, **limits)
    assert (found.radii_valid and found.volume_valid) is (reason is None)


def test_two_atoms_in_one_place():
    found = validity(Structure(Lattice.cubic(5), ["Li", "S"], [[0.2, 0, 0], [1.2, 0, 0]]))
    assert found.shortest_distance == pytest.approx(0.0, abs=1e-9)
    assert not found.distances_valid


def test_cell_and_place_do_not_matter(random_crystals, move):
    rng = np.random.default_rng(1)
    for structure in random_crystals[:20]:
        found, moved = validity(structure), validity(move(structure, rng))
        assert moved.to_dict() == pytest.approx(found.to_dict(), abs=1e-9)
        skewed = structure.copy()
        skewed.make_supercell([[1, 7, 0], [0, 1, 0], [0, -5, 1]])
        assert validity(skewed).shortest_distance == pytest.approx(found.shortest_distance, abs=1e-9)


def test_images_of_one_atom_count():
    flat = Structure(Lattice.orthorhombic(0.4, 9, 9), ["Li"], [[0, 0, 0]])
    found = validity(flat)
    assert found.shortest_distance == pytest.approx(0.4)
    assert not found.distances_valid
    assert published(flat)  # which the published rule does not see


@pytest.mark.parametrize(
    ("structure", "problem"),
    [
        (Structure(Lattice.cubic(3), [], []), "empty"),
        (Structure(Lattice.cubic(3), [{"Li": 0.5}], [[0, 0, 0]]), "disordered"),
        (Structure(Lattice.cubic(3), ["X0+"], [[0, 0, 0]]), "unknown_element"),
        (Structure(Lattice.cubic(3), ["Li"], [[np.nan, 0, 0]]), "not_finite"),
        (Structure(Lattice([[3, 0, 0], [3, 0, 0], [0, 0, 3]]), ["Li"], [[0, 0, 0]]), "no_volume"),
        (Structure(Lattice([[1e12, 0, 0], [0, 1, 0], [0, 0, 1]]), ["Li"], [[0, 0, 0]]), "cell_too_long"),
    ],
)
def test_malformed_structures_are_counted(structure, problem):
    found = validity(structure)
    assert found.problem == problem
    assert problem in PROBLEMS
    assert not any([found.valid, found.distances_valid, found.radii_valid, found.volume_valid])
    summary = summarise_validity([found, validity(pair(2.4))])
    assert summary.problems == {problem: 1}
    # LiS is neutral with S-.
    assert (summary.n, summary.structure_valid, summary.valid) == (2, 1, 1)


def test_summary(known_phases):
    structures = [known_phases["Li2S"], known_phases["P4S3"], pair(0.3), pair(2.4, length=40.0)]
    summary = summarise_validity(validity(s) for s in structures)
    document = summary.to_dict()
    assert document["rates"] == {
        "distances_valid": 0.75, "radii_valid": 0.75, "volume_valid": 0.5, "structure_valid": 0.75,
        "composition_valid": 0.75, "valid": 0.5,
    }  # fmt: skip
    assert "2014 oxidation states" in summary.composition_note
    json.dumps(document, allow_nan=False)
    assert summarise_validity([]).to_dict()["rates"]["valid"] is None


def test_without_smact_it_says_so(monkeypatch):
    monkeypatch.setattr(module, "smact_version", lambda: None)
    found = validity(pair(2.4))
    assert found.composition_valid is None
    assert found.valid is True
    summary = summarise_validity([found])
    assert (summary.composition_valid, summary.valid, summary.structure_valid) == (None, None, 1)
    assert "coevo[analyse]" in summary.composition_note


def test_unchecked_compositions_are_not_counted_as_invalid():
    summary = summarise_validity([validity(pair(2.4), check_composition=False), validity(pair(2.4))])
    assert (summary.composition_valid, summary.composition_note) == (None, "not checked")
    only_malformed = summarise_validity([Validity("empty")])
    assert only_malformed.composition_valid == only_malformed.valid == 0
