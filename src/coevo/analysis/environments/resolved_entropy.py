"""Entropy at the resolution of a node, of a sample that is large enough for it: one in which few atoms are alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.analysis.environments.entropy import entropy_of_sums
from coevo.analysis.environments.kernel_sums import kernel_sums
from coevo.analysis.environments.signal import rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from pymatgen.core import Structure

ALONE = 0.05
"""Mean of 1/ΣK above which a sample says more of its size than of its environments."""
MOST = 32_000
"""Atoms in a sample, at most: 64 MB of descriptors of three elements."""


def resolved_entropies(
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
) -> dict[str, Any]:
    """Entropies by the descriptor that sees the neighbours' species, of all atoms and of those of each element.

    An atom that no other one of the sample resembles has ΣK = 1, so the mean of 1/ΣK is the share of the sample that is alone (at
    least), and near 1 the entropy is ln N whatever the structures are. N is doubled until the mean is at most :data:`ALONE`, up
    to all atoms or :data:`MOST`.

    Parameters
    ----------
    structures : sequence of Structure
        In a reproducible order.
    n : int
        N of the first sample.
    elements : sequence of str
    neighbours, cutoff, bandwidth
        k, Å and 1/Å.
    subsamples : int
        Samples at the last N, at most, and no more than there are without an atom in two.
    seed, workers : int

    Returns
    -------
    dict
        ``total`` and ``per_species``, each with ``mean`` and ``standard_error`` (nats; None where there is no signal), ``n``,
        ``ln_n``, ``alone`` (the mean of 1/ΣK) and ``environments`` (atoms there are); None with fewer than ``n`` atoms.
    """
    symbols = np.array([site.specie.symbol for structure in structures for site in structure], dtype=str)

    def estimate(mine: NDArray[np.int64]) -> dict[str, Any] | None:
        if len(mine) < n:
            return None
        shuffled = mine[np.random.default_rng(seed).permutation(len(mine))]
        size, most = n, min(len(mine), MOST)
        while True:
            sums = sums_of(shuffled[:size])
            alone = float(np.mean(1.0 / sums))
            if alone <= ALONE or size == most:
                break
            size = min(2 * size, most)
        found = {"n": size, "ln_n": float(np.log(size)), "alone": alone, "environments": len(mine)}
        if alone > ALONE:
            return {"mean": None, "standard_error": None, **found}
        count = max(1, min(subsamples, len(mine) // size))
        parts = [sums_of(shuffled[size * part : size * (part + 1)]) for part in range(1, count)]
        values = np.array([entropy_of_sums(one) for one in (sums, *parts)])
        error = float(values.std(ddof=1) / np.sqrt(count)) if count > 1 else None
        return {"mean": float(values.mean()), "standard_error": error, **found}

    def sums_of(atoms: NDArray[np.int64]) -> NDArray[np.float64]:
        X = rows_of(structures, np.sort(atoms), elements, neighbours, cutoff, workers)
        return kernel_sums(X, X, bandwidth)

    return {
        "total": estimate(np.arange(len(symbols))),
        "per_species": {symbol: estimate(np.flatnonzero(symbols == symbol)) for symbol in elements},
    }
