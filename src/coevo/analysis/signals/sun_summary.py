"""Stable, unique and novel (S.U.N.): the counts and rates of a set of generated structures, as published tables give them.

Correspondence to MatterGen's evaluator (Zeni et al., Nature 2025; package ``mattergen.evaluation``), whose numbers most tables
quote:

- *Stable* there means E_hull <= 0.1 eV/atom against the hull of its reference set alone. Give ``energy_above_reference_hull``
  for a comparison; E_hull against references and generated structures together is the stricter measure.
- *Unique* there marks the first structure of each group of equal ones, in the order of the data, and *novel* each structure that
  matches no reference. S.U.N. are the structures with all three marks, so a group counts once, and only if its first structure is
  stable. Here the marked structure of a group is its lowest in energy, so a group counts once if any of its structures is
  stable: the number can only be larger, and does not depend on the order of the data.
- *Denominators* there: the rates of stable and of S.U.N. structures are shares of all that were submitted, failed ones
  included; those of unique, novel and valid ones are means over the structures that came back. Here every count is given over
  all generated structures, over those assessed (with an energy), and over the valid ones, each named.
- Its matcher ignores order between elements that could replace each other; ours is chosen where uniqueness and novelty are.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from coevo.analysis.intervals import wilson
from coevo.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    BoolArray = NDArray[np.bool_]

Population = Literal["generated", "assessed", "valid"]

THRESHOLDS = (0.0, 0.1)
"""eV/atom; on the hull, and MatterGen's."""


@dataclass(frozen=True)
class Rate:
    """One count and its share.

    Attributes
    ----------
    what : str
        ``unique``, ``novel``, ``unique_novel``, ``assessed``, ``valid``; with a threshold ``stable``, ``stable_unique``,
        ``stable_novel``, ``sun``.
    threshold : float or None
        Stable means E_hull up to this, eV/atom.
    population : {"generated", "assessed", "valid"}
        All structures, rejected and failed ones included; those with an energy; those of them that are valid. Counted in, and
        divided by.
    count, of : int
    rate : float or None
        None of nothing.
    low, high : float or None
        Wilson interval of 95 %.
    """

    what: str
    threshold: float | None
    population: Population
    count: int
    of: int
    rate: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class SunSummary:
    """All rates of a set, with what they refer to.

    Attributes
    ----------
    reference_set : str
        Name of the references that novelty and the hull refer to.
    reference_size : int
    rediscovered : int
        Different references that some structure is; over ``reference_size`` it is MatterGen's recall.
    generated, assessed : int
        All structures; those with an energy.
    valid : int or None
        Assessed structures that are valid; None if validity was not given.
    rates : tuple of Rate
    """

    reference_set: str
    reference_size: int
    rediscovered: int
    generated: int
    assessed: int
    valid: int | None
    rates: tuple[Rate, ...]

    def rate(self, what: str, population: Population, threshold: float | None = None) -> Rate:
        """Look up one rate.

        Raises
        ------
        AnalysisError
            If there is no such rate.
        """
        for found in self.rates:
            if (found.what, found.population, found.threshold) == (what, population, threshold):
                return found
        known = sorted(
            {
                f"{r.what} of {r.population}" + (f" at {r.threshold} eV/atom" if r.threshold is not None else "")
                for r in self.rates
            }
        )
        raise AnalysisError(f"no rate {what!r} of {population!r} at threshold {threshold}; there are: {'; '.join(known)}")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {**asdict(self), "rates": [asdict(rate) for rate in self.rates]}


def sun_summary(
    energies_above_hull: ArrayLike,
    unique: ArrayLike,
    matched: Sequence[str | None],
    *,
    generated: int,
    reference_set: str,
    reference_size: int,
    valid: ArrayLike | None = None,
    withheld: ArrayLike | None = None,
    thresholds: Sequence[float] = THRESHOLDS,
) -> SunSummary:
    """Summarise a set of generated structures.

    Parameters
    ----------
    energies_above_hull : array, shape (n,)
        eV/atom; NaN for a structure without an energy (its relaxation failed), which then is neither stable nor assessed.
    unique : array of bool, shape (n,)
        One structure of each group of equal ones.
    matched : sequence of (str or None), length n
        The reference that each structure is; None if it is novel.
    generated : int
        All structures that the generator made, at least n: those rejected before they came here are counted in.
    reference_set : str
    reference_size : int
    valid : array of bool, shape (n,), optional
    withheld : array of bool, shape (n,), optional
        Not S.U.N. however stable: labels refute it, or make it doubtful.
    thresholds : sequence of float
        eV/atom.

    Raises
    ------
    AnalysisError
        If lengths do not fit, or fewer structures were generated than are given.
    """
    e_hull = np.asarray(energies_above_hull, dtype=float)
    is_novel = _flags("novel", [reference is None for reference in matched], e_hull)
    if generated < len(e_hull):
        raise AnalysisError(
            f"generated is {generated}, but {len(e_hull)} structures are given; it counts these and all that were rejected before"
        )
    assessed = ~np.isnan(e_hull)
    is_valid = None if valid is None else _flags("valid", valid, e_hull) & assessed
    populations: dict[Population, tuple[BoolArray, int]] = {
        "generated": (np.ones(len(e_hull), dtype=bool), generated),
        "assessed": (assessed, int(assessed.sum())),
    }
    if is_valid is not None:
        populations["valid"] = (is_valid, int(is_valid.sum()))
    may_be_sun = ~_flags("withheld", np.zeros(len(e_hull), dtype=bool) if withheld is None else withheld, e_hull)
    marks = _marks(e_hull, _flags("unique", unique, e_hull), is_novel, is_valid, may_be_sun, thresholds)
    return SunSummary(
        reference_set=reference_set,
        reference_size=reference_size,
        rediscovered=len({reference for reference in matched if reference is not None}),
        generated=generated,
        assessed=int(assessed.sum()),
        valid=None if is_valid is None else int(is_valid.sum()),
        rates=tuple(
            _rate(what, threshold, population, int((mark & members).sum()), of)
            for what, threshold, mark in marks
            for population, (members, of) in populations.items()
        ),
    )


def _marks(
    e_hull: NDArray[np.float64],
    unique: BoolArray,
    novel: BoolArray,
    valid: BoolArray | None,
    may_be_sun: BoolArray,
    thresholds: Sequence[float],
) -> list[tuple[str, float | None, BoolArray]]:
    """Everything that is counted: its name, its threshold and which structures have it."""
    assessed = ~np.isnan(e_hull)
    marks: list[tuple[str, float | None, BoolArray]] = [("assessed", None, assessed)]
    if valid is not None:
        marks.append(("valid", None, valid))
    marks += [("unique", None, unique), ("novel", None, novel), ("unique_novel", None, unique & novel)]
    for threshold in map(float, thresholds):
        stable = assessed & (e_hull <= threshold)
        marks += [
            ("stable", threshold, stable),
            ("stable_unique", threshold, stable & unique),
            ("stable_novel", threshold, stable & novel),
            ("sun", threshold, stable & unique & novel & may_be_sun),
        ]
    return marks


def _flags(name: str, values: ArrayLike, like: NDArray[np.float64]) -> BoolArray:
    flags = np.asarray(values)
    if flags.size == 0:
        flags = flags.astype(bool)
    if like.ndim != 1 or flags.shape != like.shape or flags.dtype != bool:
        raise AnalysisError(
            f"{name} has shape {flags.shape} and type {flags.dtype}, energies above hull {like.shape}; "
            "expected booleans of shape (n,) and (n,)"
        )
    return flags


def _rate(what: str, threshold: float | None, population: Population, count: int, of: int) -> Rate:
    if of == 0:
        return Rate(what, threshold, population, count, of, None, None, None)
    low, high = wilson(count, of)
    return Rate(what, threshold, population, count, of, count / of, low, high)
