"""Draws: each has random numbers of its own, so that they may be made anywhere and in any order, and are taken in theirs."""

from __future__ import annotations

import hashlib
import pickle
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.configs.electrons import electron_excess, has_electron_excess
from coevo.models.random_crystals.context import SystemContexts
from coevo.models.random_crystals.geometry import RejectedDrawError
from coevo.processes import has_processes, map_chunks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pymatgen.core import Structure

    from coevo.models.contracts import Conditions
    from coevo.models.random_crystals.context import SamplingContext
    from coevo.models.random_crystals.knowledge import Knowledge

    Operator = Callable[[SamplingContext, np.random.Generator], tuple[Structure, dict[str, Any]]]

_REPEATS = 8
_OCCUPATION_SHARE = 0.3
"""Share of the random symmetric crystals that reuse the Wyckoff positions of good examples."""

_EXCHANGE_SHARE = 0.25
"""Of the variations of a formula in focus: what neighbouring parents have while it has none of its own."""

ELECTRON_EXCESS = "electron_excess"
"""Reason of what was rejected because there were enough with more electrons than their elements can take."""

_ROUNDING = 1e-9

_CHUNK = 4
"""Draws that a worker makes at a time: a few tenths of a second."""


@dataclass(frozen=True)
class Drawn:
    """What came of one draw.

    Attributes
    ----------
    number : int
    structure : Structure or None
        None if all its tries were rejected.
    origin : dict
        Operator and its parameters.
    rejected : mapping of str to int
        Tries that were rejected, by reason.
    otherwise : Drawn or None
        Of a structure with more electrons than its elements can take, where there is a limit for these: what takes its place if
        there are enough of them, of the same system and by the same operator, so that the mix of both is that asked for.
    """

    number: int
    structure: Structure | None = None
    origin: dict[str, Any] = field(default_factory=dict)
    rejected: Mapping[str, int] = field(default_factory=dict)
    otherwise: Drawn | None = None

    def within(self, share: float, excess: int, found: int) -> Drawn:
        """What counts of this draw after ``found`` structures of which ``excess`` have too many electrons: at most a share may.

        The limit holds for the first n structures of every n: a longer sample begins with the shorter one.
        """
        if self.otherwise is None or excess + 1 <= share * (found + 1) + _ROUNDING:
            return self
        rejected = Counter({**self.rejected, ELECTRON_EXCESS: 1})
        rejected.update(self.otherwise.rejected)
        return replace(self.otherwise, rejected=rejected)


def in_order(knowledge: Knowledge, conditions: Conditions, seed: int, n: int, *, most: int, workers: int) -> Iterator[Drawn]:
    """Draw until ``n`` draws have a structure.

    Parameters
    ----------
    knowledge : Knowledge
    conditions : Conditions
    seed : int
    n, most : int
        Structures wanted, and draws at most.
    workers : int
        Processes that draw. Draws that turn out not to be needed are dropped, so the result does not depend on it.

    Yields
    ------
    Drawn
        In order of their numbers, from 0.
    """
    handed_out = taken = found = 0

    def chunks() -> Iterator[range]:
        nonlocal handed_out
        while handed_out < most:
            # near the end, draws are handed out one by one: few of them are made in vain
            size = _CHUNK if found + handed_out - taken + _CHUNK <= n else 1
            chunk = range(handed_out, min(handed_out + size, most))
            handed_out = chunk.stop
            yield chunk

    if has_processes(workers):
        packed = pickle.dumps((knowledge, conditions))
        draw = partial(_draw_in_worker, packed, hashlib.sha256(packed).hexdigest(), seed)
        results = map_chunks(draw, chunks(), workers=workers)
    else:
        systems = SystemContexts(knowledge, conditions)
        results = ([_draw(systems, seed, number) for number in chunk] for chunk in chunks())
    share, excess = conditions.electron_excess_share, 0
    for result in results if n else ():
        for whole in result:
            drawn = whole if share is None else whole.within(share, excess, found)
            taken += 1
            found += drawn.structure is not None
            excess += drawn.otherwise is not None
            yield drawn
            if found == n:
                return


def _draw_in_worker(packed: bytes, digest: str, seed: int, numbers: range) -> list[Drawn]:
    if digest not in _systems:
        _systems.clear()
        _systems[digest] = SystemContexts(*pickle.loads(packed))  # noqa: S301  (of this program's own parent)
    return [_draw(_systems[digest], seed, number) for number in numbers]


_systems: dict[str, SystemContexts] = {}
"""In a worker: what follows from the knowledge and the conditions at hand."""


def _draw(systems: SystemContexts, seed: int, number: int) -> Drawn:
    rng = np.random.default_rng([seed, number])
    focus = systems.in_focus(seed, number)
    if focus is not None:
        return _in_focus(number, focus, rng)
    context = systems.draw(rng)
    if context is None:
        return Drawn(number, rejected={"no_composition": 1})
    operator = _operator(context, rng)
    drawn = _tried(number, operator, context, rng)
    if drawn.structure is None or systems.electron_excess_share is None:
        return drawn
    if not has_electron_excess(electron_excess(drawn.structure.composition.get_el_amt_dict())):
        return drawn
    return replace(drawn, otherwise=_tried(number, operator, systems.accommodated(context), rng))


def _in_focus(number: int, context: SamplingContext, rng: np.random.Generator) -> Drawn:
    """A draw of a formula in focus, which has no electron excess; if no operator of its kind gives it, any symmetric crystal."""
    from coevo.models.random_crystals.symmetric import draw_symmetric

    operator = _focused_operator(context, rng)
    drawn = _tried(number, operator, context, rng)
    if drawn.structure is None and operator is not draw_symmetric:
        other = _tried(number, draw_symmetric, context, rng)
        drawn = replace(other, rejected=Counter(drawn.rejected) + Counter(other.rejected))
    return drawn if drawn.structure is None else replace(drawn, origin=drawn.origin | {"focus": True})


def _focused_operator(context: SamplingContext, rng: np.random.Generator) -> Operator:
    from coevo.models.random_crystals.genetic import allowed
    from coevo.models.random_crystals.packing import draw_packing
    from coevo.models.random_crystals.symmetric import draw_symmetric
    from coevo.models.random_crystals.variation import draw_variation, exchange

    settings = context.knowledge.settings
    small = [p for p, _ in context.parents if len(p.species) <= context.conditions.max_atoms]
    if any(allowed(context, p) for p in small):
        if rng.random() < settings.variation_fraction:
            return draw_variation
    elif small and rng.random() < _EXCHANGE_SHARE * settings.variation_fraction:
        return exchange
    return draw_packing if context.units and rng.random() < settings.unit_fraction else draw_symmetric


def _tried(number: int, operator: Operator, context: SamplingContext, rng: np.random.Generator) -> Drawn:
    rejected: Counter[str] = Counter()
    # A failed draw is repeated in the same system with the same operator: the mix is that asked for, not the easy one.
    for _ in range(_REPEATS):
        try:
            structure, origin = operator(context, rng)
            context.check(structure)
        except RejectedDrawError as err:
            rejected[err.reason] += 1
        else:
            return Drawn(number, structure, origin, rejected)
    return Drawn(number, rejected=rejected)


def _operator(context: SamplingContext, rng: np.random.Generator) -> Operator:
    from coevo.models.random_crystals.packing import draw_packing
    from coevo.models.random_crystals.symmetric import draw_occupation, draw_symmetric
    from coevo.models.random_crystals.variation import draw_variation

    settings = context.knowledge.settings
    small = any(len(p.species) <= context.conditions.max_atoms for p, _ in context.parents)
    if small and rng.random() < settings.variation_fraction:
        return draw_variation
    if context.units and rng.random() < settings.unit_fraction:
        return draw_packing
    if context.knowledge.occupations and rng.random() < _OCCUPATION_SHARE:
        return draw_occupation
    return draw_symmetric
