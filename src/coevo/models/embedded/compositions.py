"""Which compositions to draw: a prior of charge neutrality times the quality learned from examples, with a floor."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import combinations
from math import comb, gcd
from typing import TYPE_CHECKING

import numpy as np

from coevo.models.embedded.chemistry import neutrality
from coevo.models.embedded.geometry import RejectedDrawError
from coevo.models.embedded.knowledge import binned_preference

if TYPE_CHECKING:
    from collections.abc import Mapping

    from coevo.models.contracts import Conditions
    from coevo.models.embedded.knowledge import Knowledge

_BANDWIDTH = 0.05
"""Width of the kernel between compositions, in atomic fractions."""

_FLOOR = 0.05
"""Quality of a composition of which nothing is known: the floor that keeps exploration alive."""

_ENUMERATE = 20_000
"""Compositions of a system that are listed; of larger systems as many are drawn at random."""

_SIZE_POWER = 2.0
"""Cells of n atoms are drawn in proportion to n to this power: larger cells hold more distinct structures."""


def fractions(amounts: Mapping[str, int]) -> dict[str, float]:
    """Atomic fractions."""
    atoms = sum(amounts.values())
    return {s: n / atoms for s, n in amounts.items()}


def kernel(a: Mapping[str, float], b: Mapping[str, float]) -> float:
    """Gaussian kernel between two compositions given as atomic fractions."""
    square = sum((a.get(s, 0.0) - b.get(s, 0.0)) ** 2 for s in sorted(set(a) | set(b)))
    return math.exp(-square / (2 * _BANDWIDTH**2))


def reduced_key(amounts: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """The composition divided by its greatest common divisor, sorted by symbol."""
    present = {s: n for s, n in amounts.items() if n}
    divisor = gcd(*present.values())
    return tuple(sorted((s, n // divisor) for s, n in present.items()))


@lru_cache(maxsize=64)
def cell_contents(system: tuple[str, ...], max_atoms: int) -> tuple[tuple[int, ...], ...]:
    """Contents of cells that hold every element of a system and at most ``max_atoms`` atoms."""
    k = len(system)
    if k > max_atoms:
        return ()
    if comb(max_atoms, k) <= _ENUMERATE:
        # Stars and bars: k increasing cut points in 1..max_atoms are the partial sums of the amounts.
        return tuple(tuple(np.diff((0, *cuts)).tolist()) for cuts in combinations(range(1, max_atoms + 1), k))
    rng = np.random.default_rng([k, max_atoms])
    drawn = {
        tuple(np.diff(np.sort(np.concatenate([[0], rng.choice(max_atoms, k, replace=False) + 1]))).tolist())
        for _ in range(_ENUMERATE)
    }
    return tuple(sorted(drawn))


class CompositionTable:
    """The distribution over cell contents under given conditions.

    Parameters
    ----------
    knowledge : Knowledge
    conditions : Conditions
    """

    def __init__(self, knowledge: Knowledge, conditions: Conditions):
        from pymatgen.core import Composition

        self.knowledge = knowledge
        self.conditions = conditions
        self.allowed = {Composition(f).reduced_formula for f in conditions.compositions}
        self._keys = sorted(
            reduced_key({k: round(v) for k, v in Composition(f).reduced_composition.get_el_amt_dict().items()})
            for f in self.allowed
        )
        self._tables: dict[frozenset[str], tuple[list[dict[str, int]], np.ndarray]] = {}
        self._known = [
            (fractions(c.amounts), sum(c.bins), binned_preference(c.bins, conditions.energy_above_hull))
            for c in knowledge.compositions.values()
        ]
        self.systems, self.system_weights = self._system_table()

    def _system_table(self) -> tuple[list[frozenset[str]], np.ndarray]:
        weights = {frozenset(k.split("-")): float(w) for k, w in sorted(self.conditions.chemical_systems.items()) if w > 0}
        if self.allowed:
            systems = sorted({frozenset(s for s, _ in key) for key in self._keys}, key=sorted)
            kept = {s: weights.get(s, 0.0) if weights else 1.0 for s in systems}
            if not weights:
                # No system was asked for: each formula counts once.
                kept = {s: float(sum(frozenset(e for e, _ in key) == s for key in self._keys)) for s in systems}
        else:
            kept = weights or {frozenset(self.conditions.elements): 1.0}
        kept = {s: w for s, w in kept.items() if w > 0 and s <= set(self.conditions.elements) and len(self.table(s)[0])}
        return list(kept), np.array(list(kept.values()))

    def quality(self, amounts: Mapping[str, int]) -> float:
        """Expected preference of a composition, in (0, 1]: kernel regression on the examples, shrunk to the prior."""
        here = fractions(amounts)
        prior = neutrality(amounts)
        total, mass = 0.15 * prior, 1.0
        for known, count, weight in self._known:
            k = kernel(here, known) * min(count, 5) / count
            total += k * weight
            mass += k * count
        return total / mass

    def table(self, system: frozenset[str]) -> tuple[list[dict[str, int]], np.ndarray]:
        """Cell contents of a system and their weights."""
        if system not in self._tables:
            symbols = tuple(sorted(system))
            rows: list[dict[str, int]] = []
            weights: list[float] = []
            for content in cell_contents(symbols, self.conditions.max_atoms):
                amounts = dict(zip(symbols, content, strict=True))
                if self.allowed and reduced_key(amounts) not in self._keys:
                    continue
                rows.append(amounts)
                weights.append(self._weight(amounts))
            self._tables[system] = (rows, np.array(weights))
        return self._tables[system]

    def _weight(self, amounts: Mapping[str, int]) -> float:
        size = sum(amounts.values()) ** _SIZE_POWER
        if self.allowed:
            # Formulas that were asked for are all wanted: the learned quality only tilts them.
            units = max(gcd(*amounts.values()), 1)
            per_formula = sum(m**_SIZE_POWER for m in range(1, self.conditions.max_atoms * units // sum(amounts.values()) + 1))
            return units**_SIZE_POWER / per_formula * (0.3 + self.quality(amounts))
        return size * (_FLOOR + self.quality(amounts)) * neutrality(amounts)

    def wants(self, key: tuple[tuple[str, int], ...]) -> bool:
        """Whether a reduced composition (as :func:`reduced_key` gives it) fulfils the conditions."""
        return not self.allowed or key in self._keys

    def draw(self, rng: np.random.Generator) -> dict[str, int]:
        """Draw the content of a cell.

        Raises
        ------
        RejectedDrawError
            If no cell content fulfils the conditions.
        """
        if not self.systems:
            raise RejectedDrawError("no_composition")
        p = self.system_weights
        system = self.systems[int(rng.choice(len(p), p=p / p.sum()))]
        rows, weights = self.table(system)
        return dict(rows[int(rng.choice(len(rows), p=weights / weights.sum()))])

    def draw_system(self, rng: np.random.Generator) -> frozenset[str]:
        """Draw a chemical system."""
        if not self.systems:
            raise RejectedDrawError("no_composition")
        p = self.system_weights
        return self.systems[int(rng.choice(len(p), p=p / p.sum()))]
