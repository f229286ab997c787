"""Local environments of a batch: entropy at a fixed sample size, and how many are new to a node."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.output.progress import task

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from coevo.configs.tree import DescriptorConfig
    from coevo.processes import Workers
    from coevo.studies.analyse.batch import Batch
    from coevo.studies.piles.rows import PackedCrystal

_AT_A_TIME = 64


@dataclass(frozen=True)
class Sampling:
    """How environments are sampled.

    Attributes
    ----------
    environments : int
        N, of each subsample.
    subsamples : int
    seed : int
    """

    environments: int
    subsamples: int
    seed: int


class Environments:
    """All environments of some crystals, of which descriptors are computed only where they are drawn.

    Parameters
    ----------
    crystals : sequence of PackedCrystal
        Their order counts: samples are drawn by position.
    descriptor : DescriptorConfig
    workers : Workers
    """

    def __init__(self, crystals: Sequence[PackedCrystal], descriptor: DescriptorConfig, workers: Workers):
        self._crystals = crystals
        self._descriptor = descriptor
        self._workers = workers
        sizes = np.array([len(crystal) for crystal in crystals], dtype=np.int64)
        self._stop = np.cumsum(sizes)
        self.numbers = np.concatenate([crystal.numbers for crystal in crystals]) if crystals else np.empty(0, dtype=np.uint8)

    def __len__(self) -> int:
        """Number of environments."""
        return len(self.numbers)

    def rows_of(self, symbol: str) -> NDArray[np.int64]:
        """Positions of the environments around an element."""
        from pymatgen.core import Element

        return np.flatnonzero(self.numbers == Element(symbol).Z)

    def descriptors(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """Descriptors at sorted positions, shape (len(rows), 2 k - 1)."""
        needed = np.unique(np.searchsorted(self._stop, rows, side="right"))
        pieces = [[self._drawn(owner, rows) for owner in part] for part in _portions(needed.tolist(), _AT_A_TIME)]
        found = []
        with task("describing environments", len(needed), "structures") as advance:
            for piece, result in zip(pieces, self._workers.map(_describe, pieces, self._descriptor), strict=True):
                found.append(result)
                advance(len(piece))
        return np.concatenate(found) if found else np.empty((0, 2 * self._descriptor.neighbours - 1))

    def _drawn(self, owner: int, rows: NDArray[np.int64]) -> tuple[PackedCrystal, NDArray[np.int64]]:
        """A crystal and which of its atoms are among the rows."""
        stop = self._stop[owner]
        start = stop - len(self._crystals[owner])
        return self._crystals[owner], rows[np.searchsorted(rows, start) : np.searchsorted(rows, stop)] - start


def _portions(values: list[int], size: int) -> list[list[int]]:
    return [values[start : start + size] for start in range(0, len(values), size)]


def _describe(piece: Sequence[tuple[PackedCrystal, NDArray[np.int64]]], descriptor: DescriptorConfig) -> NDArray[np.float64]:
    from coevo.analysis.environments.descriptors import descriptors

    return np.concatenate(
        [descriptors(crystal.structure(), descriptor.neighbours, descriptor.cutoff)[rows] for crystal, rows in piece]
    )


def measure_entropy(environments: Environments, elements: Sequence[str], bandwidth: float, sampling: Sampling) -> dict[str, Any]:
    """Entropy of the environments, in all and per species of the centre.

    Returns
    -------
    dict
        ``environments``; ``all`` and ``per_species``: mean, standard_error, n, ln_n (nats), or None where there are fewer than n
        environments: no signal, never a smaller sample.
    """
    groups = {"all": np.arange(len(environments)), **{symbol: environments.rows_of(symbol) for symbol in elements}}
    draws = {name: _draws(rows, sampling) for name, rows in groups.items()}
    wanted = [rows for group in draws.values() for rows in group]
    needed = np.unique(np.concatenate(wanted)) if wanted else np.empty(0, dtype=np.int64)
    X = environments.descriptors(needed)
    found = {name: _estimate(X, needed, group, bandwidth) for name, group in draws.items()}
    return {
        "environments": len(environments),
        "all": found["all"],
        "per_species": {symbol: found[symbol] for symbol in elements},
        "n": sampling.environments,
        "subsamples": sampling.subsamples,
        "seed": sampling.seed,
    }


def _draws(rows: NDArray[np.int64], sampling: Sampling) -> list[NDArray[np.int64]]:
    """Positions in each subsample, drawn as :func:`coevo.analysis.environments.entropy.sampled_entropy` does from all rows."""
    if len(rows) < sampling.environments:
        return []
    rng = np.random.default_rng(sampling.seed)
    return [rows[np.sort(rng.choice(len(rows), size=sampling.environments, replace=False))] for _ in range(sampling.subsamples)]


def _estimate(
    X: NDArray[np.float64], positions: NDArray[np.int64], draws: Sequence[NDArray[np.int64]], bandwidth: float
) -> dict[str, Any] | None:
    from coevo.analysis.environments.entropy import EntropyEstimate, entropy

    if not draws:
        return None
    values = np.array([entropy(X[np.searchsorted(positions, rows)], bandwidth) for rows in draws])
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else None
    return asdict(EntropyEstimate(float(values.mean()), error, len(draws[0]), float(np.log(len(draws[0])))))


def measure_news(
    environments: Environments, baseline: Environments, elements: Sequence[str], bandwidth: float, sampling: Sampling
) -> dict[str, Any]:
    """Share of the batch's environments that are new to a baseline: delta H > 0 against environments of the same species.

    At most ``environments`` times ``subsamples`` environments of the batch are looked at, drawn at random; all of the baseline's.
    """
    rng = np.random.default_rng(sampling.seed)
    size = min(len(environments), sampling.environments * sampling.subsamples)
    rows = np.sort(rng.choice(len(environments), size=size, replace=False))
    Y, X = environments.descriptors(rows), baseline.descriptors(np.arange(len(baseline)))
    from coevo.analysis.environments.entropy import NOTHING_NEW, delta_entropy

    new: dict[str, dict[str, int]] = {}
    total = 0
    for symbol in elements:
        mine = np.isin(rows, environments.rows_of(symbol))
        if not mine.any():
            continue
        count = int((delta_entropy(Y[mine], X[baseline.rows_of(symbol)], bandwidth) > NOTHING_NEW).sum())
        new[symbol] = {"looked_at": int(mine.sum()), "new": count}
        total += count
    return {
        "looked_at": size,
        "new": total,
        "new_fraction": total / size if size else None,
        "baseline_environments": len(baseline),
        "per_species": new,
    }


def environments_of(batch: Batch, workers: Workers) -> Environments:
    """Environments of the batch's crystals, each kind once."""
    return Environments([row.packed() for row in batch.unique()], batch.descriptor, workers)
