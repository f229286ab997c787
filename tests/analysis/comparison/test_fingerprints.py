from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Structure

from coevo.analysis.cell_reduction import Crystal
from coevo.analysis.comparison.fingerprints import NEIGHBOURS, average_minimum_distances


def distances(structure: Structure, neighbours: int = NEIGHBOURS) -> np.ndarray:
    return average_minimum_distances(Crystal.from_structure(structure), neighbours)


def by_pymatgen(structure: Structure, neighbours: int) -> np.ndarray:
    """The definition, on pymatgen's neighbour lists."""
    scaled = structure.copy()
    scaled.scale_lattice(len(scaled))
    symbols = sorted(
        {site.specie.symbol for site in scaled}, key=lambda s: next(x.specie.Z for x in scaled if x.specie.symbol == s)
    )
    shells = scaled.get_all_neighbors(5.0)
    found = np.zeros((len(symbols), len(symbols), neighbours))
    for a, centre in enumerate(symbols):
        rows = [shells[i] for i, site in enumerate(scaled) if site.specie.symbol == centre]
        for b, other in enumerate(symbols):
            found[a, b] = np.mean(
                [sorted(n.nn_distance for n in row if n.specie.symbol == other)[:neighbours] for row in rows], axis=0
            )
    return found


def test_definition(known_phases, random_crystals):
    for structure in [known_phases["Li2S"], known_phases["Li3P"], known_phases["P4S3"], *random_crystals[:6]]:
        assert distances(structure, 8) == pytest.approx(by_pymatgen(structure, 8), abs=1e-10)


def test_large_cells_are_done_in_parts(li3ps4):
    bigger = li3ps4.make_supercell([2, 2, 1], in_place=False)
    assert len(bigger) > 64
    assert distances(bigger) == pytest.approx(distances(li3ps4), abs=1e-10)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), name=st.sampled_from(["Li2S", "Li3P", "P black", "P4S3", "beta-Li3PS4 (ordered approximant)"]))
def test_cell_setting_and_order_do_not_matter(known_phases, move, seed, name):
    """Rotated, translated, in another cell, with shuffled atoms, and of another volume."""
    structure, rng = known_phases[name], np.random.default_rng(seed)
    bigger = structure.make_supercell(
        [[1, int(rng.integers(0, 2)), 0], [0, 1, 0], [0, 0, int(rng.integers(1, 3))]], in_place=False
    )
    changed = move(bigger, rng)
    changed.scale_lattice(changed.volume * float(rng.uniform(0.8, 1.3)))
    assert distances(changed) == pytest.approx(distances(structure), abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), amplitude=st.floats(0.0, 0.3))
def test_small_displacements_change_little(li3ps4, seed, amplitude):
    """Distances between two atoms that are each displaced by d change by at most 2 d."""
    changed = li3ps4.copy()
    changed.perturb(amplitude, seed=seed)
    per_length = (len(li3ps4) / li3ps4.volume) ** (1 / 3)
    assert np.abs(distances(changed) - distances(li3ps4)).max() <= 2 * amplitude * per_length + 1e-9


def test_exchanged_atoms_are_told_apart(li3ps4):
    exchanged = li3ps4.copy()
    symbols = [site.specie.symbol for site in li3ps4]
    p, s = symbols.index("P"), symbols.index("S")
    exchanged.replace(p, "S")
    exchanged.replace(s, "P")
    assert np.abs(distances(exchanged) - distances(li3ps4)).max() > 0.1


def test_one_atom(known_phases):
    lithium = known_phases["Li bcc"].get_primitive_structure()
    assert len(lithium) == 1
    # bcc: eight neighbours at sqrt(3)/2 a, six at a, two atoms per a^3
    a = 2 ** (1 / 3)
    assert distances(lithium, 12)[0, 0] == pytest.approx([3**0.5 / 2 * a] * 8 + [a] * 4)
