"""What an iteration brings that was not there: the share of its atoms whose environment is far from every older one.

For any list of structures with the iteration that each came in, so for the entries of a node as for what a generator draws. Far
means further than a distance at which two environments are surely two (:mod:`coevo.analysis.environments.resolution`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.analysis.environments.descriptors import multicomponent_descriptors_of
from coevo.analysis.environments.kernel_blocks import middle
from coevo.analysis.environments.signal import rows_of
from coevo.analysis.intervals import wilson

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray
    from pymatgen.core import Structure

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]

_STRUCTURES_AT_A_TIME = 2048
_ATOMS_AT_A_TIME = 40_000
"""80 MB of descriptors of three elements."""
_COLUMNS_AT_A_TIME = 2048


@dataclass(frozen=True)
class DistantShare:
    """Share of an iteration's atoms of one element that are far from all older ones of the element.

    Attributes
    ----------
    count : int
    n : int
        Atoms looked at.
    fraction, low, high : float or None
        ``count / n`` and Wilson's 95 % interval; None without an atom.
    """

    count: int
    n: int
    fraction: float | None
    low: float | None
    high: float | None

    @classmethod
    def counted(cls, count: int, n: int) -> DistantShare:
        """Share of ``count`` in ``n``."""
        return cls(count, n, count / n, *wilson(count, n)) if n else cls(0, 0, None, None, None)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


def distant_shares(
    structures: Sequence[Structure],
    since: Sequence[int | None],
    iterations: Sequence[int],
    *,
    elements: Sequence[str],
    neighbours: int,
    cutoff: float,
    distance: float,
    limit: int,
    seed: int,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> dict[int, dict[str, DistantShare]]:
    """Count the atoms of some iterations that are far from all atoms of the same element that were there before.

    Exact, with the descriptor that sees the neighbours' species: each atom looked at is compared with every older one until one
    is near. Older structures are described piece by piece (80 MB), oldest first, and only as long as an atom is left that nothing
    was near to.

    Parameters
    ----------
    structures : sequence of Structure
        In a reproducible order.
    since : sequence of (int or None)
        Iteration in which each came; None of those that were there from the beginning.
    iterations : sequence of int
        Those that are looked at; atoms of one iteration are not compared with each other.
    elements : sequence of str
    neighbours, cutoff
        k and Å of the descriptor.
    distance : float
        1/Å; further than this from all is far.
    limit : int
        Of more atoms of an element in an iteration than this, a random sample of this size is looked at.
    seed : int
    workers : int
        The numbers do not depend on it.
    progress : callable, optional
        Called with numbers of older structures.

    Returns
    -------
    dict
        By iteration and element.
    """
    ages = np.array([-1 if age is None else age for age in since], dtype=np.int64)
    symbols = np.array([site.specie.symbol for structure in structures for site in structure], dtype=str)
    atom_ages = np.repeat(ages, [len(structure) for structure in structures])
    groups: dict[tuple[int, str], IntArray] = {}
    for iteration in iterations:
        for place, symbol in enumerate(elements):
            mine = np.flatnonzero((atom_ages == iteration) & (symbols == symbol))
            if len(mine) > limit:
                mine = np.sort(np.random.default_rng([seed, iteration, place]).choice(mine, size=limit, replace=False))
            groups[iteration, symbol] = mine
    drawn = np.unique(np.concatenate([np.empty(0, dtype=np.int64), *groups.values()]))
    X = rows_of(structures, drawn, elements, neighbours, cutoff, workers) if len(drawn) else np.empty((0, 0))
    alone = {key: X[np.searchsorted(drawn, mine)] for key, mine in groups.items() if len(mine)}
    for part in _older(structures, ages, max(iterations, default=0)):
        wanted = {key for key, rows in alone.items() if len(rows) and key[0] > ages[part].min()}
        if wanted:
            _leave_the_far(
                alone, wanted, [structures[i] for i in part], ages[part], elements, neighbours, cutoff, distance, workers
            )
        if progress is not None:
            progress(len(part))
    return {
        iteration: {
            symbol: DistantShare.counted(len(alone.get((iteration, symbol), ())), len(groups[iteration, symbol]))
            for symbol in elements
        }
        for iteration in iterations
    }


def _leave_the_far(
    alone: dict[tuple[int, str], FloatArray],
    wanted: set[tuple[int, str]],
    older: Sequence[Structure],
    ages: IntArray,
    elements: Sequence[str],
    neighbours: int,
    cutoff: float,
    distance: float,
    workers: int,
) -> None:
    """Take from each group the rows that an atom of some older structures is near to."""
    asked = {symbol for _, symbol in wanted}
    sites = [np.array([i for i, s in enumerate(one) if s.specie.symbol in asked], dtype=np.int64) for one in older]
    X = multicomponent_descriptors_of(older, elements, neighbours, cutoff, atoms=sites, workers=workers)
    symbols = np.array([one[i].specie.symbol for one, mine in zip(older, sites, strict=True) for i in mine.tolist()], dtype=str)
    row_ages = np.repeat(ages, [len(mine) for mine in sites])
    for iteration, symbol in sorted(wanted):
        known = X[(symbols == symbol) & (row_ages < iteration)]
        alone[iteration, symbol] = far_rows(alone[iteration, symbol], known, distance)


def far_rows(Y: FloatArray, X: FloatArray, distance: float) -> FloatArray:
    """Rows of Y (M, d) that are further than a distance from every row of X (N, d), in order."""
    if not len(Y) or not len(X):
        return Y
    origin = middle(Y)
    left = Y - origin
    squares = np.einsum("ij,ij->i", left, left)
    far = np.arange(len(Y))
    for start in range(0, len(X), _COLUMNS_AT_A_TIME):
        right = X[start : start + _COLUMNS_AT_A_TIME] - origin
        products = left[far] @ right.T
        products *= -2.0
        products += np.einsum("ij,ij->i", right, right)
        nearest = products.min(axis=1) + squares[far]
        far = far[nearest > distance * distance]
        if not len(far):
            break
    return Y[far]


def _older(structures: Sequence[Structure], ages: IntArray, newest: int) -> Iterator[IntArray]:
    """Places of the structures older than an iteration, oldest first, in pieces of bounded size."""
    order = [int(place) for place in np.argsort(ages, kind="stable") if ages[place] < newest]
    part: list[int] = []
    atoms = 0
    for place in order:
        if part and (len(part) == _STRUCTURES_AT_A_TIME or atoms + len(structures[place]) > _ATOMS_AT_A_TIME):
            yield np.array(part, dtype=np.int64)
            part, atoms = [], 0
        part.append(place)
        atoms += len(structures[place])
    if part:
        yield np.array(part, dtype=np.int64)
