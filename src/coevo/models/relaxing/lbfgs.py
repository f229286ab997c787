"""L-BFGS on many crystals at once, each with its own memory, started and rescued by FIRE."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from coevo.models.relaxing.fire import Fire

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coevo.models.contracts import FloatArray
    from coevo.models.relaxing.variables import Variables

MEMORY = 25
"""Steps that the approximate Hessian remembers."""
MAX_STEP = 0.2
"""Å, largest row of a crystal's step."""
STIFFNESS = 40.0
"""eV/Å², Hessian that is assumed where nothing is remembered."""
START_FORCE = 10.0
"""eV/Å; L-BFGS takes over from FIRE below this largest force, …"""
RESCUE_FORCE = 30.0
"""… and gives back to it above this one."""
MIN_CURVATURE = 1e-4
"""A step whose force change is less aligned with it than this cosine says nothing of a minimum; the memory is emptied."""


@dataclass
class _Memory:
    """Steps and gradient changes of one crystal, oldest first, and the last point."""

    point: FloatArray | None = None
    force: FloatArray | None = None
    pairs: deque[tuple[FloatArray, FloatArray, float]] = field(default_factory=lambda: deque(maxlen=MEMORY))

    def step(self, point: FloatArray, force: FloatArray) -> FloatArray:
        """Take note of a point and return the step from there (Nocedal and Wright, Numerical Optimization, alg. 7.4)."""
        if self.point is not None and self.force is not None:
            step, change = point - self.point, self.force - force
            curvature = float(step @ change)
            if curvature > MIN_CURVATURE * float(np.linalg.norm(step) * np.linalg.norm(change)):
                self.pairs.append((step, change, curvature))
            else:
                self.pairs.clear()
        self.point, self.force = point, force
        direction = force.copy()
        weights = []
        for step, change, curvature in reversed(self.pairs):
            weights.append(float(step @ direction) / curvature)
            direction -= weights[-1] * change
        if self.pairs:
            _, change, curvature = self.pairs[-1]
            direction *= curvature / float(change @ change)
        else:
            direction /= STIFFNESS
        for (step, change, curvature), weight in zip(self.pairs, reversed(weights), strict=True):
            direction += step * (weight - float(change @ direction) / curvature)
        longest = float(np.sqrt((direction.reshape(-1, 3) ** 2).sum(axis=1).max()))
        return direction * min(1.0, MAX_STEP / max(longest, 1e-300))


class QuasiNewton:
    """L-BFGS below a largest force, FIRE above it.

    On random crystals it takes two thirds of FIRE's steps, and where FIRE ends on a saddle that symmetry made it walks on:
    rounding is enough to set it off.

    Parameters
    ----------
    variables : Variables
        What is moved.
    """

    def __init__(self, variables: Variables) -> None:
        self.variables = variables
        self.fire = Fire(variables)
        self.memories: list[_Memory | None] = [None] * len(variables.counts)

    def step(self, forces: tuple[FloatArray, FloatArray]) -> tuple[FloatArray, FloatArray]:
        """The next step of every crystal, Å."""
        variables = self.variables
        largest = variables.largest_row(*forces)
        quasi_newton = np.zeros(len(self.memories), dtype=bool)
        for k, memory in enumerate(self.memories):
            if memory is None and largest[k] < START_FORCE:
                self.memories[k] = _Memory()
            elif memory is not None and largest[k] > RESCUE_FORCE:
                self.memories[k] = None
            quasi_newton[k] = self.memories[k] is not None
        on_atoms, on_cells = self.fire.step(forces)
        self.fire.restart(quasi_newton)
        bounds = np.cumsum(variables.counts)
        for k, memory in enumerate(self.memories):
            if memory is None:
                continue
            rows = slice(bounds[k] - variables.counts[k], bounds[k])
            point = np.concatenate([variables.reference[rows], variables.log_deformation[k] * variables.counts[k]])
            step = memory.step(point.ravel(), np.concatenate([forces[0][rows], forces[1][k]]).ravel()).reshape(-1, 3)
            on_atoms[rows], on_cells[k] = step[:-3], step[-3:]
        return on_atoms, on_cells

    def keep(self, chosen: NDArray[np.bool_]) -> None:
        """Drop the crystals that are not chosen; to be called before the variables drop them."""
        self.fire.keep(chosen)
        self.memories = [memory for memory, stays in zip(self.memories, chosen, strict=True) if stays]
