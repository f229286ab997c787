"""Crystals that the tests of analysis share, built from published cells."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from coevo.analysis.environments.descriptors import descriptors_of
from coevo.configs.references import load_references


@pytest.fixture(scope="session")
def known_phases() -> dict[str, Structure]:
    """The bundled phases of Li-P-S by name."""
    return {reference.name: reference.structure for reference in load_references("li-p-s", ["Li", "P", "S"])}


@pytest.fixture(scope="session")
def li2s() -> Structure:
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.71), ["Li", "S"], [[0.25, 0.25, 0.25], [0, 0, 0]])


@pytest.fixture(scope="session")
def li3ps4(known_phases) -> Structure:
    return known_phases["beta-Li3PS4 (ordered approximant)"]


@pytest.fixture(scope="session")
def li2ps3() -> Structure:
    """Li2PS3 with P2S6 ions (a P-P bond in each), two formula units, like Li4P2S6 in P-31m (Mercier et al. 1982)."""
    structure = Structure.from_spacegroup(
        "P-31m",
        Lattice.hexagonal(6.07, 6.58),
        ["Li", "P", "S"],
        [[1 / 3, 2 / 3, 0.5], [0, 0, 0.172], [0.323, 0, 0.249]],
    )
    structure.append("Li", [1 / 3, 2 / 3, 0.0])
    structure.append("Li", [2 / 3, 1 / 3, 0.0])
    return structure


@pytest.fixture(scope="session")
def random_crystals() -> list[Structure]:
    """Eighty crowded random cells of three compositions, with near copies, supercells and resettings of some among them."""
    rng = np.random.default_rng(5)
    radii = {"Li": 1.3, "P": 1.0, "S": 1.2}
    found: list[Structure] = []
    while len(found) < 80:
        if found and rng.random() < 0.5:
            parent = found[int(rng.integers(len(found)))]
            if len(parent) <= 9:
                found.append(variant(parent, rng))
            continue
        species = [["Li", "Li", "S"], ["Li", "Li", "Li", "P"], ["Li", "Li", "P", "S", "S", "S"]][int(rng.integers(3))]
        lattice = Lattice.from_parameters(*rng.uniform(3.6, 6.0, 3), *rng.uniform(65, 115, 3))
        placed: list[np.ndarray] = []
        for symbol in species:
            trials = rng.random((40, 3))
            gaps = [min((lattice.get_all_distances([t], [p])[0, 0] - radii[symbol] for p in placed), default=1.0) for t in trials]
            placed.append(trials[int(np.argmax(gaps))])
        found.append(Structure(lattice, species, placed))
    return found


@pytest.fixture(scope="session")
def shaken(known_phases) -> list[Structure]:
    """The known phases displaced at random: no two distances are equal, so that the neighbours to take are well defined."""
    found = []
    for structure in known_phases.values():
        copy = structure.copy()
        copy.perturb(0.1, seed=3)
        found.append(copy)
    return found


@pytest.fixture(scope="session")
def cloud(shaken) -> np.ndarray:
    """Descriptors of the displaced phases, one row an atom."""
    return descriptors_of(shaken)[0]


@pytest.fixture(scope="session")
def big_cloud(shaken, random_crystals) -> np.ndarray:
    """Descriptors of some 3,000 atoms: the displaced phases and random crystals, each displaced a few times more."""
    rng = np.random.default_rng(11)
    found = []
    for structure in [*shaken, *random_crystals]:
        for _ in range(3):
            copy = structure.copy()
            copy.perturb(float(rng.uniform(0.02, 0.3)), seed=int(rng.integers(2**31)))
            found.append(copy)
    return descriptors_of(found)[0]


@pytest.fixture(scope="session")
def move():
    """Function that shows the same crystal rotated, translated, with its atoms in another order."""
    return moved


@pytest.fixture(scope="session")
def vary():
    """Function that makes a slightly displaced copy of a crystal in another cell."""
    return variant


def variant(structure: Structure, rng: np.random.Generator) -> Structure:
    """The same crystal in another cell, slightly displaced."""
    copy = structure.copy()
    if rng.random() < 0.4:
        copy.make_supercell([[1, 1, 0], [0, 1, 0], [0, 0, int(rng.integers(1, 3))]])
    copy.perturb(float(rng.uniform(0.0, 0.25)), seed=int(rng.integers(2**31)))
    copy.apply_strain(rng.uniform(-0.04, 0.04, 3))
    return moved(copy, rng)


def moved(structure: Structure, rng: np.random.Generator) -> Structure:
    """The same crystal rotated, translated, with its atoms in another order."""
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    order = rng.permutation(len(structure))
    return Structure(
        Lattice(structure.lattice.matrix @ rotation),
        [structure[int(i)].specie for i in order],
        (structure.frac_coords + rng.random(3))[order],
        to_unit_cell=True,
    )
