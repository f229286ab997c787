from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor
from quests.descriptor import get_descriptors, get_descriptors_multicomponent
from quests.entropy import entropy as quests_entropy

from coevo.analysis.environments.descriptors import (
    descriptors,
    descriptors_of,
    multicomponent_descriptors_of,
    rows_by_structure,
)
from coevo.analysis.environments.entropy import entropy

H = 0.015


def atoms(structure: Structure):
    return AseAtomsAdaptor.get_atoms(structure)


def right_handed(structure: Structure) -> Structure:
    """QUESTS finds too few neighbours in left-handed cells."""
    if np.linalg.det(structure.lattice.matrix) > 0:
        return structure
    return Structure(Lattice(-structure.lattice.matrix), structure.species, structure.frac_coords)


def test_descriptors_equal_quests_on_known_phases(shaken):
    for structure in shaken:
        assert descriptors(structure) == pytest.approx(get_descriptors([atoms(structure)]), abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), n=st.integers(1, 8), length=st.floats(2.0, 9.0), k=st.sampled_from([4, 16, 32]))
def test_descriptors_equal_quests_on_random_cells(seed, n, length, k):
    """From one atom without a neighbour in reach to sixty neighbours."""
    rng = np.random.default_rng(seed)
    lattice = Lattice.from_parameters(*(length * rng.uniform(0.8, 1.3, 3)), *rng.uniform(60, 120, 3))
    structure = right_handed(Structure(lattice, ["Li"] * n, rng.random((n, 3))))
    cutoff = float(rng.uniform(3.0, 6.0))
    mine, theirs = descriptors(structure, k, cutoff), get_descriptors([atoms(structure)], k=k, cutoff=cutoff)
    assert mine.shape == (n, 2 * k - 1)
    # Equal distances (an atom's own images) may be taken in another order, which matters only where the k-th is among them.
    first, _, _, distance = structure.get_neighbor_list(cutoff)
    for atom in range(n):
        near = np.sort(distance[first == atom])
        if len(near) <= k or near[k] - near[k - 1] > 1e-7:
            assert mine[atom] == pytest.approx(theirs[atom], abs=1e-6)


def test_an_atom_alone_has_the_zero_descriptor():
    assert not descriptors(Structure(Lattice.cubic(9), ["Li"], [[0, 0, 0]])).any()


def of_every_atom(structure: Structure, elements: tuple[str, ...]) -> np.ndarray:
    return multicomponent_descriptors_of([structure], elements, atoms=[np.arange(len(structure))])


def test_multicomponent_equals_quests(shaken):
    for structure in shaken[4:7]:
        mine = of_every_atom(structure, ("Li", "P", "S"))
        theirs = get_descriptors_multicomponent([atoms(structure)], species=["Li", "P", "S"])
        assert np.sort(mine, axis=1) == pytest.approx(np.sort(theirs, axis=1), abs=1e-9)
        assert entropy(mine, 0.05) == pytest.approx(quests_entropy(theirs, h=0.05), abs=1e-9)
    lithium = shaken[0]
    assert (of_every_atom(lithium, ("Li",)) == descriptors(lithium)).all()


def test_multicomponent_sees_species_and_the_plain_one_does_not():
    rock_salt = [
        Structure.from_spacegroup("Fm-3m", Lattice.cubic(5), pair, [[0, 0, 0], [0.5, 0.5, 0.5]])
        for pair in (["Li", "S"], ["P", "P"])
    ]
    plain = [descriptors(structure) for structure in rock_salt]
    assert plain[0] == pytest.approx(plain[1], abs=1e-12)
    kinds = [of_every_atom(structure, ("Li", "P", "S")) for structure in rock_salt]
    assert np.linalg.norm(kinds[0][0] - kinds[1][0]) > 10 * H


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_descriptors_are_invariant(shaken, move, seed):
    structure = shaken[5]
    rng = np.random.default_rng(seed)
    changed = descriptors(move(structure, rng))
    original = descriptors(structure)
    gaps = np.abs(changed[:, None, :] - original[None, :, :]).max(axis=2)
    assert sorted(gaps.argmin(axis=0)) == list(range(len(structure)))
    assert gaps.min(axis=0).max() < 1e-9
    doubled = descriptors(structure.make_supercell([1, 2, 1], in_place=False))
    assert np.abs(doubled[::2] - original).max() < 1e-9


@pytest.mark.parametrize("k", [3, 5, 7, 11])
def test_equal_distances_are_taken_by_index_and_image(k):
    """Eight neighbours at one distance: which of them are taken changes the descriptor, and is written down."""
    structure = Structure(Lattice.cubic(4), ["Li", "S"], [[0, 0, 0], [0.5, 0.5, 0.5]]).make_supercell([2, 2, 1], in_place=False)
    structure = Structure.from_sites([structure[i] for i in (3, 6, 0, 5, 1, 7, 2, 4)])
    cutoff = 4.5
    first, second, image, distance = (array.tolist() for array in structure.get_neighbor_list(cutoff))
    found = sorted(zip(first, distance, second, image, strict=True))
    for atom in range(len(structure)):
        mine = [(j, np.array(image), d) for i, d, j, image in found if i == atom][:k]
        ends = [structure.cart_coords[j] + image @ structure.lattice.matrix for j, image, _ in mine]
        weights = [(1 - (d / cutoff) ** 2) ** 2 for _, _, d in mine]
        table = [
            sorted(
                (np.sqrt(w * v) / np.linalg.norm(a - b) for b, v in zip(ends, weights, strict=True) if b is not a), reverse=True
            )
            for a, w in zip(ends, weights, strict=True)
        ]
        expected = [w / d for w, (_, _, d) in zip(weights, mine, strict=True)] + np.mean(table, axis=0).tolist()
        assert descriptors(structure, k, cutoff)[atom] == pytest.approx(expected, abs=1e-12)


def test_many_together_are_bit_for_bit_those_one_by_one(shaken, random_crystals):
    lonely = Structure(Lattice.cubic(9), ["Li"], [[0, 0, 0]])
    structures = [*random_crystals, lonely, *shaken, lonely]
    done = []
    X, offsets = descriptors_of(structures, progress=done.append)
    assert offsets.tolist() == np.cumsum([0, *map(len, structures)]).tolist()
    assert sum(done) == len(structures)
    assert len(done) > 1
    for rows, structure in zip(rows_by_structure(X, offsets), structures, strict=True):
        assert (rows == descriptors(structure)).all()
    assert (descriptors_of(structures[::-1])[0][: len(lonely)] == 0.0).all()


def test_none_at_all():
    X, offsets = descriptors_of([], k=8)
    assert X.shape == (0, 15)
    assert offsets.tolist() == [0]


def test_neighbours_close_together_keep_their_digits():
    """Ends 1e-4 Å apart: products of the vectors instead of differences would leave eight digits of 1/d = 10,000."""
    close = Structure(Lattice.cubic(8), ["Li", "S", "S"], [[0, 0, 0], [0.3, 0, 0], [0.3, 1e-4 / 8, 0]])
    X = descriptors(close)
    length = np.array([2.4, np.hypot(2.4, 1e-4)])
    weights = (1 - (length / 5) ** 2) ** 2
    assert X[0, 32] == pytest.approx(np.sqrt(weights[0] * weights[1]) / 1e-4 * 2 / 32, rel=1e-11)
