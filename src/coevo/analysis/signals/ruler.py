"""The ruler: what one fixed-size random sample of each iteration's candidates says of the generator.

The samples of all iterations are evaluated by one force field and measured on one hull, so that a trend from one iteration to the
next is the generator's, and neither the model's nor the hull's (docs/method.md).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from math import ceil, exp, floor, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.analysis.signals.diversity import DEFAULT_QUANTILES, shannon_entropy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike


@dataclass(frozen=True)
class SampledCandidate:
    """One candidate of a sample.

    Attributes
    ----------
    energy_above_hull : float
        eV/atom, by the state's force field on the state's hull; of a refuted entry, by its label.
    is_stable : bool
        Energy above hull up to the threshold.
    is_unique, is_novel : bool or None
        Whether it was like no entry and no other candidate, and like no reference either, when it was curated; None: no record.
    formula : str
        Reduced formula.
    space_group : int or None
    group : str
        The same for structures of the sample that match (StructureMatcher).
    sun_withheld : bool
        It is an entry that a label refuted or that is in doubt, so it is not S.U.N.
    """

    energy_above_hull: float
    is_stable: bool
    is_unique: bool | None
    is_novel: bool | None
    formula: str
    space_group: int | None
    group: str
    sun_withheld: bool = False


@dataclass(frozen=True)
class SampleDiversity:
    """How different the candidates of a sample are; samples of one size compare.

    Attributes
    ----------
    n : int
        Candidates.
    distinct : int
        Structures that match no other, matching ones counted once.
    formulas, space_groups : int
        Different ones.
    formula_entropy, space_group_entropy : float
        -sum p ln p, nats.
    effective_formulas, effective_space_groups : float
        exp of the entropy: as many equally frequent ones would have it (Hill number of order 1).
    """

    n: int
    distinct: int
    formulas: int
    formula_entropy: float
    effective_formulas: float
    space_groups: int
    space_group_entropy: float
    effective_space_groups: float


def summarise(sample: Sequence[SampledCandidate]) -> dict[str, Any]:
    """Numbers of one iteration's sample.

    Parameters
    ----------
    sample : sequence of SampledCandidate

    Returns
    -------
    dict
        ``n``; ``q05`` … ``q95`` (eV/atom); ``standard_error`` of the median (eV/atom, None below four candidates); ``values``
        (energies above hull in the order given); ``stable``, ``unique``, ``novel``, ``sun`` (shares; None where a candidate has
        no record of it); ``diversity`` (:class:`SampleDiversity`). Empty for an empty sample.
    """
    if not sample:
        return {}
    energies = [candidate.energy_above_hull for candidate in sample]
    sun = [None if c.is_novel is None else c.is_stable and c.is_novel and not c.sun_withheld for c in sample]
    return {
        "n": len(sample),
        **quantiles(energies),
        "standard_error": median_error(energies),
        "values": energies,
        "stable": _share([candidate.is_stable for candidate in sample]),
        "unique": _share([candidate.is_unique for candidate in sample]),
        "novel": _share([candidate.is_novel for candidate in sample]),
        "sun": _share(sun),
        "diversity": asdict(sample_diversity(sample)),
    }


def sample_diversity(sample: Sequence[SampledCandidate]) -> SampleDiversity:
    """Diversity of a sample."""
    formulas = Counter(candidate.formula for candidate in sample)
    groups = Counter(candidate.space_group for candidate in sample)
    of_formulas, of_groups = shannon_entropy(formulas), shannon_entropy(groups)
    return SampleDiversity(
        n=len(sample),
        distinct=len({candidate.group for candidate in sample}),
        formulas=len(formulas),
        formula_entropy=of_formulas,
        effective_formulas=exp(of_formulas) if sample else 0.0,
        space_groups=len(groups),
        space_group_entropy=of_groups,
        effective_space_groups=exp(of_groups) if sample else 0.0,
    )


def quantiles(energies_above_hull: ArrayLike, levels: Sequence[float] = DEFAULT_QUANTILES) -> dict[str, float]:
    """Quantiles of energies above hull, eV/atom, keyed ``"q05"``, ``"q25"``, …; empty if there are no energies."""
    values = np.asarray(energies_above_hull, dtype=float)
    if values.size == 0:
        return {}
    return {f"q{round(100 * level):02d}": float(np.quantile(values, level)) for level in levels}


def median_error(values: Sequence[float]) -> float | None:
    """Standard error of the median: half the distance of the order statistics n/2 ± √n/2.

    This interval holds the true median with a probability of about 68 % whatever the distribution (David and Nagaraja, Order
    Statistics, 3rd ed., section 7.1).

    Returns
    -------
    float or None
        In the unit of the values; None for fewer than four.
    """
    n = len(values)
    if n < 4:
        return None
    ordered = sorted(values)
    low, high = max(floor(n / 2 - sqrt(n) / 2), 0), min(ceil(n / 2 + sqrt(n) / 2), n) - 1
    return (ordered[high] - ordered[low]) / 2


def _share(flags: Sequence[bool | None]) -> float | None:
    known = [flag for flag in flags if flag is not None]
    return sum(known) / len(flags) if len(known) == len(flags) and flags else None
