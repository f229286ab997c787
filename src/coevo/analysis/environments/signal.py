"""The environments' part of maturity: entropy with and without the neighbours' species, and how much of what is new is new."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.analysis.environments.descriptors import multicomponent_descriptors_of
from coevo.analysis.environments.entropy import NOTHING_NEW, EntropyBySpecies, delta_entropy, drawn_entropy, draws

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray
    from pymatgen.core import Structure

    FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Share:
    """A share that was counted in a sample.

    Attributes
    ----------
    fraction : float
    standard_error : float
        sqrt(p (1 - p) / n), of a binomial count.
    n : int
        Size of the sample.
    """

    fraction: float
    standard_error: float
    n: int

    @classmethod
    def counted(cls, hits: int, n: int) -> Share:
        """Share of ``hits`` in ``n``."""
        p = hits / n
        return cls(p, sqrt(p * (1.0 - p) / n), n)


@dataclass(frozen=True)
class NewEnvironments:
    """Share of the newest entries' environments that none of what was there before resembles.

    Attributes
    ----------
    total : Share or None
        Of all sampled atoms; None where nothing is new in the state.
    per_species : dict of str to Share or None
        By the species of the centre.
    """

    total: Share | None
    per_species: dict[str, Share | None]

    def to_dict(self) -> dict[str, Any] | None:
        """Plain JSON types: the total's fields and ``per_species``; None where nothing is new."""
        if self.total is None:
            return None
        return {**asdict(self.total), "per_species": {k: None if v is None else asdict(v) for k, v in self.per_species.items()}}


def new_environments(
    new: FloatArray,
    new_species: Sequence[str],
    known: FloatArray,
    known_species: Sequence[str],
    *,
    elements: Sequence[str],
    limit: int,
    bandwidth: float,
    seed: int,
) -> NewEnvironments:
    """Share of new environments with a differential entropy above zero, dH(y|X) > 0 (QUESTS, eq. 3).

    An environment is compared with the known ones about the same species only: the descriptor does not see species.

    Parameters
    ----------
    new : ndarray, shape (M, d)
        Environments of the entries that the state added, 1/Å.
    new_species : sequence of str, length M
        Species of the centres.
    known : ndarray, shape (N, d)
        Environments of older entries and of references.
    known_species : sequence of str, length N
    elements : sequence of str
        Species to report, in this order.
    limit : int
        Of more new environments than this, a random sample of this size is compared.
    bandwidth : float
        h, 1/Å.
    seed : int
    """
    rows = np.arange(len(new))
    if len(new) > limit:
        rows = np.sort(np.random.default_rng(seed).choice(len(new), size=limit, replace=False))
    of_new, of_known = np.asarray(new_species, dtype=str)[rows], np.asarray(known_species, dtype=str)
    per_species: dict[str, Share | None] = {}
    hits = 0
    for symbol in elements:
        mine = rows[of_new == symbol]
        gain = delta_entropy(new[mine], known[of_known == symbol], bandwidth) if len(mine) else np.empty(0)
        count = int((gain > NOTHING_NEW).sum())
        hits += count
        per_species[symbol] = Share.counted(count, len(mine)) if len(mine) else None
    return NewEnvironments(Share.counted(hits, len(rows)) if len(rows) else None, per_species)


def multicomponent_entropies(
    structures: Sequence[Structure],
    n: int,
    *,
    elements: Sequence[str],
    neighbours: int,
    cutoff: float,
    bandwidth: float,
    subsamples: int,
    seed: int,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> EntropyBySpecies:
    """Entropies by the descriptor that sees the neighbours' species, of the atoms that :func:`sampled_entropies` draws.

    Descriptors are made for structures that have a drawn atom only: they are ``1 + n_elements`` times as long as the plain ones.

    Parameters
    ----------
    structures : sequence of Structure
    n : int
        Environments in a subsample.
    elements : sequence of str
    neighbours, cutoff, bandwidth
        k, Å and 1/Å of the descriptor and the kernel.
    subsamples, seed, workers : int
    progress : callable, optional
        Called with numbers of structures.
    """
    symbols = np.array([site.specie.symbol for structure in structures for site in structure], dtype=str)
    groups: dict[str | None, NDArray[np.int64]] = {None: np.arange(len(symbols))}
    groups |= {symbol: np.flatnonzero(symbols == symbol) for symbol in elements}
    chosen = {name: [mine[rows] for rows in draws(len(mine), n, subsamples, seed)] for name, mine in groups.items()}
    everything = [rows for samples in chosen.values() for rows in samples]
    atoms = np.unique(np.concatenate(everything)) if everything else np.empty(0, dtype=np.int64)
    X = rows_of(structures, atoms, elements, neighbours, cutoff, workers, progress)

    def estimate(samples: Sequence[NDArray[np.int64]]) -> Any:
        return drawn_entropy([X[np.searchsorted(atoms, rows)] for rows in samples], bandwidth)

    return EntropyBySpecies(
        estimate(chosen[None]),
        {symbol: estimate(chosen[symbol]) for symbol in elements},
        {symbol: len(groups[symbol]) for symbol in elements},
    )


def entropy_document(found: EntropyBySpecies, environments: int) -> dict[str, Any] | None:
    """Plain JSON types: the total's fields, ``environments``, ``counts`` and ``per_species``; None without a total."""
    if found.total is None:
        return None
    per_species: Mapping[str, Any] = {
        symbol: None if estimate is None else asdict(estimate) for symbol, estimate in found.per_species.items()
    }
    return {**asdict(found.total), "environments": environments, "counts": dict(found.counts), "per_species": per_species}


def rows_of(
    structures: Sequence[Structure],
    atoms: NDArray[np.int64],
    elements: Sequence[str],
    neighbours: int,
    cutoff: float,
    workers: int = 1,
    progress: Callable[[int], None] | None = None,
) -> FloatArray:
    """Multicomponent descriptors of some atoms.

    Parameters
    ----------
    structures : sequence of Structure
    atoms : ndarray of int
        Their numbers in all structures, ascending, each once.
    elements : sequence of str
    neighbours, cutoff
        k and Å of the descriptor.
    workers : int
    progress : callable or None
        Called with numbers of structures.

    Returns
    -------
    ndarray, shape (len(atoms), d)
        1/Å; of structures without such an atom nothing is computed.
    """
    starts = np.concatenate([[0], np.cumsum([len(structure) for structure in structures], dtype=np.int64)])
    holders, first = np.unique(np.searchsorted(starts, atoms, side="right") - 1, return_index=True)
    bounds = [*first.tolist(), len(atoms)]
    wanted = [(atoms[bounds[i] : bounds[i + 1]] - starts[holder]).astype(np.int64) for i, holder in enumerate(holders.tolist())]
    return multicomponent_descriptors_of(
        [structures[holder] for holder in holders.tolist()],
        elements,
        neighbours,
        cutoff,
        atoms=wanted,
        workers=workers,
        progress=progress,
    )
