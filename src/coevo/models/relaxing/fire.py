"""FIRE on many crystals at once, each with its own time step, velocity and mixing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from coevo.models.contracts import FloatArray
    from coevo.models.relaxing.variables import Variables

TIME_STEP = 0.1
MAX_TIME_STEP = 1.0
MAX_STEP = 0.2
"""Å, norm of a crystal's whole step."""
MIN_STEPS = 5
GROWTH = 1.1
SHRINK = 0.5
MIXING = 0.1
MIXING_DECAY = 0.99


class Fire:
    """FIRE (Bitzek et al., PRL 97, 170201 (2006)).

    Update and parameters are those of ``ase.optimize.FIRE``, so that each crystal follows ASE's path.

    Parameters
    ----------
    variables : Variables
        What is moved.
    """

    def __init__(self, variables: Variables) -> None:
        self.variables = variables
        n = len(variables.counts)
        self.velocity = np.zeros_like(variables.reference), np.zeros((n, 3, 3))
        self.time_step = np.full(n, TIME_STEP)
        self.mixing = np.full(n, MIXING)
        self.downhill_steps = np.zeros(n, dtype=np.int64)
        self.moving = np.zeros(n, dtype=bool)

    def step(self, forces: tuple[FloatArray, FloatArray]) -> tuple[FloatArray, FloatArray]:
        """The next step of every crystal along its generalised forces, Å."""
        variables = self.variables
        self._steer(forces)
        self.moving[:] = True
        push = variables.spread(self.time_step, forces)
        self.velocity = self.velocity[0] + push[0], self.velocity[1] + push[1]
        step = variables.spread(self.time_step, self.velocity)
        length = np.sqrt(variables.dot(step, step))
        return variables.spread(np.minimum(1.0, MAX_STEP / np.maximum(length, 1e-300)), step)

    def restart(self, chosen: NDArray[np.bool_]) -> None:
        """Bring the chosen crystals to rest, as at the start."""
        still = (~chosen).astype(np.float64)
        self.velocity = self.variables.spread(still, self.velocity)
        self.time_step[chosen], self.mixing[chosen], self.downhill_steps[chosen] = TIME_STEP, MIXING, 0
        self.moving[chosen] = False

    def keep(self, chosen: NDArray[np.bool_]) -> None:
        """Drop the crystals that are not chosen; to be called before the variables drop them."""
        self.velocity = self.velocity[0][chosen[self.variables.owner]], self.velocity[1][chosen]
        self.time_step, self.mixing = self.time_step[chosen], self.mixing[chosen]
        self.downhill_steps, self.moving = self.downhill_steps[chosen], self.moving[chosen]

    def _steer(self, forces: tuple[FloatArray, FloatArray]) -> None:
        """Turn the velocities towards the forces, or stop the crystals that move uphill."""
        variables, velocity = self.variables, self.velocity
        downhill = (variables.dot(forces, velocity) > 0.0) & self.moving
        uphill = ~downhill & self.moving
        force, speed = np.sqrt(variables.dot(forces, forces)), np.sqrt(variables.dot(velocity, velocity))
        kept = variables.spread(np.where(downhill, 1.0 - self.mixing, 0.0), velocity)
        turned = variables.spread(np.where(downhill, self.mixing * speed / np.maximum(force, 1e-300), 0.0), forces)
        self.velocity = kept[0] + turned[0], kept[1] + turned[1]
        faster = downhill & (self.downhill_steps > MIN_STEPS)
        self.time_step = np.where(faster, np.minimum(self.time_step * GROWTH, MAX_TIME_STEP), self.time_step)
        self.time_step = np.where(uphill, self.time_step * SHRINK, self.time_step)
        self.mixing = np.where(uphill, MIXING, np.where(faster, self.mixing * MIXING_DECAY, self.mixing))
        self.downhill_steps = np.where(uphill, 0, self.downhill_steps + downhill)
