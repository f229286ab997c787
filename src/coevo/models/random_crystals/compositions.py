"""Which compositions to draw: a prior of charge neutrality times the quality learned from examples, with a floor."""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations
from math import comb, gcd
from typing import TYPE_CHECKING

import numpy as np

from coevo.configs.electrons import electron_excess, has_electron_excess
from coevo.models.random_crystals.chemistry import neutrality
from coevo.models.random_crystals.geometry import RejectedDrawError
from coevo.models.random_crystals.knowledge import binned_preference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from coevo.models.contracts import Conditions
    from coevo.models.random_crystals.knowledge import Knowledge

    FloatArray = NDArray[np.float64]

_BANDWIDTH = 0.05
"""Width of the kernel between compositions, in atomic fractions."""

_FLOOR = 0.05
"""Quality of a composition of which nothing is known: the floor that keeps exploration alive."""

_ENUMERATE = 20_000
"""Compositions of a system that are listed; of larger systems as many are drawn at random."""

_TOGETHER = 250_000_000
"""Differences of atomic fractions that are in memory together; fewer rows at a time where many compositions are known."""

_SIZE_POWER = 2.0
"""Cells of n atoms are drawn in proportion to n to this power: larger cells hold more distinct structures."""


def _units_weight(units: int) -> float:
    """How common so many formula units in a primitive cell are, roughly: orders of the commonest point groups go first."""
    if units & (units - 1) == 0:
        return 1.0
    return 0.4 if units in {3, 6, 12} else 0.1


def _over_all_cells(rows: Sequence[Mapping[str, int]], weights: FloatArray) -> FloatArray:
    """Weights with the same total for each formula, spread over its cells by how common so many formula units are."""
    numbers: dict[tuple[tuple[str, int], ...], int] = {}
    formulas = np.array([numbers.setdefault(reduced_key(row), len(numbers)) for row in rows])
    common = np.array([_units_weight(gcd(*row.values())) for row in rows])
    spread: FloatArray = np.bincount(formulas, weights)[formulas] * common / np.bincount(formulas, common)[formulas]
    return spread


def fraction_rows(amounts: Sequence[Mapping[str, int]], symbols: Sequence[str]) -> FloatArray:
    """Atomic fractions of compositions, shape (n, n_symbols)."""
    rows = np.array([[a.get(s, 0) for s in symbols] for a in amounts], dtype=float).reshape(len(amounts), len(symbols))
    return rows / rows.sum(axis=1, keepdims=True)


def kernel(a: FloatArray, b: FloatArray) -> FloatArray:
    """Gaussian kernel between compositions given as atomic fractions, shapes (n, k) and (m, k); shape (n, m)."""
    square = ((a[:, None] - b[None]) ** 2).sum(axis=-1)
    return np.exp(-square / (2 * _BANDWIDTH**2))


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


def _priors(amounts: Sequence[Mapping[str, int]]) -> FloatArray:
    """Neutrality of compositions, which the tables of one draw after the other ask for."""
    return np.array([_neutrality(tuple(a.items())) for a in amounts])


@lru_cache(maxsize=50_000)
def _neutrality(amounts: tuple[tuple[str, int], ...]) -> float:
    return neutrality(dict(amounts))


class CompositionTable:
    """The distribution over cell contents under given conditions.

    Parameters
    ----------
    knowledge : Knowledge
    conditions : Conditions
    like : CompositionTable, optional
        Of the same knowledge under conditions that differ in the chemical systems only: what it has worked out is taken over.
    accommodated : bool
        Leave out compositions with more electrons than their elements can take; ``like`` has not left them out.
    focused : bool
        Of a formula in focus: all sizes of cells count, in proportion to how common so many formula units are.
    """

    def __init__(
        self,
        knowledge: Knowledge,
        conditions: Conditions,
        like: CompositionTable | None = None,
        *,
        accommodated: bool = False,
        focused: bool = False,
    ):
        from pymatgen.core import Composition

        self.knowledge = knowledge
        self.conditions = conditions
        self.allowed = {Composition(f).reduced_formula for f in conditions.compositions}
        self._keys = sorted(
            reduced_key({k: round(v) for k, v in Composition(f).reduced_composition.get_el_amt_dict().items()})
            for f in self.allowed
        )
        self._focused = focused
        self._all = like if accommodated else None
        shared = None if accommodated else like
        self.listed: dict[frozenset[str], tuple[list[dict[str, int]], FloatArray]] = {} if shared is None else shared.listed
        self.counted: dict[tuple[frozenset[str], tuple[str, ...]], NDArray[np.int64]] = {} if shared is None else shared.counted
        known = list(knowledge.compositions.values())
        self._symbols = sorted({s for c in known for s in c.amounts} | set(conditions.elements))
        self._known = fraction_rows([c.amounts for c in known], self._symbols)
        counts = np.array([sum(c.bins) for c in known], dtype=float)
        preferences = np.array([binned_preference(c.bins, conditions.energy_above_hull) for c in known])
        # Five examples of a composition say what it is worth; more would only drown its neighbours.
        self._masses = np.minimum(counts, 5.0)
        self._totals = preferences * self._masses / np.maximum(counts, 1.0)
        self.systems, self.system_weights = self._system_table()

    def _system_table(self) -> tuple[list[frozenset[str]], FloatArray]:
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

    def quality(self, amounts: Sequence[Mapping[str, int]]) -> FloatArray:
        """Expected preference of compositions, in (0, 1], shape (n,): kernel regression on the examples, shrunk to the prior."""
        rows = fraction_rows(amounts, self._symbols)
        prior = _priors(amounts)
        totals, masses = np.zeros(len(rows)), np.zeros(len(rows))
        step = max(1, _TOGETHER // max(1, self._known.size))
        for start in range(0, len(rows), step):
            near = kernel(rows[start : start + step], self._known)
            totals[start : start + step], masses[start : start + step] = near @ self._totals, near @ self._masses
        return (0.15 * prior + totals) / (1.0 + masses)

    def table(self, system: frozenset[str]) -> tuple[list[dict[str, int]], FloatArray]:
        """Cell contents of a system and their weights."""
        if system not in self.listed and self._all is not None:
            rows, weights = self._all.table(system)
            kept = [i for i, row in enumerate(rows) if not has_electron_excess(electron_excess(row))]
            self.listed[system] = ([rows[i] for i in kept], weights[kept])
        elif system not in self.listed:
            symbols = tuple(sorted(system))
            contents = cell_contents(symbols, self.conditions.max_atoms)
            rows = [dict(zip(symbols, content, strict=True)) for content in contents]
            if self.allowed:
                rows = [row for row in rows if reduced_key(row) in self._keys]
            self.listed[system] = (rows, self._weights(rows))
        return self.listed[system]

    def counts(self, system: frozenset[str], elements: tuple[str, ...]) -> NDArray[np.int64]:
        """Atoms of each element in the cell contents of a system, shape (n, n_elements), in the order of :meth:`table`."""
        if (system, elements) not in self.counted:
            rows = self.table(system)[0]
            self.counted[system, elements] = np.array([[row.get(s, 0) for s in elements] for row in rows]).reshape(
                -1, len(elements)
            )
        return self.counted[system, elements]

    def _weights(self, rows: Sequence[Mapping[str, int]]) -> FloatArray:
        if not rows:
            return np.zeros(0)
        quality = self.quality(rows)
        atoms = np.array([sum(row.values()) for row in rows], dtype=float)
        even = self.knowledge.settings.depth.even_cells
        if not self.allowed:
            weights = atoms**_SIZE_POWER * (_FLOOR + quality) * _priors(rows)
            return _over_all_cells(rows, weights) if even else weights
        # Formulas asked for are all wanted: each weighs the same over its cells, and the learned quality only tilts them.
        units = np.array([gcd(*row.values()) for row in rows])
        if self._focused:
            return np.array([_units_weight(n) for n in units.tolist()])
        most = self.conditions.max_atoms * units // atoms.astype(int)
        per_formula = np.array([(np.arange(1, m + 1.0) ** _SIZE_POWER).sum() for m in most])
        weights = units**_SIZE_POWER / per_formula * (0.3 + quality)
        return _over_all_cells(rows, weights) if even else weights

    def wants(self, key: tuple[tuple[str, int], ...]) -> bool:
        """Whether a reduced composition (as :func:`reduced_key` gives it) fulfils the conditions."""
        if self._all is not None and has_electron_excess(electron_excess(dict(key))):
            return False
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
