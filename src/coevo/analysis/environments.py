"""Local environments: QUESTS descriptors, their entropy, and what new structures add to it.

Definitions are those of QUESTS (Schwalbe-Koda et al., "Model-free estimation of completeness, uncertainties, and outliers in
atomistic machine learning using information theory", Nat. Commun. 2025), in numpy. The plain descriptor does not see species:
NaCl and LiF of one lattice constant are the same to it. :func:`descriptors_by_element` splits by the centre's species,
:func:`multicomponent_descriptors` adds a block per species.

Where more than ``k`` neighbours lie within the cutoff and the k-th shares its distance with the next (high-symmetry crystals),
the descriptor depends on which of them is taken, in QUESTS as here; they are taken in the order of (distance, index, image).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from coevo.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray
    from pymatgen.core import Structure

    FloatArray = NDArray[np.float64]

MAX_DELTA_ENTROPY = float(-np.log(np.finfo(np.float64).tiny))
"""nats; delta entropies are clipped here (708.4), where the kernel underflows."""

_NOTHING_NEW = 1e-9
_BLOCK_ROWS = 1024
_BLOCK_COLUMNS = 4096


@dataclass(frozen=True)
class EntropyEstimate:
    """Entropy of a sample of fixed size.

    Attributes
    ----------
    mean : float
        Over the subsamples, nats.
    standard_error : float or None
        Of the mean, over the subsamples; None with a single one.
    n : int
        Environments in each subsample.
    ln_n : float
        The largest value possible, nats: near it the entropy says only that the sample is too small.
    """

    mean: float
    standard_error: float | None
    n: int
    ln_n: float


def descriptors(structure: Structure, k: int = 32, cutoff: float = 5.0) -> FloatArray:
    """QUESTS descriptor of every atom.

    Parameters
    ----------
    structure : Structure
        Periodic in three dimensions.
    k : int
        Nearest neighbours.
    cutoff : float
        Å; neighbours beyond it have weight zero, and missing ones count as such.

    Returns
    -------
    ndarray, shape (n_atoms, 2 k - 1)
        k weighted inverse distances, then k - 1 means of sorted weighted inverse distances between neighbours; 1/Å.
    """
    vectors, distances = _neighbours(structure, k, cutoff)
    return _from_neighbours(vectors, distances, cutoff)


def multicomponent_descriptors(structure: Structure, elements: Sequence[str], k: int = 32, cutoff: float = 5.0) -> FloatArray:
    """The descriptor with, for each element, a second one within the sublattice of that element (zero for other centres).

    Returns
    -------
    ndarray, shape (n_atoms, (1 + n_elements) (2 k - 1))
        1/Å. The blocks follow the sorted elements; the distances between rows, hence entropies, equal QUESTS's
        ``get_descriptors_multicomponent``. One element: the plain descriptor, as there.
    """
    plain = descriptors(structure, k, cutoff)
    if len(elements) == 1:
        return plain
    symbols = np.array([site.specie.symbol for site in structure])
    blocks = [plain]
    for element in sorted(elements):
        block = np.zeros_like(plain)
        mine = np.flatnonzero(symbols == element)
        if len(mine):
            others = np.flatnonzero(symbols != element)
            sublattice = structure.copy()
            sublattice.remove_sites(others.tolist())
            block[mine] = descriptors(sublattice, k, cutoff)
        blocks.append(block)
    return np.concatenate(blocks, axis=1)


def descriptors_by_element(structures: Iterable[Structure], k: int = 32, cutoff: float = 5.0) -> dict[str, FloatArray]:
    """Descriptors of all atoms, by the species of the centre; keys sorted, rows in the order of the structures."""
    rows: dict[str, list[FloatArray]] = {}
    for structure in structures:
        for site, row in zip(structure, descriptors(structure, k, cutoff), strict=True):
            rows.setdefault(site.specie.symbol, []).append(row)
    return {symbol: np.array(rows[symbol]) for symbol in sorted(rows)}


def entropy(X: FloatArray, bandwidth: float) -> float:
    """Information entropy H = -(1/N) sum_i ln[(1/N) sum_j exp(-|x_i - x_j|^2 / 2 h^2)] (QUESTS, eq. 1).

    Parameters
    ----------
    X : ndarray, shape (N, d)
    bandwidth : float
        h, 1/Å.

    Returns
    -------
    float
        nats, between 0 and ln N.

    Raises
    ------
    AnalysisError
        If there is no environment.
    """
    if len(X) == 0:
        raise AnalysisError("the entropy of no environments is not defined; give at least one row")
    return float(-np.mean(np.log(kernel_sums(X, X, bandwidth) / len(X))))


def delta_entropy(Y: FloatArray, X: FloatArray, bandwidth: float) -> FloatArray:
    """Differential entropy dH(y|X) = -ln sum_j exp(-|y - x_j|^2 / 2 h^2) of each environment y (QUESTS, eq. 3).

    Positive: the environment is new with respect to X. Clipped at :data:`MAX_DELTA_ENTROPY`, also where X is empty.

    Returns
    -------
    ndarray, shape (len(Y),)
        nats.
    """
    sums = kernel_sums(Y, X, bandwidth) if len(X) else np.zeros(len(Y))
    return -np.log(np.maximum(sums, np.finfo(np.float64).tiny))


def sampled_entropy(X: FloatArray, n: int, bandwidth: float, *, subsamples: int, seed: int) -> EntropyEstimate | None:
    """Entropy at a fixed sample size, because entropies of different N do not compare.

    Parameters
    ----------
    X : ndarray, shape (N, d)
        The result depends on the order of the rows: hand them over in a reproducible one.
    n : int
        Environments in a subsample, drawn without replacement.
    bandwidth : float
        1/Å.
    subsamples : int
    seed : int

    Returns
    -------
    EntropyEstimate or None
        None when there are fewer than ``n`` environments: no signal, never a smaller sample.
    """
    if len(X) < n:
        return None
    rng = np.random.default_rng(seed)
    values = np.array([entropy(X[np.sort(rng.choice(len(X), size=n, replace=False))], bandwidth) for _ in range(subsamples)])
    error = float(values.std(ddof=1) / np.sqrt(subsamples)) if subsamples > 1 else None
    return EntropyEstimate(float(values.mean()), error, n, float(np.log(n)))


def greedy_entropy_gain(batches: Sequence[FloatArray], base: FloatArray, bandwidth: float, budget: int) -> list[int]:
    """Choose structures one after the other, each time the one that adds most new environments.

    The gain of a structure is sum_i max(0, 1 - p_i) / q_i over its environments, where p_i = exp(-dH_i) counts the known
    environments like i (those of ``base`` and of the structures chosen before) and q_i >= 1 those in the structure itself: the
    effective number of different environments it adds. An environment saturates at 1 however far it lies from all others, and
    symmetry-equivalent atoms count once, so that neither outliers nor large cells win by themselves.

    Parameters
    ----------
    batches : sequence of ndarray, shape (n_atoms, d)
        Environments of each structure.
    base : ndarray, shape (N, d)
        Known environments; may be empty.
    bandwidth : float
        1/Å.
    budget : int
        Structures to choose, at most.

    Returns
    -------
    list of int
        Indices into ``batches``, in order of choice; the first of equals. Shorter than ``budget`` when nothing more is new.
    """
    sizes = np.array([len(batch) for batch in batches], dtype=np.int64)
    if budget <= 0 or sizes.sum() == 0:
        return []
    everything = np.concatenate([batch for batch in batches if len(batch)])
    owner = np.repeat(np.arange(len(batches)), sizes)
    stop = np.cumsum(sizes)
    own = np.concatenate([kernel_sums(batch, batch, bandwidth) for batch in batches if len(batch)])
    known = kernel_sums(everything, base, bandwidth) if len(base) else np.zeros(len(everything))
    available = sizes > 0
    chosen: list[int] = []
    while len(chosen) < min(budget, len(batches)) and available.any():
        gains = np.bincount(owner, weights=np.maximum(0.0, 1.0 - known) / own, minlength=len(batches))
        gains[~available] = -1.0
        # Equal gains differ by rounding; the first of them is taken.
        best = int(np.flatnonzero(gains >= gains.max() - _NOTHING_NEW)[0])
        if gains[best] <= _NOTHING_NEW:
            break
        chosen.append(best)
        available[best] = False
        known += kernel_sums(everything, everything[stop[best] - sizes[best] : stop[best]], bandwidth)
    return chosen


def kernel_sums(Y: FloatArray, X: FloatArray, bandwidth: float) -> FloatArray:
    """Sum_j exp(-|y_i - x_j|^2 / 2 h^2), shape (len(Y),), in blocks of bounded memory (32 MB) and fixed order."""
    # Distances do not change when the origin moves, and squares cancel less near it.
    origin = X.mean(axis=0)
    Y, X = Y - origin, X - origin
    y_norms, x_norms = np.einsum("ij,ij->i", Y, Y), np.einsum("ij,ij->i", X, X)
    scale = -0.5 / bandwidth**2
    sums = np.zeros(len(Y))
    for i in range(0, len(Y), _BLOCK_ROWS):
        rows = slice(i, i + _BLOCK_ROWS)
        for j in range(0, len(X), _BLOCK_COLUMNS):
            columns = slice(j, j + _BLOCK_COLUMNS)
            block = Y[rows] @ X[columns].T
            block *= -2.0
            block += y_norms[rows, None]
            block += x_norms[None, columns]
            np.maximum(block, 0.0, out=block)
            block *= scale
            np.exp(block, out=block)
            sums[rows] += block.sum(axis=1)
    return sums


def _neighbours(structure: Structure, k: int, cutoff: float) -> tuple[FloatArray, FloatArray]:
    """Vectors (n, k, 3) to the k nearest neighbours within the cutoff, and distances (n, k); missing ones at the cutoff."""
    first, second, image, distance = structure.get_neighbor_list(cutoff)
    order = np.lexsort((image[:, 2], image[:, 1], image[:, 0], second, distance, first))
    first, second, image, distance = first[order], second[order], image[order], distance[order]
    rank = np.arange(len(first)) - np.searchsorted(first, first)
    near = rank < k
    first, second, image, distance, rank = first[near], second[near], image[near], distance[near], rank[near]
    vectors = np.zeros((len(structure), k, 3))
    distances = np.full((len(structure), k), cutoff)
    cartesian = structure.cart_coords
    vectors[first, rank] = cartesian[second] + image @ structure.lattice.matrix - cartesian[first]
    distances[first, rank] = distance
    return vectors, distances


def _from_neighbours(vectors: FloatArray, distances: FloatArray, cutoff: float) -> FloatArray:
    """Both parts of the descriptor; the small terms in the denominators are those of QUESTS."""
    weights = (1.0 - (np.minimum(distances, cutoff) / cutoff) ** 2) ** 2
    radial = weights / (distances + 1e-16)
    k = distances.shape[1]
    between = np.empty((len(vectors), k - 1))
    diagonal = np.arange(k)
    for start in range(0, len(vectors), _BLOCK_ROWS):
        part = slice(start, start + _BLOCK_ROWS)
        separation = np.linalg.norm(vectors[part, :, None, :] - vectors[part, None, :, :], axis=3)
        pairs = np.sqrt(weights[part, :, None] * weights[part, None, :]) / (separation + 1e-15)
        pairs[:, diagonal, diagonal] = 0.0
        pairs.sort(axis=2)
        between[part] = pairs[:, :, :0:-1].mean(axis=1)
    return np.concatenate([radial, between], axis=1)
