"""Operator: crystals built from units. Rigid units go on Wyckoff positions of a space group, the other atoms into the voids.

A unit on a special position is turned so that its own symmetry contains that of the site (as in molecular crystal generation,
Fredericks et al., Comput. Phys. Commun. 261, 107810 (2021)); images that coincide are merged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.models.embedded.cells import Cell, centring, positions
from coevo.models.embedded.geometry import RejectedDrawError, minimum_matrix, nearest_distances
from coevo.models.embedded.units import orientation, point_operations

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from pymatgen.core import Structure

    from coevo.models.embedded.cells import Position
    from coevo.models.embedded.context import SamplingContext
    from coevo.models.embedded.knowledge import Unit

    FloatArray = NDArray[np.float64]

_UNIT_TRIES = 12
_ATOM_POINTS = 24
_MERGE = 0.45
"""Images of one atom closer than this are one atom on a special position, Å."""

_LARGEST_GROUP_ORDER = 48


def merged(lattice: FloatArray, symbols: Sequence[str], images: FloatArray) -> tuple[list[str], FloatArray]:
    """Merge images of the same atom that coincide; symbols and mean coordinates of the distinct atoms.

    Parameters
    ----------
    images : ndarray, shape (operations, n, 3)
    """
    kept_symbols: list[str] = []
    kept: list[FloatArray] = []
    for symbol in sorted(set(symbols)):
        points = images[:, [i for i, s in enumerate(symbols) if s == symbol]].reshape(-1, 3)
        near = nearest_distances(lattice, points, points) < _MERGE
        left = np.ones(len(points), dtype=bool)
        for i in range(len(points)):
            if not left[i]:
                continue
            members = np.flatnonzero(near[i] & left)
            left[members] = False
            delta = points[members] - points[i]
            kept.append(points[i] + (delta - np.round(delta)).mean(axis=0))
            kept_symbols.append(symbol)
    return kept_symbols, np.array(kept)


def choose_units(context: SamplingContext, amounts: Mapping[str, int], rng: np.random.Generator) -> list[Unit]:
    """Units that use up the non-metal atoms as far as they go, drawn by weight; the last draw may leave single atoms.

    Raises
    ------
    RejectedDrawError
        If no known unit fits.
    """
    left = dict(amounts)
    chosen: list[Unit] = []
    while True:
        options = [(u, w) for u, w in context.units if all(left.get(s, 0) >= u.species.count(s) for s in set(u.species))]
        # An element that is only in units (P in thiophosphates) is not left over while a unit can take it.
        if not options or (chosen and rng.random() < 0.04):
            break
        weights = [w * len(u.species) ** 0.5 * (3.0 if chosen and u is chosen[-1] else 1.0) for u, w in options]
        unit = options[context.pick(weights, rng)][0]
        chosen.append(unit)
        for s in unit.species:
            left[s] -= 1
    if not chosen:
        raise RejectedDrawError("no_unit_fits")
    return chosen


def _place_unit(cell: Cell, unit: Unit, copies: int, rng: np.random.Generator) -> int:
    """Place one orbit of a unit with at most ``copies`` copies; the number placed, 0 if none fits."""
    options = [p for p in cell.positions if p.multiplicity <= copies]
    if not options:
        return 0
    general = cell.positions[0]
    body = np.array(unit.coordinates)
    inverse = np.linalg.inv(cell.matrix)
    for _ in range(_UNIT_TRIES):
        position = options[int(rng.integers(len(options)))]
        centre = position.project(rng.random((1, 3)))[0]
        site = _site_operations(cell, general, centre) if position is not general else []
        turn = orientation(site, point_operations(unit.species, unit.coordinates), rng)
        if turn is None:
            continue
        points = centre + (body @ turn.T) @ inverse
        symbols, coords = merged(cell.matrix, unit.species, general.images(points).transpose(1, 0, 2))
        if len(symbols) != position.multiplicity * len(unit.species):
            continue
        minima = minimum_matrix(symbols, cell.context.minima)
        apart = nearest_distances(cell.matrix, coords, coords, same=True)
        if (apart >= 0.9 * minima).all() and cell.fits(symbols, coords):
            cell.add(symbols, coords)
            return position.multiplicity
    return 0


def _site_operations(cell: Cell, general: Position, centre: FloatArray) -> list[FloatArray]:
    """Cartesian operations, without the identity, that keep a point (modulo lattice vectors)."""
    transform = cell.matrix.T
    found = []
    for rotation, translation in zip(general.rotations, general.translations, strict=True):
        delta = rotation @ centre + translation - centre
        if np.abs(delta - np.round(delta)).max() < 1e-4 and np.abs(rotation - np.eye(3)).max() > 1e-6:
            found.append(transform @ rotation @ np.linalg.inv(transform))
    return found


def draw_packing(context: SamplingContext, rng: np.random.Generator) -> tuple[Structure, dict[str, Any]]:
    """A crystal built from units: composition, units, space group and cell are drawn, then filled."""
    amounts = context.compositions.draw(rng)
    units = choose_units(context, amounts, rng)
    number = _draw_group(context, units, rng)
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
    for symbol in sorted(amounts, key=lambda s: (amounts[s] * multiple - used[s], s)):
        cell.place_atoms(symbol, amounts[symbol] * multiple - used[symbol], rng, points=_ATOM_POINTS)
    return cell.structure(), {"operator": "units", "space_group": number, "units": sorted(u.formula for u in units)}


def _draw_group(context: SamplingContext, units: Sequence[Unit], rng: np.random.Generator) -> int:
    """A space group whose smallest position can hold the units; learned frequencies with a floor of low-order groups."""
    numbers, weights = context.space_groups
    fewest = min(units.count(u) for u in set(units))
    for _ in range(30):
        number = int(rng.integers(1, 231)) if not numbers or rng.random() < 0.7 else numbers[context.pick(weights, rng)]
        smallest = min(p.multiplicity for p in positions(number))
        if positions(number)[0].multiplicity <= _LARGEST_GROUP_ORDER and smallest <= fewest * centring(number):
            return number
    raise RejectedDrawError("no_space_group")
