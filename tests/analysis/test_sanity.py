from __future__ import annotations

import numpy as np
import pytest
from ase.data import atomic_numbers, covalent_radii
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from coevo.analysis.sanity import REASONS, check_structure

LIMITS = {"min_distance": 0.6, "min_volume_per_atom": 4.0, "max_volume_per_atom": 120.0, "max_length_ratio": 12.0}
SYSTEM = ("Li", "P", "S")


def check(structure, **changes):
    return check_structure(structure, SYSTEM, **{**LIMITS, **changes})


def test_known_phases_are_fine(known_phases):
    assert {name: check(structure) for name, structure in known_phases.items()} == dict.fromkeys(known_phases)


@pytest.mark.parametrize(
    ("structure", "reason"),
    [
        (Structure(Lattice.cubic(3), [], []), "empty"),
        (Structure(Lattice.cubic(3), [{"Li": 0.5}], [[0, 0, 0]]), "disordered"),
        (Structure(Lattice.cubic(3), [{"Li": 0.5, "P": 0.5}], [[0, 0, 0]]), "disordered"),
        (Structure(Lattice.cubic(3), ["Na"], [[0, 0, 0]]), "off_system"),
        (Structure(Lattice.cubic(3), ["Li"], [[np.nan, 0, 0]]), "not_finite"),
        (Structure(Lattice([[np.inf, 0, 0], [0, 3, 0], [0, 0, 3]]), ["Li"], [[0, 0, 0]]), "not_finite"),
        (Structure(Lattice([[3, 0, 0], [3, 0, 0], [0, 0, 3]]), ["Li"], [[0, 0, 0]]), "volume_too_small"),
        (Structure(Lattice.cubic(1.5), ["Li"], [[0, 0, 0]]), "volume_too_small"),
        (Structure(Lattice.cubic(6), ["Li"], [[0, 0, 0]]), "volume_too_large"),
        (Structure(Lattice.cubic(1e200), ["Li"], [[0, 0, 0]]), "volume_too_large"),
        (Structure(Lattice.orthorhombic(2, 2, 25), ["Li"], [[0, 0, 0]]), "cell_too_long"),
        (Structure(Lattice.cubic(3.4), ["Li", "S"], [[0, 0, 0], [0.2, 0, 0]]), "atoms_too_close"),
        (Structure(Lattice.cubic(3.4), ["Li", "S"], [[0.02, 0, 0], [0.98, 0, 0]]), "atoms_too_close"),
        (Structure(Lattice.cubic(3.4), ["Li", "S"], [[0, 0, 0], [0, 0, 0]]), "atoms_too_close"),
        # Its own images are 1.4 Å apart; twice the radius of Li is 2.56 Å.
        (Structure(Lattice.orthorhombic(1.4, 3, 5), ["Li"], [[0, 0, 0]]), "atoms_too_close"),
    ],
)
def test_each_reason(structure, reason):
    assert check(structure) == reason
    assert reason in REASONS


def test_max_atoms(li2s):
    assert check(li2s, max_atoms=12) is None
    assert check(li2s, max_atoms=11) == "too_many_atoms"


def test_a_skewed_cell_of_a_good_crystal_is_fine_and_cheap(li2s):
    """The vectors given span one direction 2,000 times over; the crystal is the same."""
    skewed = Structure(
        Lattice(np.array([[1, 0, 0], [2000, 1, 0], [0, 1500, 1]]) @ li2s.lattice.matrix),
        li2s.species,
        li2s.cart_coords,
        coords_are_cartesian=True,
    )
    assert check(skewed) is None


@pytest.mark.filterwarnings("error")
@settings(max_examples=200, deadline=None)
@given(seed=st.integers(0, 2**31), exponent=st.integers(0, 13))
def test_no_cell_is_raised_on(seed, exponent):
    """Cells of a sane volume and insane vectors, coordinates far outside the cell."""
    rng = np.random.default_rng(seed)
    matrix = np.array([[1, 0, 0], [int(rng.integers(10**exponent + 1)), 1, 0], [0, 0, 1]]) @ rng.normal(size=(3, 3))
    matrix *= 10.0 ** rng.uniform(-exponent / 2, exponent / 2, 3)[:, None]
    matrix *= (60.0 / abs(np.linalg.det(matrix))) ** (1 / 3)
    structure = Structure(Lattice(matrix), ["Li", "P", "S"], rng.random((3, 3)) * 10.0 ** rng.uniform(-3, 8))
    assert check(structure) in {None, "volume_too_small", "volume_too_large", "cell_too_long", "atoms_too_close"}


def test_the_limit_is_in_sums_of_covalent_radii():
    bond = covalent_radii[atomic_numbers["P"]] + covalent_radii[atomic_numbers["S"]]
    for factor, expected in ((0.599, "atoms_too_close"), (0.601, None)):
        pair = Structure(Lattice.cubic(5), ["P", "S"], [[0, 0, 0], [factor * bond / 5, 0, 0]])
        assert check(pair) == expected


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), scale=st.floats(1.2, 9.0), n=st.integers(1, 6))
def test_distances_agree_with_pymatgen(seed, scale, n):
    rng = np.random.default_rng(seed)
    species = [SYSTEM[i] for i in rng.integers(3, size=n)]
    structure = Structure(Lattice(rng.normal(size=(3, 3)) * scale), species, rng.random((n, 3)))
    reason = check_structure(
        structure, SYSTEM, min_distance=0.6, min_volume_per_atom=1.0, max_volume_per_atom=1e9, max_length_ratio=1e9
    )
    if structure.volume / n < 1.0:
        assert reason == "volume_too_small"
        return
    radii = np.array([covalent_radii[atomic_numbers[symbol]] for symbol in species])
    distances = structure.lattice.get_all_distances(structure.frac_coords, structure.frac_coords)
    np.fill_diagonal(distances, min(structure.lattice.get_niggli_reduced_lattice(tol=1e-7).abc))
    too_close = (distances < 0.6 * (radii[:, None] + radii[None, :])).any()
    assert (reason == "atoms_too_close") == too_close
