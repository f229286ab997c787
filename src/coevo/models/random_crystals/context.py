"""One call of ``sample``: the knowledge, the conditions, and what follows from both (volumes, shortest distances, weights)."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from coevo.configs.electrons import electron_excess, has_electron_excess
from coevo.models.random_crystals.chemistry import covalent_radius, prior_volume
from coevo.models.random_crystals.compositions import CompositionTable, fraction_rows, kernel, reduced_key
from coevo.models.random_crystals.focus import Course, choose
from coevo.models.random_crystals.geometry import RejectedDrawError, too_close
from coevo.models.random_crystals.knowledge import binned_preference, pair_key, preference
from coevo.models.random_crystals.space_groups import shares, weighted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from coevo.models.contracts import Conditions
    from coevo.models.random_crystals.knowledge import Knowledge, Parent, Unit

    FloatArray = NDArray[np.float64]

_PRIOR_DISTANCE = 0.75
"""Shortest distance before anything is learned, in sums of covalent radii."""

_LEARNED_DISTANCE = 0.88
"""Shortest distance allowed in a draw over the shortest seen in good examples; relaxation does the rest."""

_BONDED = 0.95
"""Upper bound of what is learned, in sums of covalent radii."""

_VOLUME_BOUNDS = (0.6, 2.2)
"""A draw's volume over the prediction, at least and at most."""


class SamplingContext:
    """What every operator is given.

    Parameters
    ----------
    knowledge : Knowledge
    conditions : Conditions
    like : CompositionTable, optional
        As for :class:`CompositionTable`.
    accommodated : bool
        As for :class:`CompositionTable`; a draw with an excess is then rejected.
    focused : bool
        As for :class:`CompositionTable`.
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
        self.knowledge = knowledge
        self.conditions = conditions
        self.elements = tuple(sorted(conditions.elements))
        self.target = conditions.energy_above_hull
        self.compositions = CompositionTable(knowledge, conditions, like, accommodated=accommodated, focused=focused)
        self._accommodated = accommodated
        self._volumes: dict[tuple[tuple[str, int], ...], float] = {}
        self._passed: Structure | None = None

    @cached_property
    def minima(self) -> dict[tuple[str, str], float]:
        """Shortest distances allowed, Å, for every ordered pair of the system's elements."""
        found = {}
        for a in self.elements:
            for b in self.elements:
                radii = covalent_radius(a) + covalent_radius(b)
                learned = self.knowledge.distances.get(pair_key(a, b))
                # Examples without a bond between two elements do not forbid one: a bond length is the most that can be learned.
                found[a, b] = _PRIOR_DISTANCE * radii if learned is None else min(_LEARNED_DISTANCE * learned, _BONDED * radii)
        return found

    @cached_property
    def space_groups(self) -> tuple[list[int], list[float]]:
        """Learned space groups and their weights; the square root keeps rare ones in play."""
        learned = self.knowledge.space_groups
        numbers = sorted(learned)
        return numbers, [math.sqrt(binned_preference(learned[n], self.target)) for n in numbers]

    def wants(self, amounts: Mapping[str, int]) -> bool:
        """Whether the conditions admit a composition and its chemical system."""
        return frozenset(amounts) in self.compositions.systems and self.compositions.wants(reduced_key(amounts))

    def volume(self, amounts: Mapping[str, int]) -> float:
        """Predicted volume of a cell with these atoms, Å³.

        A sum over the elements, corrected by what examples of similar composition had.
        """
        key = tuple(amounts.items())
        if key not in self._volumes:
            table = self.knowledge.volumes
            base = sum(n * table.get(s, prior_volume(s)) for s, n in amounts.items())
            symbols, rows, shifts = self._known_volumes
            near = kernel(fraction_rows([amounts], symbols), rows)[0]
            self._volumes[key] = base * math.exp(float(near @ shifts) / (0.25 + float(near.sum())))
        return self._volumes[key]

    @cached_property
    def _known_volumes(self) -> tuple[list[str], FloatArray, FloatArray]:
        """Symbols, atomic fractions of the known compositions, and their log(volume / sum over the elements)."""
        table = self.knowledge.volumes
        known = list(self.knowledge.compositions.values())
        symbols = sorted({s for c in known for s in c.amounts} | set(self.elements))
        rows = fraction_rows([c.amounts for c in known], symbols)
        expected = rows @ np.array([table.get(s, prior_volume(s)) for s in symbols])
        return symbols, rows, np.log(np.array([c.volume for c in known]) / expected)

    def draw_volume(self, amounts: Mapping[str, int], rng: np.random.Generator) -> float:
        """A volume near the prediction, Å³: log-normal, a little above it, because random packings are loose."""
        spread = min(self.knowledge.volume_spread, 0.15)
        return self.volume(amounts) * math.exp(float(np.clip(rng.normal(0.03, spread), -0.2, 0.3)))

    @cached_property
    def units(self) -> tuple[tuple[Unit, float], ...]:
        """Units that a cell under these conditions can hold, with their weights at the target energy."""
        contents = [row for system in self.compositions.systems for row in self.compositions.table(system)[0]]
        chosen = [
            u
            for u in self.knowledge.units
            if any(all(row.get(s, 0) >= u.species.count(s) for s in set(u.species)) for row in contents)
        ]
        return tuple((u, math.sqrt(binned_preference(u.bins, self.target))) for u in chosen)

    @cached_property
    def parents(self) -> tuple[tuple[Parent, float], ...]:
        """Parents of the system's elements with their weights at the target energy."""
        return tuple(
            (p, preference(p.energy_above_hull, self.target))
            for p in self.knowledge.parents
            if set(p.species) <= set(self.elements)
        )

    def pick(self, weights: Sequence[float] | FloatArray, rng: np.random.Generator) -> int:
        """An index drawn with these weights."""
        p = np.asarray(weights, dtype=float)
        total = p.sum()
        if not total > 0:
            raise RejectedDrawError("no_choice")
        return weighted(shares(p), rng)

    def check(self, structure: Structure) -> None:
        """Reject a draw that is off-system, malformed, too close, too dense, too loose or too large.

        Raises
        ------
        RejectedDrawError
            With the reason that is counted.
        """
        if structure is self._passed:  # an operator has asked before
            return
        symbols = [site.specie.symbol for site in structure]
        coords = structure.frac_coords
        if not np.isfinite(coords).all() or not np.isfinite(structure.lattice.matrix).all():
            raise RejectedDrawError("not_finite")
        if not set(symbols) <= set(self.elements) or frozenset(symbols) not in self.compositions.systems:
            raise RejectedDrawError("off_system")
        if len(symbols) > self.conditions.max_atoms:
            raise RejectedDrawError("too_many_atoms")
        if self.conditions.compositions and structure.composition.reduced_formula not in self.compositions.allowed:
            raise RejectedDrawError("off_composition")
        amounts = {s: symbols.count(s) for s in sorted(set(symbols))}
        if self._accommodated and has_electron_excess(electron_excess(amounts)):
            raise RejectedDrawError("electron_excess")
        lengths = structure.lattice.abc
        if max(lengths) > 8.0 * min(lengths) or min(structure.lattice.angles) < 20.0 or max(structure.lattice.angles) > 160.0:
            raise RejectedDrawError("cell_shape")
        ratio = structure.volume / self.volume(amounts)
        if not _VOLUME_BOUNDS[0] <= ratio <= _VOLUME_BOUNDS[1]:
            raise RejectedDrawError("volume")
        if too_close(structure.lattice.matrix, coords, symbols, self.minima):
            raise RejectedDrawError("too_close")
        self._passed = structure


class SystemContexts:
    """One context for each chemical system that the conditions ask for, so that a draw and its repeats stay within one system.

    Parameters
    ----------
    knowledge : Knowledge
    conditions : Conditions
    """

    def __init__(self, knowledge: Knowledge, conditions: Conditions):
        self.electron_excess_share = conditions.electron_excess_share
        self._knowledge = knowledge
        self._conditions = conditions
        self._table = CompositionTable(knowledge, conditions)
        self._systems, self._weights = self._table.systems, self._table.system_weights
        self._contexts: dict[frozenset[str], SamplingContext] = {}
        self._accommodated: dict[frozenset[str], SamplingContext] = {}
        self._focus = choose(knowledge, conditions, self._table)
        self._focused: dict[int, SamplingContext] = {}
        self._courses: dict[int, Course] = {}

    def in_focus(self, seed: int, number: int) -> SamplingContext | None:
        """The context of the formula in focus that a draw of a sample is for; None if it explores.

        Parameters
        ----------
        seed : int
            Of the sample.
        number : int
            Of the draw.
        """
        if not self._focus:
            return None
        if seed not in self._courses:
            self._courses[seed] = Course(self._knowledge.settings.depth.share, len(self._focus), seed)
        chosen = self._courses[seed].formula(number)
        if chosen is None:
            return None
        if chosen not in self._focused:
            formula = self._focus[chosen]
            one = replace(
                self._conditions,
                chemical_systems={formula.system: 1.0},
                compositions=("".join(f"{s}{n}" for s, n in sorted(formula.amounts.items())),),
            )
            self._focused[chosen] = SamplingContext(self._knowledge, one, focused=True)
        return self._focused[chosen]

    def draw(self, rng: np.random.Generator) -> SamplingContext | None:
        """The context of a system drawn by its weight; None if no cell fulfils the conditions."""
        if not self._systems:
            return None
        system = self._systems[int(rng.choice(len(self._systems), p=self._weights / self._weights.sum()))]
        if system not in self._contexts:
            one = replace(self._conditions, chemical_systems={"-".join(sorted(system)): 1.0})
            self._contexts[system] = SamplingContext(self._knowledge, one, self._table)
        return self._contexts[system]

    def accommodated(self, context: SamplingContext) -> SamplingContext:
        """The context of the same system without compositions that have more electrons than their elements can take."""
        (system,) = context.compositions.systems
        if system not in self._accommodated:
            self._accommodated[system] = SamplingContext(self._knowledge, context.conditions, self._table, accommodated=True)
        return self._accommodated[system]
