"""Operator: crystals built from units. Rigid units go on Wyckoff positions of a space group, the other atoms into the voids.

A unit on a special position is turned so that its own symmetry contains that of the site (as in molecular crystal generation,
Fredericks et al., Comput. Phys. Commun. 261, 107810 (2021)); images that coincide are merged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.models.random_crystals.cells import MERGE, Cell, best_filling, merged
from coevo.models.random_crystals.chemistry import electronegativity, is_cation
from coevo.models.random_crystals.electrostatics import Placement, lowest
from coevo.models.random_crystals.geometry import RejectedDrawError, Separations, minimum_matrix
from coevo.models.random_crystals.space_groups import centring, order, smallest
from coevo.models.random_crystals.unit_orientation import NO_SYMMETRY, orientation, point_operations
from coevo.models.random_crystals.unit_sites import draw_group, draw_position
from coevo.models.random_crystals.units import bond_lengths, bonds_within

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from coevo.models.random_crystals.context import SamplingContext
    from coevo.models.random_crystals.knowledge import Unit

    FloatArray = NDArray[np.float64]

_UNIT_TRIES = 12
_UNIT_CHOICES = 4
_ATOM_POINTS = 24
_PACKINGS = 4
"""Packings compared, at most."""

_FILLINGS = 6
"""Ways of placing the other atoms, at most, of which the one of lowest electrostatic energy is taken."""
_LARGEST_GROUP_ORDER = 48


def choose_units(context: SamplingContext, amounts: Mapping[str, int], rng: np.random.Generator) -> list[Unit]:
    """Units for a cell: of a few random choices, the one that leaves the fewest atoms that belong in units.

    These are the non-metals but the most electronegative element, which may stay single (sulfide beside thiophosphate).

    Raises
    ------
    RejectedDrawError
        If no known unit fits.
    """
    anion = max(amounts, key=lambda s: (electronegativity(s), s))
    central = [s for s in amounts if s != anion and not is_cation(s)]
    special = context.knowledge.settings.unit_sites == "special"
    best: tuple[tuple[int, int], list[Unit]] | None = None
    for _ in range(_UNIT_CHOICES):
        chosen, left = _random_units(context, amounts, rng)
        # single anions beside units with fewer than they could have: 2 PS4 go before P2S7 and S
        lonely = sum(left[s] for s in central), left[anion] if special else 0
        if chosen and (best is None or lonely < best[0]):
            best = (lonely, chosen)
    if best is None:
        raise RejectedDrawError("no_unit_fits")
    return best[1]


def _random_units(
    context: SamplingContext, amounts: Mapping[str, int], rng: np.random.Generator
) -> tuple[list[Unit], dict[str, int]]:
    """Units drawn by weight until none fits, and the atoms that are left."""
    left = dict(amounts)
    chosen: list[Unit] = []
    while True:
        options = [(u, w) for u, w in context.units if all(left.get(s, 0) >= u.species.count(s) for s in set(u.species))]
        if not options or (chosen and rng.random() < 0.04):
            return chosen, left
        # One kind of unit again is likelier than a mixture.
        weights = [w * (3.0 if chosen and u is chosen[-1] else 1.0) for u, w in options]
        chosen.append(options[context.pick(weights, rng)][0])
        for s in chosen[-1].species:
            left[s] -= 1


def _place_unit(cell: Cell, unit: Unit, copies: int, rng: np.random.Generator) -> int:
    """Place one orbit of a unit with at most ``copies`` copies; the number placed, 0 if none fits."""
    special = cell.context.knowledge.settings.unit_sites == "special"
    options = [p for p in cell.positions if p.multiplicity <= copies]
    if not options:
        return 0
    general = cell.positions[0]
    body = np.array(unit.coordinates)
    inverse = np.linalg.inv(cell.matrix)
    inside = bonds_within(unit.species, unit.coordinates)
    symmetry = point_operations(unit.species, unit.coordinates)
    for _ in range(_UNIT_TRIES):
        if special:
            chosen = draw_position(unit, cell.number, copies, rng)
            if chosen is None:
                return 0
            position = chosen
        else:
            position = options[int(rng.integers(len(options)))]
        centre = position.project(rng.random((1, 3)))[0]
        site = cell.site(centre) if position is not general else NO_SYMMETRY
        turn = orientation(site, symmetry, rng)
        if turn is None:
            continue
        points = centre + (body @ turn.T) @ inverse
        symbols, coords = merged(cell.matrix, unit.species, general.images(points).transpose(1, 0, 2), MERGE)
        if len(symbols) != position.multiplicity * len(unit.species):
            continue
        minima, bonded = minimum_matrix(symbols, cell.context.minima), bond_lengths(symbols, symbols)
        distances = Separations(cell.matrix, coords, coords, float(max(minima.max(), bonded.max())), same=True)
        if distances.below(0.9 * minima).any():
            continue
        # Nothing is bonded but what is bonded within the unit: images and units placed before stay apart.
        if int(distances.below(bonded).sum()) == position.multiplicity * inside and _unbonded(cell, symbols, coords):
            cell.add(symbols, coords)
            return position.multiplicity
    return 0


def _unbonded(cell: Cell, symbols: Sequence[str], coords: FloatArray) -> bool:
    """Whether atoms are bonded to none of those placed before."""
    if not cell.symbols:
        return True
    bonded = bond_lengths(symbols, cell.symbols)
    return not Separations(cell.matrix, coords, cell.coords, float(bonded.max())).below(bonded).any()


def draw_packing(context: SamplingContext, rng: np.random.Generator) -> tuple[Structure, dict[str, Any]]:
    """A crystal built from units: of a few ways of packing one composition, the one of lowest electrostatic energy.

    Raises
    ------
    RejectedDrawError
        If no packing was possible.
    """
    amounts = context.compositions.draw(rng)
    units = choose_units(context, amounts, rng)
    special = context.knowledge.settings.unit_sites == "special"
    wanted = int(rng.integers(1, _PACKINGS + 1))
    found: list[Placement] = []
    numbers: list[int] = []
    failure = RejectedDrawError("no_room_for_unit")
    for _ in range(3 * wanted):
        if not special:
            number = _draw_group(context, units, rng)
        elif not found:  # packings are compared within one group: across groups, the one of the least symmetry would win
            number = draw_group(context, units, amounts, rng)
        try:
            placement = _packed(context, amounts, units, number, rng)
            context.check(placement.structure)
        except RejectedDrawError as err:
            failure = err
            continue
        found.append(placement)
        numbers.append(number)
        if len(found) == wanted or not placement.charges_known:
            break
    if not found:
        raise failure
    # Packings differ in volume and a Coulomb energy goes as 1/length: scaled, the denser one does not win by density.
    best = lowest(found, scaled=True)
    origin = {"operator": "units", "space_group": numbers[found.index(best)], "units": sorted(u.formula for u in units)}
    return best.structure, origin


def _packed(
    context: SamplingContext, amounts: Mapping[str, int], units: Sequence[Unit], number: int, rng: np.random.Generator
) -> Placement:
    """Units on positions of a space group in a random cell, and the other atoms in the voids."""
    multiple = centring(number)
    cell = Cell.random(context, number, context.draw_volume(amounts, rng) * multiple, rng)
    used = dict.fromkeys(amounts, 0)
    for kind in sorted(set(units), key=lambda u: (-len(u.species), u.formula, u.source)):
        wanted = units.count(kind) * multiple
        while wanted:
            placed = _place_unit(cell, kind, wanted, rng)
            if not placed:
                raise RejectedDrawError("no_room_for_unit")
            wanted -= placed
            for s in kind.species:
                used[s] += placed

    def fill(target: Cell) -> None:
        for symbol in sorted(amounts, key=lambda s: (amounts[s] * multiple - used[s], s)):
            target.place_atoms(symbol, amounts[symbol] * multiple - used[symbol], rng, points=_ATOM_POINTS)

    return best_filling(cell, fill, int(rng.integers(1, _FILLINGS + 1)))


def _draw_group(context: SamplingContext, units: Sequence[Unit], rng: np.random.Generator) -> int:
    """A space group whose smallest position can hold the units; learned frequencies with a floor of low-order groups."""
    numbers, weights = context.space_groups
    fewest = min(units.count(u) for u in set(units))
    for _ in range(30):
        number = int(rng.integers(1, 231)) if not numbers or rng.random() < 0.7 else numbers[context.pick(weights, rng)]
        if order(number) > _LARGEST_GROUP_ORDER:
            continue
        if smallest(number) <= fewest * centring(number):
            return number
    raise RejectedDrawError("no_space_group")
