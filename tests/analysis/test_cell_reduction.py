from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from pymatgen.core.structure_matcher import StructureMatcher

from coevo.analysis.cell_reduction import Crystal, reduced


def check(structure: Structure) -> None:
    """The reduction is StructureMatcher's: lattice parameters, and the sites in one of the equivalent choices of axes."""
    mine, theirs = reduced(Crystal.from_structure(structure)), StructureMatcher._get_reduced_structure(structure)
    assert len(mine.numbers) == len(theirs)
    lattice = Lattice(mine.cell)
    assert lattice.abc == pytest.approx(theirs.lattice.abc, rel=1e-4)
    assert lattice.angles == pytest.approx(theirs.lattice.angles, abs=2e-3)
    assert np.linalg.det(mine.cell) > 0
    assert ((mine.fractional >= 0) & (mine.fractional <= 1)).all()
    tight = StructureMatcher(ltol=1e-3, stol=1e-3, angle_tol=0.1, primitive_cell=False, scale=False)
    assert tight.fit(mine.to_structure(), theirs)


def test_is_that_of_structure_matcher(random_crystals, known_phases):
    for structure in [*random_crystals[:40], *(s for s in known_phases.values() if len(s) <= 60)]:
        check(structure)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), symmetric=st.booleans())
def test_any_cell(seed, symmetric):
    """Oblique and nearly symmetric cells, as primitive cells and as supercells of them."""
    rng = np.random.default_rng(seed)
    if symmetric:
        # Nearly equal lengths and nearly right angles: where pymatgen has several axes to choose from.
        lengths, angles = 4.0 + rng.choice([0, 1e-4, 1e-2, 1.0], 3), 90.0 + rng.choice([0, 1e-3, 0.3, 0.7, 30.0], 3)
        lattice = Lattice.from_parameters(*lengths, *angles)
    else:
        lattice = Lattice.from_parameters(*rng.uniform(3, 9, 3), *rng.uniform(60, 115, 3))
    # Three angles near 120 degrees give a cell that is all but flat, in which pymatgen looks at billions of lattice points;
    # such cells are rejected (volume_too_small) before anything is reduced.
    assume(lattice.volume > 3.0)
    structure = Structure(lattice, ["Li", "P", "S"], [[0, 0, 0], [0.3, 0.41, 0.5], [0.7, 0.6, 0.1]])
    if rng.random() < 0.5:
        structure.make_supercell(
            [[1, int(rng.integers(0, 3)), 0], [0, int(rng.integers(1, 3)), 0], [0, int(rng.integers(0, 2)), 1]]
        )
    check(structure)


def test_skewed_cells(li2s):
    skewed = li2s.get_primitive_structure().make_supercell([[1, 9, 0], [0, 1, 11], [0, 0, 1]], in_place=False)
    check(skewed)


def test_supercells_come_back(li2s, li3ps4):
    for structure in (li2s, li3ps4):
        once = reduced(Crystal.from_structure(structure))
        bigger = reduced(Crystal.from_structure(structure.make_supercell([2, 1, 2], in_place=False)))
        assert len(bigger.numbers) == len(once.numbers)
        assert abs(np.linalg.det(bigger.cell)) == pytest.approx(abs(np.linalg.det(once.cell)))


def test_oxidation_states_are_dropped(li2s):
    charged = li2s.copy()
    charged.add_oxidation_state_by_element({"Li": 1, "S": -2})
    one, other = reduced(Crystal.from_structure(charged)), reduced(Crystal.from_structure(li2s))
    assert (one.numbers == other.numbers).all()
    assert one.fractional == pytest.approx(other.fractional)


def test_no_volume_is_an_error():
    flat = Crystal(np.array([[1.0, 0, 0], [2.0, 0, 0], [0, 0, 1.0]]), np.zeros((1, 3)), np.array([3]))
    with pytest.raises((ValueError, np.linalg.LinAlgError)):
        reduced(flat)
