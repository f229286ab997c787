"""Operators: random symmetric crystals, on drawn Wyckoff positions or on those of good examples, at the predicted volume."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coevo.models.random_crystals.cells import Cell
from coevo.models.random_crystals.geometry import RejectedDrawError
from coevo.models.random_crystals.knowledge import binned_preference
from coevo.models.random_crystals.space_groups import centring, compatible, positions

if TYPE_CHECKING:
    import numpy as np
    from pymatgen.core import Structure

    from coevo.models.random_crystals.context import SamplingContext

_GROUP_TRIES = 30
_GROUP_FLOOR = 0.35
"""Share of space groups drawn uniformly whatever was learned."""

_LATTICES = 4
"""Lattices tried for one draw."""


def draw_space_group(context: SamplingContext, counts: tuple[int, ...], rng: np.random.Generator) -> int:
    """Draw a space group that the counts fit: learned frequencies with a uniform floor.

    Raises
    ------
    RejectedDrawError
        If none of 30 draws fits.
    """
    numbers, weights = context.space_groups
    for _ in range(_GROUP_TRIES):
        uniform = not numbers or rng.random() < _GROUP_FLOOR
        number = int(rng.integers(2, 231)) if uniform else numbers[context.pick(weights, rng)]
        if compatible(number, counts):
            return number
    raise RejectedDrawError("no_space_group")


def draw_symmetric(context: SamplingContext, rng: np.random.Generator) -> tuple[Structure, dict[str, Any]]:
    """A random symmetric crystal of a drawn composition and space group."""
    amounts = context.compositions.draw(rng)
    number = draw_space_group(context, tuple(amounts[s] for s in sorted(amounts)), rng)
    for attempt in range(_LATTICES):
        cell = Cell.random(context, number, context.draw_volume(amounts, rng) * centring(number), rng)
        try:
            for symbol in sorted(amounts, key=lambda s: (-amounts[s], s)):
                cell.place_atoms(symbol, amounts[symbol] * centring(number), rng, points=4)
        except RejectedDrawError:
            if attempt == _LATTICES - 1:
                raise
        else:
            break
    return cell.structure(), {"operator": "symmetric", "space_group": number}


def draw_occupation(context: SamplingContext, rng: np.random.Generator) -> tuple[Structure, dict[str, Any]]:
    """Fresh cell and coordinates on the Wyckoff positions of a good example."""
    options = [o for o in context.knowledge.occupations if set(o.sites) <= set(context.elements)]
    if not options:
        raise RejectedDrawError("no_occupation")
    chosen = options[context.pick([binned_preference(o.bins, context.target) ** 0.5 for o in options], rng)]
    number = chosen.space_group
    table = {p.label: p for p in positions(number)}
    if not any(label in table and table[label].freedom for labels in chosen.sites.values() for label in labels):
        # Nothing but the cell is left to draw: it would be the example itself.
        raise RejectedDrawError("no_freedom")
    amounts = {s: sum(int(label[:-1]) for label in labels) // centring(number) for s, labels in sorted(chosen.sites.items())}
    if sum(amounts.values()) > context.conditions.max_atoms or not context.wants(amounts):
        raise RejectedDrawError("off_composition")
    for _ in range(_LATTICES):
        cell = Cell.random(context, number, context.draw_volume(amounts, rng) * centring(number), rng)
        labels = [(s, label) for s in sorted(chosen.sites) for label in chosen.sites[s]]
        if all(label in table and cell.place(s, table[label], 6, rng) for s, label in labels):
            return cell.structure(), {"operator": "occupation", "space_group": number}
    raise RejectedDrawError("no_placement")
