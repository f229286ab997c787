"""How different the structures of a set are: formulas, space groups, fragments, fingerprints and duplicates.

Coverage of compositions is in :mod:`coevo.analysis.signals.coverage`.
"""

from __future__ import annotations

import warnings
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from coevo.analysis.composition import chemical_system, reduced_formula
from coevo.analysis.motifs.bond_graphs import fragment_signature
from coevo.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from numpy.typing import ArrayLike
    from pymatgen.core import Structure

SYMMETRY_TOLERANCE = 0.1
"""Å; of relaxed structures, as in the Materials Project."""

CRYSTAL_SYSTEMS = ("triclinic", "monoclinic", "orthorhombic", "tetragonal", "trigonal", "hexagonal", "cubic")
_LAST_GROUPS = (2, 15, 74, 142, 167, 194, 230)

DEFAULT_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Diversity:
    """Counts of a set of structures, and Shannon entropies of the counts in nats.

    Attributes
    ----------
    n : int
        Structures.
    formulas, chemical_systems, space_groups, fragments : int
        Different ones; structures whose space group could not be found are one more kind.
    formula_entropy, space_group_entropy, fragment_entropy : float
        nats; zero when all are alike, ln n when all differ.
    """

    n: int
    formulas: int
    chemical_systems: int
    space_groups: int
    fragments: int
    formula_entropy: float
    space_group_entropy: float
    fragment_entropy: float

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


def space_group_number(structure: Structure, symprec: float = SYMMETRY_TOLERANCE, angle_tolerance: float = 5.0) -> int | None:
    """Number of the space group by spglib, None if it finds none (overlapping atoms, degenerate cell).

    Parameters
    ----------
    structure : Structure
    symprec : float
        Å.
    angle_tolerance : float
        Degrees.
    """
    import spglib

    cell = (structure.lattice.matrix.tolist(), structure.frac_coords.tolist(), [site.specie.Z for site in structure])
    # spglib answers a failure with None and a warning up to 2.8 and with SpglibError, which older versions lack, after it.
    failure = getattr(spglib, "SpglibError", RuntimeError)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*OLD_ERROR_HANDLING", category=DeprecationWarning)
        try:
            dataset = spglib.get_symmetry_dataset(cell, symprec=symprec, angle_tolerance=angle_tolerance)
        except failure:
            return None
    return int(dataset.number) if dataset is not None else None


def shannon_entropy(counts: Mapping[Any, float] | Iterable[float]) -> float:
    """Entropy -sum p ln p of a histogram (a Counter, or the counts alone), nats; zero for an empty one."""
    values = counts.values() if isinstance(counts, Mapping) else counts
    # Sorted, because the last digit of a sum depends on the order of its terms, and that of a Counter on its history.
    weights = np.array(sorted(count for count in values if count > 0), dtype=float)
    if not len(weights):
        return 0.0
    p = weights / weights.sum()
    return max(0.0, float(-(p * np.log(p)).sum()))


def effective_number(counts: Mapping[Any, float] | Iterable[float]) -> float:
    """Number of equally frequent kinds with the entropy of a histogram, exp(-sum p ln p); zero for an empty one."""
    weights = [float(count) for count in (counts.values() if isinstance(counts, Mapping) else counts)]
    return float(np.exp(shannon_entropy(weights))) if any(weights) else 0.0


def diversity(structures: Sequence[Structure], symprec: float = SYMMETRY_TOLERANCE) -> Diversity:
    """Diversity of a set of structures."""
    formulas = Counter(reduced_formula(structure) for structure in structures)
    systems = Counter(chemical_system(structure) for structure in structures)
    groups = Counter(space_group_number(structure, symprec) for structure in structures)
    signatures = Counter(f"{reduced_formula(structure)} {fragment_signature(structure)}" for structure in structures)
    return Diversity(
        n=len(structures),
        formulas=len(formulas),
        chemical_systems=len(systems),
        space_groups=len(groups),
        fragments=len(signatures),
        formula_entropy=shannon_entropy(formulas),
        space_group_entropy=shannon_entropy(groups),
        fragment_entropy=shannon_entropy(signatures),
    )


@dataclass(frozen=True)
class SymmetryDistribution:
    """Space groups and crystal systems of a set of structures.

    Attributes
    ----------
    n : int
        Structures.
    unknown : int
        Structures without a space group (overlapping atoms, degenerate cells); not in what follows.
    space_groups : dict of int to int
        Structures of each number, 1 to 230.
    crystal_systems : dict of str to int
        All of :data:`CRYSTAL_SYSTEMS`, zeros included.
    space_group_entropy, crystal_system_entropy : float
        -sum p ln p of the counts, nats.
    triclinic_share : float or None
        Share of P1 and P-1: the structures in which nothing but perhaps a centre was found. None without structures.
    """

    n: int
    unknown: int
    space_groups: dict[int, int]
    crystal_systems: dict[str, int]
    space_group_entropy: float
    crystal_system_entropy: float
    triclinic_share: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types; the numbers of the space groups as text."""
        return {**asdict(self), "space_groups": {str(number): count for number, count in self.space_groups.items()}}


def crystal_system(number: int) -> str:
    """Crystal system of a space group, 1 to 230."""
    if not 1 <= number <= _LAST_GROUPS[-1]:
        raise AnalysisError(f"there is no space group {number}; numbers go from 1 to 230")
    return CRYSTAL_SYSTEMS[bisect_left(_LAST_GROUPS, number)]


def symmetry_distribution(numbers: Iterable[int | None]) -> SymmetryDistribution:
    """Distribution of space groups as :func:`space_group_number` gives them, None for those not found."""
    every = list(numbers)
    groups = Counter(number for number in every if number is not None)
    systems = dict.fromkeys(CRYSTAL_SYSTEMS, 0)
    for number, count in groups.items():
        systems[crystal_system(number)] += count
    known = sum(groups.values())
    return SymmetryDistribution(
        n=len(every),
        unknown=len(every) - known,
        space_groups=dict(sorted(groups.items())),
        crystal_systems=systems,
        space_group_entropy=shannon_entropy(groups),
        crystal_system_entropy=shannon_entropy(systems),
        triclinic_share=systems["triclinic"] / known if known else None,
    )


@dataclass(frozen=True)
class Spread:
    """Distances between the vectors (fingerprints) of a sample of structures, in the unit of the vectors.

    Attributes
    ----------
    n, dimensions : int
        Vectors given, and their length.
    sampled : int
        Vectors compared, all with all.
    metric : {"euclidean", "chebyshev"}
    mean : float or None
        Over the pairs; None if there is no pair.
    mean_nearest : float or None
        Mean distance of a vector of the sample to its nearest neighbour in it; it shrinks as the sample grows.
    quantiles : dict of str to float
        Of the pairs, ``"q05"``, ``"q25"``, ….
    """

    n: int
    dimensions: int
    sampled: int
    metric: str
    mean: float | None
    mean_nearest: float | None
    quantiles: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


def spread(
    vectors: ArrayLike, *, seed: int, sample: int = 2000, metric: Literal["euclidean", "chebyshev"] = "euclidean"
) -> Spread:
    """Spread of fingerprints: distances of all pairs of a random sample.

    Memory is bounded by the sample: 8 bytes for each of its pairs, twice over.

    Parameters
    ----------
    vectors : array, shape (n, d)
    seed : int
        Of the sample, drawn without replacement.
    sample : int
        Vectors compared, at most.
    metric : {"euclidean", "chebyshev"}
        Chebyshev (the largest difference) is that of average minimum distances.

    Raises
    ------
    AnalysisError
        If the array has another shape or a number is not finite.
    """
    from scipy.spatial.distance import pdist, squareform

    array = np.asarray(vectors, dtype=float)
    if array.ndim != 2 or not np.isfinite(array).all():
        raise AnalysisError(f"vectors have shape {array.shape}; expected (n, d) with finite numbers; leave failed structures out")
    size = min(len(array), sample)
    chosen = np.sort(np.random.default_rng(seed).choice(max(1, len(array)), size=size, replace=False))
    distances = pdist(array[chosen], metric) if size > 1 and array.shape[1] else np.empty(0)
    whole = len(distances) > 0
    square = squareform(distances) if whole else np.empty((0, 0))
    np.fill_diagonal(square, np.inf)
    return Spread(
        n=len(array),
        dimensions=array.shape[1],
        sampled=size,
        metric=metric,
        mean=float(distances.mean()) if whole else None,
        mean_nearest=float(square.min(axis=1).mean()) if whole else None,
        quantiles={f"q{round(100 * q):02d}": float(np.quantile(distances, q)) for q in DEFAULT_QUANTILES} if whole else {},
    )


@dataclass(frozen=True)
class Duplicates:
    """How often structures of a set repeat one another.

    Attributes
    ----------
    n : int
        Structures.
    groups : int
        Groups of equal structures, those of one included.
    duplicates : int
        n - groups: structures that repeat another.
    rate : float or None
        duplicates / n; None without structures.
    largest : int
        Size of the largest group.
    """

    n: int
    groups: int
    duplicates: int
    rate: float | None
    largest: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


def duplicates(representatives: Iterable[Hashable]) -> Duplicates:
    """Duplicates of a set, from the representatives that :mod:`coevo.analysis.comparison.uniqueness` finds."""
    groups = Counter(representatives)
    n = groups.total()
    repeated = n - len(groups)
    return Duplicates(n, len(groups), repeated, repeated / n if n else None, max(groups.values(), default=0))


def most_common(counts: Mapping[str, int], n: int) -> list[tuple[str, int]]:
    """The n largest counts; of equals the first in alphabetical order."""
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:n]
