"""Frameworks that are kept, molten and taken apart on purpose."""

from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from coevo.analysis.transport.framework import judge_framework

MOBILE = "Li"


def thiophosphate(a: float = 7.0) -> Structure:
    """Tetrahedra PS4 (P-S 2.05 Å) on a cubic lattice, in a cell that cuts through some, with Li between."""
    corner = 2.05 / np.sqrt(3) * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    places = [[0, 0, 0], *corner, [a / 2, a / 2, 0], [a / 2, 0, a / 2], [0, a / 2, a / 2]]
    return Structure(Lattice.cubic(a), ["P", *["S"] * 4, *["Li"] * 3], places, coords_are_cartesian=True) * (2, 2, 2)


def judged(structure: Structure, frames: np.ndarray):
    numbers = np.array([site.specie.Z for site in structure])
    mobile = np.array([site.specie.symbol == MOBILE for site in structure])
    return judge_framework(numbers, np.array(structure.lattice.matrix), structure.cart_coords, frames, mobile)


def still(structure: Structure, frames: int = 80, vibration: float = 0.12, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return structure.cart_coords + random.normal(0.0, vibration, (frames, len(structure), 3))


def test_an_intact_framework_keeps_its_bonds_while_all_drifts_and_ions_walk() -> None:
    structure = thiophosphate()
    frames = still(structure)
    lithium = [site.specie.symbol == "Li" for site in structure]
    walk = np.cumsum(np.random.default_rng(1).normal(0, 0.5, (80, sum(lithium), 3)), axis=0)
    frames[:, lithium] += walk
    found, settled = judged(structure, frames + np.linspace(0, 30, 80)[:, None, None])
    assert (found.status, found.bonds, found.broken, found.formed, found.units, found.displaced) == ("intact", 32, 0, 0, 8, 0)
    assert found.cage == pytest.approx(3.5, abs=1e-6)
    moved = settled[:, lithium] - settled[:1, lithium]
    assert np.allclose(moved[1:] - walk[1:] + walk[:1], 0, atol=1.2)  # the drift is gone


def test_turning_anions_are_intact() -> None:
    structure = thiophosphate()
    frames = still(structure, vibration=0.05)
    symbols = np.array([site.specie.symbol for site in structure])
    for centre in np.flatnonzero(symbols == "P"):
        at = structure.cart_coords[centre]
        shift = structure.lattice.get_cartesian_coords(
            np.round(structure.lattice.get_fractional_coords(structure.cart_coords - at))
        )
        arms = structure.cart_coords - at - shift
        own = (symbols == "S") & (np.linalg.norm(arms, axis=1) < 2.2)
        assert own.sum() == 4
        for frame, angle in enumerate(np.linspace(0, 12 * np.pi, 80)):
            turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
            frames[frame, own] += arms[own] @ turn.T - arms[own]
    found, _ = judged(structure, frames)
    assert (found.status, found.broken, found.formed) == ("intact", 0, 0)


def test_anions_that_wander_are_molten_and_bonds_that_break_decompose() -> None:
    structure = thiophosphate(9.0)
    frames = still(structure)
    symbols = np.array([site.specie.symbol for site in structure])
    away = np.zeros((len(structure), 3))
    phosphorus = np.flatnonzero(symbols == "P")
    for centre, sign in zip(phosphorus[:4], (1, -1, 1, -1), strict=True):
        distances = structure.lattice.get_all_distances(structure.frac_coords[[centre]], structure.frac_coords)[0]
        away[(distances < 2.2) & (symbols != "Li")] = sign * 5.6 / np.sqrt(3)
    molten = frames + np.linspace(0, 1, 80)[:, None, None] * away
    found, _ = judged(structure, molten)
    assert (found.status, found.broken, found.displaced) == ("molten", 0, 4)
    frames = still(structure)
    sulfur = np.flatnonzero(symbols == "S")[:4]
    frames[40:, sulfur, 0] += 1.8
    found, _ = judged(structure, frames)
    assert found.status == "decomposed"
    assert found.broken >= 3


def test_all_mobile_has_no_framework() -> None:
    metal = Structure(Lattice.cubic(3.4), ["Li", "Li"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    found, _ = judged(metal, still(metal))
    assert found.status == "no framework"
