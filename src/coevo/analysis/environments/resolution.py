"""At what distance two environments are two: how far the descriptor of one site wanders while atoms vibrate.

Two snapshots of one site, 0.2 ps or more apart at 300 K, show the same environment. So their distance in the space of descriptors
is what a distance has to exceed before it says anything: δ is its median, δ90 its 90 % quantile, over the sites of a crystal, and
of a node the median of these over its crystals.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, exp
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.analysis.environments.descriptors import multicomponent_descriptors_of
from coevo.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from pymatgen.core import Structure

    FloatArray = NDArray[np.float64]

TEMPERATURE = 300.0
"""K."""
APART = 200.0
"""fs between snapshots."""
BEFORE = 100.0
"""fs before the first one. Atoms begin with twice the temperature, and have shared it with the bonds after 50 fs."""
SNAPSHOTS = 3
MOST_CRYSTALS = 6
MOST_ATOMS = 64
"""Of a crystal's cell as it is shaken."""
MOST_ATOMS_IN_ALL = 160
"""Beyond what it takes to cover the elements no further crystal is shaken: CHGNet takes 23 s of a core for this many."""
SHORTEST_VECTOR = 6.0
"""Å; shorter cell vectors are doubled, or an atom would see little but images that move as it does."""
QUESTS_BANDWIDTH = 0.015
"""1/Å; QUESTS's default."""
_QUANTILE = 0.9


def timestep_of(elements: Sequence[str]) -> float:
    """Step of the dynamics, fs: 2, and 0.5 with hydrogen, whose vibrations are five times as fast as those of P–S bonds."""
    return 0.5 if "H" in elements else 2.0


def doubled(structure: Structure) -> Structure | None:
    """The cell with its short vectors doubled; None if it has more than :data:`MOST_ATOMS` atoms then."""
    times = [2 if length < SHORTEST_VECTOR else 1 for length in structure.lattice.abc]
    if len(structure) * times[0] * times[1] * times[2] > MOST_ATOMS:
        return None
    return structure.copy() if times == [1, 1, 1] else structure * times


def chosen(cells: Sequence[Structure | None], elements: Sequence[str]) -> list[int]:
    """Choose which crystals are shaken: the smallest, such that each element is in one of them if it can be.

    Parameters
    ----------
    cells : sequence of (Structure or None)
        As :func:`doubled` gives them; of equal size the first counts as smaller.
    elements : sequence of str

    Returns
    -------
    list of int
        Their places, ascending; at most :data:`MOST_CRYSTALS`.
    """
    sizes = {place: len(cell) for place, cell in enumerate(cells) if cell is not None}
    order = sorted(sizes, key=lambda place: (sizes[place], place))
    holds = {place: {site.specie.symbol for site in cell} for place, cell in enumerate(cells) if cell is not None}
    found: list[int] = []
    for symbol in elements:
        if any(symbol in holds[place] for place in found):
            continue
        first = next((place for place in order if symbol in holds[place]), None)
        if first is not None and len(found) < MOST_CRYSTALS:
            found.append(first)
    for place in order:
        atoms = sum(sizes[other] for other in found)
        if place not in found and len(found) < MOST_CRYSTALS and atoms + sizes[place] <= MOST_ATOMS_IN_ALL:
            found.append(place)
    return sorted(found)


@dataclass(frozen=True)
class Shaken:
    """How far the environments of a crystal's sites wander.

    Attributes
    ----------
    symbols : tuple of str
        Of the centres, a pair of snapshots after the other.
    distances : ndarray, shape (n_pairs * n_sites,)
        Between two snapshots of one site, 1/Å.
    """

    symbols: tuple[str, ...]
    distances: FloatArray


def wandering(geometries: Sequence[Structure], elements: Sequence[str], neighbours: int, cutoff: float) -> Shaken:
    """Distances between all pairs of snapshots of each site, by the descriptor that sees the neighbours' species.

    Parameters
    ----------
    geometries : sequence of Structure
        Snapshots of one crystal, sites in one order; two or more.
    elements : sequence of str
    neighbours, cutoff
        k and Å of the descriptor.

    Raises
    ------
    AnalysisError
        There is no pair.
    """
    if len(geometries) < 2:
        raise AnalysisError(f"{len(geometries)} snapshots make no pair; give at least 2")
    sites = np.arange(len(geometries[0]))
    X = multicomponent_descriptors_of(geometries, elements, neighbours, cutoff, atoms=[sites] * len(geometries))
    rows = X.reshape(len(geometries), len(sites), -1)
    first, second = np.triu_indices(len(geometries), k=1)
    distances = np.sqrt(((rows[first] - rows[second]) ** 2).sum(axis=2))
    symbols = tuple(site.specie.symbol for site in geometries[0])
    return Shaken(symbols * len(first), distances.ravel())


def resolution(crystals: Sequence[Shaken], elements: Sequence[str]) -> dict[str, Any]:
    """δ and δ90 of a node: the medians, over its crystals, of the median and of the 90 % quantile of each.

    Parameters
    ----------
    crystals : sequence of Shaken
        At least one.
    elements : sequence of str

    Returns
    -------
    dict
        ``delta`` and ``delta90`` (1/Å), and ``per_species``: those of the atoms of one element (None where no crystal has it).

    Raises
    ------
    AnalysisError
        There is no crystal.
    """
    if not crystals:
        raise AnalysisError("no crystal was shaken; give at least one")
    per_species = {symbol: _medians([c.distances[np.array(c.symbols) == symbol] for c in crystals]) for symbol in elements}
    whole = _medians([crystal.distances for crystal in crystals])
    assert whole is not None
    return {**whole, "per_species": per_species}


def quests_bandwidth(volume_per_atom: float) -> float:
    """What QUESTS estimates a bandwidth by, 1/Å: ``quests.entropy.get_bandwidth`` of a volume (Å³/atom), its Gaussian."""
    return 0.0897141 * exp(-0.5 * (volume_per_atom / 10.896) ** 2) + 0.0119417


def kept_steps(timestep: float) -> list[int]:
    """Steps of the dynamics after which a snapshot is kept."""
    return [ceil((BEFORE + number * APART) / timestep) for number in range(SNAPSHOTS)]


def _medians(distances: Sequence[FloatArray]) -> dict[str, float] | None:
    known = [values for values in distances if len(values)]
    if not known:
        return None
    return {
        "delta": float(np.median([np.median(values) for values in known])),
        "delta90": float(np.median([np.quantile(values, _QUANTILE) for values in known])),
    }
