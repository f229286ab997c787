"""Operators: variation of good parents, by the ASE genetic algorithm's operators and three of our own.

Ours re-place cations, change the composition, and slide layers. Each operator changes enough that relaxation does not simply lead
back to the parent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.models.random_crystals.cells import Cell, best_filling
from coevo.models.random_crystals.chemistry import is_cation
from coevo.models.random_crystals.genetic import (
    allowed,
    crossover,
    origin,
    permutation,
    pick_parent,
    rattle,
    rotation,
    scaled,
    supercell,
)
from coevo.models.random_crystals.geometry import RejectedDrawError, reduced
from coevo.models.random_crystals.units import fragments

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pymatgen.core import Structure

    from coevo.models.random_crystals.context import SamplingContext

    Operator = Callable[[SamplingContext, np.random.Generator], tuple[Structure, dict[str, Any]]]

_VOID_POINTS = 24
"""Random points of which an added atom takes the roomiest."""

_FILLINGS = 6
"""Ways of filling the voids, at most, of which the one of lowest electrostatic energy is taken."""

_LARGEST_ORDER = 48
"""Operations of what is left of a parent, at most, for its symmetry to be used."""

_LARGEST_CHANGE = 5
"""Atoms that are substituted, added or removed, at most."""


def cations(context: SamplingContext, rng: np.random.Generator) -> tuple[Structure, dict[str, Any]]:
    """The cations of a parent are taken out and placed in other voids of its anions."""
    parent, structure = pick_parent(
        context, rng, lambda p: allowed(context, p) and 0 < sum(map(is_cation, p.species)) < len(p.species)
    )
    structure = scaled(structure, context, rng)
    symbols = [site.specie.symbol for site in structure]
    movable = [i for i, s in enumerate(symbols) if is_cation(s)]
    share = float(rng.uniform(0.4, 1.0))
    moved = [movable[i] for i in sorted(rng.permutation(len(movable))[: max(1, round(share * len(movable)))].tolist())]
    child = _refilled(context, structure, moved, [symbols[i] for i in moved], rng, symmetric=bool(rng.random() < 0.5))
    return child, origin("cations", parent)


def _refilled(
    context: SamplingContext,
    structure: Structure,
    removed: list[int],
    added: list[str],
    rng: np.random.Generator,
    *,
    symmetric: bool = False,
) -> Structure:
    """The structure without some atoms, and with others in its voids; ``symmetric``: in orbits of what is left."""
    cell = Cell(context, 1, np.array(structure.lattice.matrix))
    gone = set(removed)
    kept = [i for i in range(len(structure)) if i not in gone]
    cell.add([structure[i].specie.symbol for i in kept], structure.frac_coords[kept])
    operations = _operations(cell) if symmetric else None

    def fill(target: Cell) -> None:
        for symbol in sorted(set(added), key=lambda s: (is_cation(s), s)):
            if operations is None:
                target.place_atoms(symbol, added.count(symbol), rng, points=_VOID_POINTS)
            else:
                target.place_orbits(symbol, added.count(symbol), *operations, rng)

    return best_filling(cell, fill, int(rng.integers(1, _FILLINGS + 1))).structure


def _operations(cell: Cell) -> tuple[np.ndarray, np.ndarray] | None:
    """Rotations and translations (fractional) of the atoms in a cell within 0.1 Å; None if they are too many or unknown."""
    import spglib
    from pymatgen.core import Element

    contents: Any = (cell.matrix, cell.coords, [Element(s).Z for s in cell.symbols])
    found = spglib.get_symmetry(contents, symprec=0.1) if cell.symbols else None
    if found is None or not 1 < len(found["rotations"]) <= _LARGEST_ORDER:
        return None
    return np.array(found["rotations"], dtype=float), np.array(found["translations"])


def exchange(context: SamplingContext, rng: np.random.Generator) -> tuple[Structure, dict[str, Any]]:
    """A parent becomes a neighbouring composition: some atoms are substituted, added or removed."""
    parent, structure = pick_parent(context, rng)
    symbols = [site.specie.symbol for site in structure]
    have = {s: symbols.count(s) for s in context.elements}
    target = _neighbour(context, have, rng)
    surplus = [s for s in context.elements for _ in range(max(have[s] - target.get(s, 0), 0))]
    missing = [s for s in context.elements for _ in range(max(target.get(s, 0) - have[s], 0))]
    inside = {i for f in fragments(structure) for i in f.indices}
    removed: list[int] = []
    for symbol in surplus:
        places = [i for i, s in enumerate(symbols) if s == symbol and i not in removed]
        lone = [i for i in places if i not in inside]
        places = lone or places
        removed.append(places[int(rng.integers(len(places)))])
    # A substitute takes the place of a removed atom of its own kind (cation for cation, anion for anion) where there is one.
    substitutions: dict[int, str] = {}
    for symbol in list(missing):
        place = next((i for i in removed if i not in substitutions and is_cation(symbols[i]) == is_cation(symbol)), None)
        if place is not None:
            substitutions[place] = symbol
            missing.remove(symbol)
    changed = structure.copy()
    for place, symbol in substitutions.items():
        changed.replace(place, symbol)
    changed = scaled(changed, context, rng)
    gone = [i for i in removed if i not in substitutions]
    if missing and len(gone) == len(structure):
        raise RejectedDrawError("no_neighbour")
    return _refilled(context, changed, gone, missing, rng), origin("exchange", parent)


def _neighbour(context: SamplingContext, have: Mapping[str, int], rng: np.random.Generator) -> dict[str, int]:
    """A cell content that few atoms separate from the one at hand, drawn by its weight."""
    system = context.compositions.draw_system(rng)
    rows, weights = context.compositions.table(system)
    changes = context.compositions.counts(system, context.elements) - np.array([have[s] for s in context.elements])
    size = np.maximum(np.maximum(changes, 0).sum(axis=1), np.maximum(-changes, 0).sum(axis=1))
    near = np.flatnonzero((size > 0) & (size <= _LARGEST_CHANGE))
    if not len(near):
        raise RejectedDrawError("no_neighbour")
    return dict(rows[near[context.pick(weights[near] / size[near], rng)]])


def slide(context: SamplingContext, rng: np.random.Generator) -> tuple[Structure, dict[str, Any]]:
    """Half of a supercell slides along a plane: other stackings of the same layers."""
    from pymatgen.core import Structure

    limit = context.conditions.max_atoms
    parent, structure = pick_parent(context, rng, lambda p: allowed(context, p) and 2 * len(p.species) <= limit)
    if len(structure) == len(parent.species):
        structure = supercell(structure, 2, rng)
    axis = int(rng.integers(3))
    shift = rng.random(3)
    shift[axis] = 0.0
    coords = (structure.frac_coords + rng.random(3)) % 1.0
    coords[coords[:, axis] < 0.5] += shift
    moved = Structure(structure.lattice, [site.specie for site in structure], coords)
    return scaled(reduced(moved), context, rng), origin("slide", parent)


OPERATORS: dict[str, tuple[float, Operator]] = {
    "crossover": (0.17, crossover),
    "exchange": (0.22, exchange),
    "cations": (0.4, cations),
    "rotation": (0.1, rotation),
    "permutation": (0.03, permutation),
    "rattle": (0.06, rattle),
    "slide": (0.02, slide),
}
"""Name: share of the variations, operator."""


def draw_variation(context: SamplingContext, rng: np.random.Generator) -> tuple[Structure, dict[str, Any]]:
    """Vary a parent by an operator drawn by its share."""
    names = list(OPERATORS)
    name = names[context.pick([OPERATORS[n][0] for n in names], rng)]
    return OPERATORS[name][1](context, rng)
