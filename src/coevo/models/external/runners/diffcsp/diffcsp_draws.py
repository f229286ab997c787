"""Draws of DiffCSP as they are judged, by the process that draws them and by the runner: what is no crystal is counted."""

from __future__ import annotations

from typing import Any

import coevo_cells
import numpy as np


def fault_of(drawn: Any, numbers: list[int]) -> str:
    """Why a draw is dropped; empty if it is not.

    Parameters
    ----------
    drawn : object
        What the sampler wrote: ``lattice`` (3 rows, Å), ``positions`` (fractional), ``numbers`` (atomic).
    numbers : list of int
        Those that were asked for.
    """
    try:
        lattice = np.array(drawn["lattice"], dtype=float)
        positions = np.array(drawn["positions"], dtype=float)
        found = [int(z) for z in drawn["numbers"]]
    except (KeyError, TypeError, ValueError, OverflowError):
        return "malformed"
    if found != numbers:
        return "wrong_elements"
    if lattice.shape != (3, 3) or positions.shape != (len(numbers), 3):
        return "malformed"
    return coevo_cells.fault_of(lattice, positions)
