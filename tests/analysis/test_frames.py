from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Structure

from coevo.analysis.selection import rattled, strained


def test_rattled_displaces_by_the_standard_deviation(li2s):
    big = li2s.make_supercell(5, in_place=False)
    moved = rattled(big, 0.05, seed=3)
    displacement = (moved.frac_coords - big.frac_coords) @ big.lattice.matrix
    assert displacement.std() == pytest.approx(0.05, rel=0.03)
    assert abs(displacement.mean()) < 0.003
    assert moved.lattice == big.lattice
    assert moved.species == big.species


def test_strained_is_a_symmetric_homogeneous_strain(li3ps4):
    for seed in range(20):
        changed = strained(li3ps4, 0.04, seed=seed)
        deformation = np.linalg.solve(li3ps4.lattice.matrix, changed.lattice.matrix)
        strain = deformation - np.eye(3)
        assert strain == pytest.approx(strain.T, abs=1e-12)
        assert np.abs(strain).max() <= 0.04
        assert changed.frac_coords == pytest.approx(li3ps4.frac_coords, abs=1e-12)


@pytest.mark.parametrize(("make", "size"), [(rattled, 0.05), (strained, 0.04)])
def test_deterministic_and_bare(make, size, li2s):
    source = Structure(li2s.lattice, li2s.species, li2s.frac_coords, site_properties={"force": [[1, 2, 3]] * 12})
    one, same, other = make(source, size, 1), make(source, size, 1), make(source, size, 2)
    assert (one.frac_coords == same.frac_coords).all()
    assert (one.lattice.matrix == same.lattice.matrix).all()
    assert not (np.allclose(one.cart_coords, other.cart_coords) and np.allclose(one.lattice.matrix, other.lattice.matrix))
    assert not one.site_properties
    assert (source.frac_coords == li2s.frac_coords).all()
