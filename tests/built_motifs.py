"""Molecules and chains laid out in space from a list of their bonds: bonded atoms at 2.1 Å, all others further than 3.1 Å."""

from __future__ import annotations

import re
from functools import cache

import numpy as np
from pymatgen.core import Lattice, Structure
from scipy.optimize import minimize

BOND, GAP, BOX = 2.1, 3.1, 26.0


@cache
def built(text: str) -> Structure:
    """A structure of atoms bonded as in ``"P1-S1 P1-S2 S2-P1>"``, where ``>`` is the next repeat of a chain along c.

    Elements have one letter; what follows it tells atoms apart.
    """
    bonds = [re.match(r"([A-Z])(\w*)-([A-Z])(\w*)(>?)$", token).groups() for token in text.split()]
    atoms = list(dict.fromkeys(atom for a, i, b, j, _ in bonds for atom in ((a, i), (b, j))))
    pairs = [(atoms.index((a, i)), atoms.index((b, j)), bool(next_cell)) for a, i, b, j, next_cell in bonds]
    chain = any(next_cell for *_, next_cell in pairs)
    for seed in range(60):
        structure = laid_out([symbol for symbol, _ in atoms], pairs, chain, np.random.default_rng(seed))
        if structure is not None:
            return structure
    raise AssertionError(text)


def laid_out(symbols, pairs, chain, rng):
    n = len(symbols)
    steps = (-1, 0, 1) if chain else (0,)
    bonded = {(i, j, int(up)) for i, j, up in pairs} | {(j, i, -int(up)) for i, j, up in pairs}

    def cost(x):
        points, period = x[: 3 * n].reshape(n, 3), x[-1] if chain else BOX
        total = 0.0
        for step in steps:
            d = points[None] + np.array([0, 0, step * period]) - points[:, None]
            r = np.sqrt((d**2).sum(axis=2) + 1e-12)
            is_bond = np.array([[(i, j, step) in bonded for j in range(n)] for i in range(n)])
            other = ~is_bond & ~(np.eye(n, dtype=bool) & (step == 0))
            total += ((r - BOND)[is_bond] ** 2).sum() + (np.minimum(r - GAP, 0.0)[other] ** 2).sum()
        return total

    start = rng.normal(scale=2.0, size=3 * n)
    x = minimize(cost, np.append(start, 3.0 + n), method="L-BFGS-B", options={"maxiter": 2000}).x
    if cost(x) > 0.1 or (chain and x[-1] < 1.5):
        return None
    period = float(x[-1]) if chain else BOX
    return Structure(Lattice.orthorhombic(BOX, BOX, period), symbols, x[: 3 * n].reshape(n, 3) + 10.0, coords_are_cartesian=True)


def boxed(symbols: list[str], points: list[list[float]]) -> Structure:
    """Atoms at given places, Å, in a large box."""
    return Structure(Lattice.cubic(BOX), symbols, np.array(points) + 10.0, coords_are_cartesian=True)
