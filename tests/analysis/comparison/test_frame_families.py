"""Frames of a file: trajectories stay together, crystals stay apart."""

from __future__ import annotations

import numpy as np
from pymatgen.core import Lattice, Structure

from coevo.analysis.comparison.uniqueness import trajectories

ROCKSALT = Structure.from_spacegroup("Fm-3m", Lattice.cubic(5.2), ["Li", "S"], [[0, 0, 0], [0.5, 0.5, 0.5]])
ZINCBLENDE = Structure.from_spacegroup("F-43m", Lattice.cubic(5.2), ["Li", "S"], [[0, 0, 0], [0.25, 0.25, 0.25]])


def moved(structure: Structure, size: float, seed: int, strain: float = 0.0) -> Structure:
    rng = np.random.default_rng(seed)
    cell = Lattice(structure.lattice.matrix @ (np.eye(3) + strain * rng.uniform(-1, 1, (3, 3))))
    shift = size * rng.normal(size=(len(structure), 3)) / np.sqrt(3)
    return Structure(cell, structure.species, structure.frac_coords + cell.get_fractional_coords(shift))


def groups(frames: list[Structure]) -> list[int]:
    return trajectories(frames)


def test_steps_of_a_walk_are_one_trajectory_however_far_it_leads() -> None:
    frames = [ROCKSALT]
    for step in range(30):
        frames.append(moved(frames[-1], 0.2, step))
    assert groups(frames) == [0] * 31


def test_rattled_and_strained_copies_in_any_order_are_one() -> None:
    frames = [moved(ROCKSALT, 0.2, seed, 0.03) for seed in range(8)]
    assert groups(frames) == [0] * 8


def test_two_crystals_of_one_composition_and_cell_are_two() -> None:
    frames = [moved(x, 0.1, seed) for seed in range(4) for x in (ROCKSALT, ZINCBLENDE)]
    assert groups(frames) == [0, 1] * 4


def test_atoms_that_left_the_cell_and_a_drift_do_not_part_frames() -> None:
    drifted = ROCKSALT.copy()
    drifted.translate_sites(list(range(len(drifted))), [0.31, 0.7, 1.4], to_unit_cell=False)
    assert groups([ROCKSALT, drifted]) == [0, 0]


def test_another_cell_composition_or_order_is_another() -> None:
    bigger = ROCKSALT.copy()
    bigger.apply_strain(0.2)
    swapped = Structure(ROCKSALT.lattice, [*ROCKSALT.species[4:], *ROCKSALT.species[:4]], ROCKSALT.frac_coords)
    assert groups([ROCKSALT, bigger, swapped]) == [0, 1, 2]


def test_a_frame_between_two_trajectories_joins_them() -> None:
    far = ROCKSALT.copy()
    far.translate_sites([0], [0.3, 0.0, 0.0])
    apart = groups([ROCKSALT, far])
    half = ROCKSALT.copy()
    half.translate_sites([0], [0.15, 0.0, 0.0])
    assert groups([ROCKSALT, far, half])[2] == 0
    assert len(set(groups([ROCKSALT, far, half]))) <= len(set(apart))
