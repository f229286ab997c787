"""Coefficients of walks whose own are known."""

from __future__ import annotations

import numpy as np
import pytest

from coevo.analysis.transport.arrhenius import arrhenius, tracer_conductivity
from coevo.analysis.transport.diffusion import diffusion
from coevo.errors import AnalysisError

INTERVAL = 0.1


def walk(seed: int, d: float = 0.1, atoms: int = 32, frames: int = 500, vibration: float = 0.25) -> np.ndarray:
    """Brownian walkers (D in Å²/ps) seen through a vibration (Å)."""
    random = np.random.default_rng(seed)
    steps = random.normal(0.0, np.sqrt(2.0 * d * INTERVAL), (frames, atoms, 3))
    return np.cumsum(steps, axis=0) + random.normal(0.0, vibration, (frames, atoms, 3))


def test_intervals_cover_known_walks() -> None:
    found = [diffusion([walk(seed)], INTERVAL) for seed in range(100)]
    true = 1e-5  # cm²/s: 0.1 Å²/ps
    covered = sum(one.low <= true <= one.high for one in found)
    assert 90 <= covered <= 100
    assert np.mean([one.value for one in found]) == pytest.approx(true, rel=0.02)
    # and says no less than it knows: the stated error is within a third of the scatter
    scatter = np.std([one.value for one in found])
    assert 0.8 < np.mean([one.error for one in found]) / scatter < 1.35
    assert all(one.resolved for one in found)


def lattice_gases(number: int, frames: int, hops: int, size: int = 6, seed: int = 0) -> np.ndarray:
    """Coordinates of lattice gases with a tenth of the sites free, side by side: (number, frames, atoms, 3), lattice units.

    A free site, drawn at random, changes places with a neighbour, drawn at random, if an atom is there.
    """
    random = np.random.default_rng(seed)
    sites = size**3
    free = sites // 10
    grid = np.stack(np.meshgrid(*[np.arange(size)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    moves = np.array([[1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
    order = random.permuted(np.tile(np.arange(sites), (number, 1)), axis=1)
    holes = order[:, :free]
    atom_at = np.full((number, sites), -1)
    every = np.arange(number)
    atoms = sites - free
    atom_at[every[:, None], order[:, free:]] = np.arange(atoms)
    places = grid[order[:, free:]].astype(float)
    kept = np.empty((number, frames, atoms, 3), dtype=np.float32)
    for frame in range(frames):
        which, direction = random.integers(free, size=(hops, number)), random.integers(6, size=(hops, number))
        for hop in range(hops):
            hole = holes[every, which[hop]]
            step = moves[direction[hop]]
            target = (grid[hole] + step) % size
            place = target[:, 0] * size * size + target[:, 1] * size + target[:, 2]
            atom = atom_at[every, place]
            rows = np.flatnonzero(atom >= 0)
            moving = atom[rows]
            places[rows, moving] -= step[rows]
            atom_at[rows, hole[rows]] = moving
            atom_at[rows, place[rows]] = -1
            holes[rows, which[hop][rows]] = place[rows]
        kept[:, frame] = places
    return kept


@pytest.mark.long
def test_intervals_of_three_replicas_cover_correlated_walkers() -> None:
    free, hops = 21, 60
    gases = lattice_gases(240, 260, hops)
    # of a frame (0.1 ps): each atom tries 1/atoms of the hops that meet an atom; lattice constant 1 Å
    shares = []
    true = exact_tracer(gases, INTERVAL)
    for first in range(0, 240, 3):
        found = diffusion(list(gases[first : first + 3].astype(float)), INTERVAL)
        shares.append(found.low / 1e-4 <= true <= found.high / 1e-4)
    assert np.mean(shares) >= 0.9
    # Nakazato and Kitahara (Prog. Theor. Phys. 1980, 64, 2261): f = 1 / (1 + 2 c α / ((2 - c)(1 - α))), simple cubic α = 0.2098
    c, alpha = 1.0 - free / 216, 0.2098
    correlation = 1.0 / (1.0 + 2.0 * c * alpha / ((2.0 - c) * (1.0 - alpha)))
    rate = hops * (195 / 215) / 195 / INTERVAL  # hops of an atom, per ps: a neighbour of a free site is an atom in 195 of 215
    assert true == pytest.approx(correlation * rate / 6.0, rel=0.03)


def exact_tracer(gases: np.ndarray, interval: float) -> float:
    """Slope of the mean square displacement of all of them between long lags, Å²/ps."""
    lags = (60, 120)
    square = [float(((gases[:, lag:] - gases[:, :-lag]).astype(float) ** 2).sum(axis=-1).mean()) for lag in lags]
    return (square[1] - square[0]) / (6.0 * interval * (lags[1] - lags[0]))


def test_atoms_that_only_rattle_have_an_upper_limit_and_no_coefficient() -> None:
    found = diffusion([walk(1, d=0.0)], INTERVAL)
    assert not found.resolved
    # a hop of 2.5 Å in 49.9 ps
    assert found.upper_limit == pytest.approx(2.5**2 / (6 * 49.9) * 1e-4, rel=1e-6)
    with pytest.raises(AnalysisError, match=r"16 displacements over 1 ps"):
        diffusion([walk(1, frames=100)], INTERVAL)


def test_one_atom_has_an_interval() -> None:
    found = diffusion([walk(2, atoms=1, frames=2000)], INTERVAL)
    assert np.isfinite([found.error, found.low, found.high, found.upper_limit]).all()
    assert found.low < 1e-5 < found.high


def test_anisotropy_is_seen() -> None:
    walks = walk(3, atoms=100)
    walks[..., 2] *= 2.0
    found = diffusion([walks], INTERVAL)
    assert found.directions[2] / found.directions[0] == pytest.approx(4.0, rel=0.15)


def test_cages_ask_for_a_longer_lag() -> None:
    """An atom that is drawn back to a site that walks: over short times it seems to diffuse faster."""
    random = np.random.default_rng(5)
    sites = np.cumsum(random.normal(0, np.sqrt(2 * 0.02 * INTERVAL), (3000, 64, 3)), axis=0)
    away = np.zeros((64, 3))
    seen = np.empty_like(sites)
    memory = np.exp(-INTERVAL / 0.7)  # forgotten in 0.7 ps
    for frame in range(len(sites)):
        away = memory * away + np.sqrt(1 - memory**2) * random.normal(0, 0.6, away.shape)
        seen[frame] = sites[frame] + away
    found = diffusion([seen], INTERVAL)
    assert found.plateau
    assert found.lag >= 2.0
    assert found.value == pytest.approx(2e-6, rel=0.15)
    assert diffusion([seen], INTERVAL, lag=1.0).value > 1.1 * found.value
    assert found.compared
    # of 20 ps there is time for one lag only: no plateau says nothing then
    short = diffusion([seen[:200]], INTERVAL)
    assert (short.plateau, short.compared) == (False, False)


def test_an_arrhenius_line_is_found_with_its_interval() -> None:
    temperatures = np.array([600.0, 800.0, 1000.0])
    true = 2e-3 * np.exp(-0.25 / (8.617333262e-5 * temperatures))
    exact = arrhenius(temperatures, true, 0.1 * true)
    assert exact.activation_energy == pytest.approx(0.25, abs=1e-9)
    assert exact.prefactor == pytest.approx(2e-3, rel=1e-9)
    random = np.random.default_rng(0)
    covered, at_room = 0, 2e-3 * np.exp(-0.25 / (8.617333262e-5 * 300.0))
    for _ in range(200):
        seen = true * np.exp(0.1 * random.standard_normal(3))
        found = arrhenius(temperatures, seen, 0.1 * seen)
        covered += found.low <= at_room <= found.high
    assert covered >= 180
    with pytest.raises(AnalysisError, match="wants 3 resolved temperatures, got 2"):
        arrhenius([600, 800], [1e-6, 1e-5], [1e-7, 1e-6])


def test_conductivity_by_hand() -> None:
    # 0.02 ions/Å³ = 2e22 cm⁻³; (1.602e-19)² × 1e-5 × 2e22 / (1.380649e-23 × 1000) = 0.3718 S/cm
    assert tracer_conductivity(1e-5, 0.02, 1000.0) == pytest.approx(0.3718, rel=1e-3)
    assert tracer_conductivity(1e-5, 0.02, 1000.0, charge=2.0) == pytest.approx(4 * 0.3718, rel=1e-3)
