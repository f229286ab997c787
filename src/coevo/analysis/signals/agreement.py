"""Do several models say the same of a population: spread of their energies, who calls what stable, and on whose word.

A *voice* is one model. Voices of one *group* share architecture and training, so they share errors; two groups are independent if
neither the family nor the training is the same, of their teachers neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Training:
    """What a model was trained on.

    Attributes
    ----------
    family : str
        Architecture.
    functional : str
        Of the training data; empty if it is not known.
    data : str
        Names of data sets joined by ``+``; empty if they are not known.
    words : str
        For people.
    taught_by : frozenset of Training
        Models that made labels which it was fitted on: it may have their errors.
    """

    family: str
    functional: str = ""
    data: str = ""
    words: str = ""
    taught_by: frozenset[Training] = frozenset()

    def is_independent_of(self, other: Training) -> bool:
        """Whether this model and its teachers have nothing in common with the other one and its teachers.

        That is another architecture, and another functional or no data set in common; what is not known counts as nothing else.
        """
        return all(
            have_nothing_in_common(one, another) for one in (self, *self.taught_by) for another in (other, *other.taught_by)
        )

    def data_in_common(self, other: Training) -> frozenset[str]:
        """Data sets that both were trained on, as far as they are known."""
        one, two = (frozenset(filter(None, each.data.split("+"))) for each in (self, other))
        return one & two


def have_nothing_in_common(one: Training, other: Training) -> bool:
    """Whether two models, whoever taught them, differ in architecture, and in functional or in all data."""
    if one.family == other.family:
        return False
    other_functional = bool(one.functional and other.functional) and one.functional.upper() != other.functional.upper()
    return other_functional or (bool(one.data and other.data) and not one.data_in_common(other))


def spread(values: ArrayLike) -> FloatArray:
    """Standard deviation (n - 1) over the voices.

    Parameters
    ----------
    values : array, shape (n, m)
        Of n structures by m voices; NaN where a voice has none.

    Returns
    -------
    ndarray, shape (n,)
        NaN where fewer than two voices have a value.
    """
    x = np.asarray(values, dtype=float)
    if x.ndim != 2:
        raise AnalysisError(f"values have shape {x.shape}; expected (structures, voices)")
    there = np.isfinite(x)
    count = there.sum(axis=1)
    filled = np.where(there, x, 0.0)
    mean = filled.sum(axis=1) / np.maximum(count, 1)
    squares = np.where(there, (filled - mean[:, None]) ** 2, 0.0).sum(axis=1)
    return np.where(count > 1, np.sqrt(squares / np.maximum(count - 1, 1)), np.nan)


def independent_pairs(trainings: Sequence[Training]) -> list[tuple[int, int]]:
    """Pairs of voices, as indices, that are independent of each other."""
    return [(i, j) for i, j in combinations(range(len(trainings)), 2) if trainings[i].is_independent_of(trainings[j])]


def agreed(stable: ArrayLike, trainings: Sequence[Training]) -> list[bool | None]:
    """Whether two independent groups of voices call a structure stable, each by the majority of its voices.

    Parameters
    ----------
    stable : array, shape (n, m)
        1 where a voice calls a structure stable, 0 where it does not, NaN where it says nothing.
    trainings : sequence of Training, length m

    Returns
    -------
    list of (bool or None), length n
        None: no two independent groups say something of it.
    """
    x = np.asarray(stable, dtype=float).reshape(-1, len(trainings))
    members: dict[Training, list[int]] = {}
    for index, training in enumerate(trainings):
        members.setdefault(training, []).append(index)
    groups = list(members)
    pairs = independent_pairs(groups)
    said = np.full((len(x), len(groups)), np.nan)
    for column, training in enumerate(groups):
        votes = x[:, members[training]]
        count = np.isfinite(votes).sum(axis=1)
        yes = np.where(np.isfinite(votes), votes, 0.0).sum(axis=1)
        said[:, column] = np.where(count > 0, yes > count / 2, np.nan)
    found: list[bool | None] = []
    for row in said:
        heard = [(i, j) for i, j in pairs if np.isfinite(row[[i, j]]).all()]
        found.append(any(row[i] and row[j] for i, j in heard) if heard else None)
    return found


def agreement_table(stable: ArrayLike) -> dict[str, Any]:
    """Who calls how many stable, and how often two voices say the same.

    Parameters
    ----------
    stable : array, shape (n, m)
        As for :func:`agreed`.

    Returns
    -------
    dict
        ``compared`` (structures of which all voices say something), ``stable`` (of these, by voice), ``pairs`` (m rows of
        m shares of these on which two voices agree; None without a structure), ``all`` and ``any`` (that all and any
        call stable).
    """
    x = np.asarray(stable, dtype=float)
    x = x[np.isfinite(x).all(axis=1)] > 0.5
    n = len(x)
    pairs = [[float(np.mean(x[:, i] == x[:, j])) if n else None for j in range(x.shape[1])] for i in range(x.shape[1])]
    return {
        "compared": n,
        "stable": [int(count) for count in x.sum(axis=0)],
        "pairs": pairs,
        "all": int(x.all(axis=1).sum()) if n else 0,
        "any": int(x.any(axis=1).sum()) if n else 0,
    }
