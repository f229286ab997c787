"""Diffusion coefficients of trajectories by the covariance estimator, with errors that cover what they say.

For displacements x_n over a lag τ, seen through a vibration, D = <x_n²>/2τ + <x_n x_(n+1)>/τ for each direction: the second term
takes off what the vibration adds to the first (Vestergaard, Blainey and Flyvbjerg, Phys. Rev. E 2014, 89, 022726).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from coevo.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

TO_CM2_PER_S = 1e-4
"""1 Å²/ps is 1e-4 cm²/s."""
SHORTEST_LAG = 1.0
"""ps; below, atoms that rattle in a cage look as if they moved on."""
MIN_INCREMENTS = 16
"""Displacements of a replica at the longest lag, at least."""
BLOCKS = 4
"""Parts of a trajectory, each an estimate of its own, from which errors are taken that atoms share."""
HOP = 2.5
"""Å; a mobile atom that diffused less than one hop in the whole time has no coefficient, only an upper limit."""
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Diffusion:
    """A diffusion coefficient; all of it in cm²/s, times in ps.

    Attributes
    ----------
    value : float
        Mean of the three directions.
    error : float
        Standard error.
    low, high : float
        95 % interval.
    directions : tuple of float
        Diagonal of the tensor, along x, y and z.
    lag : float
        τ.
    plateau : bool
        Whether twice the lag gives the same within the errors.
    compared : bool
        Whether there was time for twice the shortest lag at all; without it, no plateau says nothing.
    resolved : bool
        The interval is above zero, and the atoms moved on by a hop on average.
    upper_limit : float
        What can be said where it is not resolved.
    time : float
        Analysed, of one replica.
    replicas, atoms : int
    """

    value: float
    error: float
    low: float
    high: float
    directions: tuple[float, float, float]
    lag: float
    plateau: bool
    compared: bool
    resolved: bool
    upper_limit: float
    time: float
    replicas: int
    atoms: int


def diffusion(replicas: Sequence[FloatArray], interval: float, *, lag: float | None = None) -> Diffusion:
    """Estimate a diffusion coefficient.

    Parameters
    ----------
    replicas : sequence of ndarray, shape (n_frames, n_atoms, 3)
        Unwrapped positions of the mobile atoms against the framework, Å, of independent runs.
    interval : float
        From one frame to the next, ps.
    lag : float, optional
        τ in ps. By default the shortest of 1, 2, 4, … ps at which twice the lag gives the same within the errors; the longest
        that leaves 16 displacements if there is none.

    Raises
    ------
    AnalysisError
        If there are fewer than 16 displacements over 1 ps (or the lag that is given).
    """
    shortest = min(len(one) for one in replicas) if replicas else 0
    total = (shortest - 1) * interval
    first = max(1, round((SHORTEST_LAG if lag is None else lag) / interval))
    longest = (shortest - 1) // MIN_INCREMENTS
    if first > longest:
        raise AnalysisError(
            f"{max(total, 0.0):.3g} ps are too short: {MIN_INCREMENTS} displacements over {first * interval:.3g} ps are wanted"
        )
    stride = first
    chosen, plateau = _estimate(replicas, interval, stride), False
    while 2 * stride <= longest:
        longer = _estimate(replicas, interval, 2 * stride)
        # the two share their data: their difference scatters by no more than the root of the difference of squares, near enough
        allowed = 1.96 * max(longer[1], 1e-300)
        plateau = abs(longer[0].mean() - chosen[0].mean()) <= allowed
        if plateau or lag is not None:
            break
        chosen, stride = longer, 2 * stride
    directions, error, freedom = chosen
    from scipy.special import stdtrit

    value = float(directions.mean())
    half = float(stdtrit(freedom, 0.5 + CONFIDENCE / 2)) * error
    floor = HOP**2 / (6.0 * total) if total > 0 else np.inf
    resolved = value - half > 0.0 and value >= floor
    scale = TO_CM2_PER_S
    return Diffusion(
        value=value * scale,
        error=error * scale,
        low=(value - half) * scale,
        high=(value + half) * scale,
        directions=(float(directions[0]) * scale, float(directions[1]) * scale, float(directions[2]) * scale),
        lag=stride * interval,
        plateau=bool(plateau),
        compared=2 * first <= longest,
        resolved=bool(resolved),
        upper_limit=max(value + half, floor) * scale,
        time=total,
        replicas=len(replicas),
        atoms=replicas[0].shape[1],
    )


def _estimate(replicas: Sequence[FloatArray], interval: float, stride: int) -> tuple[FloatArray, float, float]:
    """Diagonal of the tensor (Å²/ps), standard error of its mean, and degrees of freedom of that."""
    each = [_of_atoms(one, interval, stride) for one in replicas]
    directions = np.mean([found.mean(axis=0) for found in each], axis=0)
    # atoms as independent draws: right where each stays in surroundings of its own
    atoms = np.concatenate([found.mean(axis=1) for found in each])
    if len(atoms) == 1:  # its directions are all there is
        atoms = each[0].ravel()
    by_atoms = float(atoms.std(ddof=1) / np.sqrt(len(atoms)))
    # times (and replicas) as independent draws: right where atoms push each other along
    parts = np.array(
        [
            _of_atoms(part, interval, stride).mean()
            for one in replicas
            for part in _blocks(one, BLOCKS if len(replicas) < BLOCKS else 2, 3 * stride + 1)
        ]
    )
    by_time = float(parts.std(ddof=1) / np.sqrt(len(parts)))
    if by_time >= by_atoms:
        return directions, by_time, float(len(parts) - 1)
    return directions, by_atoms, float(len(atoms) - 1)


def _blocks(positions: FloatArray, number: int, least: int) -> list[FloatArray]:
    number = max(2, min(number, len(positions) // least))
    bounds = np.linspace(0, len(positions) - 1, number + 1).astype(int)
    return [positions[a : b + 1] for a, b in pairwise(bounds)]


def _of_atoms(positions: FloatArray, interval: float, stride: int) -> FloatArray:
    """The estimator for each atom and direction, shape (n_atoms, 3), Å²/ps; starts that lie between are averaged over."""
    tau = stride * interval
    starts = range(0, stride, max(1, stride // 4))
    total = np.zeros(positions.shape[1:])
    for start in starts:
        steps = np.diff(positions[start::stride], axis=0)
        total += (steps**2).mean(axis=0) / (2.0 * tau) + (steps[:-1] * steps[1:]).mean(axis=0) / tau
    found: FloatArray = total / len(starts)
    return found
