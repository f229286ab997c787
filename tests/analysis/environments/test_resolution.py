"""At what distance two environments are two: choices by hand, distances by QUESTS's descriptor."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor
from quests.descriptor import get_descriptors_multicomponent
from quests.entropy import get_bandwidth

from coevo.analysis.environments.resolution import (
    MOST_ATOMS,
    Shaken,
    chosen,
    doubled,
    kept_steps,
    quests_bandwidth,
    resolution,
    timestep_of,
    wandering,
)
from coevo.configs.references import load_references
from coevo.errors import AnalysisError

ELEMENTS = ("Li", "P", "S")


def cell(symbols: list[str], lengths=(7.0, 7.0, 7.0)) -> Structure:
    rng = np.random.default_rng(0)
    return Structure(Lattice.orthorhombic(*lengths), symbols, rng.random((len(symbols), 3)))


def test_short_vectors_are_doubled_unless_the_cell_gets_too_large():
    assert doubled(cell(["Li"], (3.0, 7.0, 5.9))).lattice.abc == pytest.approx((6.0, 7.0, 11.8))
    assert len(doubled(cell(["Li"] * 3, (3.0, 3.0, 3.0)))) == 24
    assert doubled(cell(["Li"] * 9, (3.0, 3.0, 3.0))) is None
    assert doubled(cell(["Li"] * (MOST_ATOMS + 1))) is None


def test_the_smallest_are_chosen_and_those_that_hold_an_element():
    sizes = {"Li": 4, "LiS": 30, "LiP": 30, "P": 40, "LiPS": 60}
    cells = [cell(["Li"] * 4), cell(["Li", "S"] * 15), cell(["Li", "P"] * 15), cell(["P"] * 40), cell(["Li", "P", "S"] * 20)]
    assert [len(each) for each in cells] == list(sizes.values())
    # Li, then the smallest with P and with S; the 40 atoms of P fit into 160, another 60 do not
    assert chosen(cells, ELEMENTS) == [0, 1, 2, 3]
    assert chosen([cells[0], None, None, cells[3], cells[4]], ELEMENTS) == [0, 3, 4]
    assert chosen([cells[0], None], ELEMENTS) == [0]
    assert chosen([None], ELEMENTS) == []
    assert chosen([cells[0]] * 9, ELEMENTS) == list(range(6))


def test_of_the_bundled_phases_six_are_chosen():
    phases = load_references("li-p-s", ELEMENTS)
    cells = [doubled(phase.structure) for phase in phases]
    names = [phases[place].name for place in chosen(cells, ELEMENTS)]
    assert names == ["Li bcc", "Li2S", "P black", "Li3P", "P2S5 (P4S10)", "beta-Li3PS4 (ordered approximant)"]


def test_distances_are_those_of_quests_descriptors():
    start = next(phase.structure for phase in load_references("li-p-s", ELEMENTS) if phase.name.startswith("beta-Li3PS4"))
    geometries = [start.copy().perturb(0.05, seed=seed) for seed in range(3)]
    found = wandering(geometries, ELEMENTS, 32, 5.0)
    atoms = [AseAtomsAdaptor.get_atoms(geometry, msonable=False) for geometry in geometries]
    theirs = get_descriptors_multicomponent(atoms, k=32, cutoff=5.0, species=list(ELEMENTS)).reshape(3, len(start), -1)
    pairs = [np.linalg.norm(theirs[i] - theirs[j], axis=1) for i, j in ((0, 1), (0, 2), (1, 2))]
    assert found.distances == pytest.approx(np.concatenate(pairs), abs=1e-9)
    assert found.symbols == tuple(site.specie.symbol for site in start) * 3
    with pytest.raises(AnalysisError, match="1 snapshots"):
        wandering(geometries[:1], ELEMENTS, 32, 5.0)


def test_medians_over_crystals_by_hand():
    first = Shaken(("Li", "S"), np.array([0.02, 0.04]))
    second = Shaken(("S",) * 5, np.array([0.1, 0.2, 0.3, 0.4, 0.5]))
    found = resolution([first, second], ELEMENTS)
    # medians 0.03 and 0.3; 90 % quantiles 0.038 and 0.46
    assert (found["delta"], found["delta90"]) == pytest.approx((0.165, 0.249))
    assert found["per_species"]["Li"] == pytest.approx({"delta": 0.02, "delta90": 0.02})
    assert found["per_species"]["S"] == pytest.approx({"delta": 0.17, "delta90": 0.25})
    assert found["per_species"]["P"] is None
    with pytest.raises(AnalysisError, match="no crystal"):
        resolution([], ELEMENTS)


def test_steps_and_bandwidths():
    assert timestep_of(("Li", "P")) == 2.0
    assert timestep_of(("H", "Li")) == 0.5
    assert kept_steps(2.0) == [50, 150, 250]
    assert kept_steps(0.5) == [200, 600, 1000]
    for volume in (5.0, 15.5, 20.0):
        assert quests_bandwidth(volume) == pytest.approx(get_bandwidth(volume))
