"""Compositions as arrays and as names.

Also here: charge neutrality and electronegativity of compositions, by SMACT.

The convention is that of published tables (CDVAE, MatterGen): ``smact_validity`` with the Pauling test, alloys of metals only
and single elements counting as valid, and SMACT's oxidation states of 2014, which were its default when those tables were
made (SMACT 4 has others by default). It is a coarse rule: compounds with bonds between like atoms, such as LiP7 or P4S3, fail.
"""

from __future__ import annotations

import warnings
from collections import Counter
from functools import cache, lru_cache
from importlib.metadata import PackageNotFoundError, version
from math import gcd
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray
    from pymatgen.core import Composition


_PLAIN = 1e-6
"""Amounts above this are taken as they are; pymatgen drops what is below 1e-8."""


def as_composition(source: Any) -> Composition:
    """Composition of a structure, a composition, a formula or a mapping of amounts; oxidation states are dropped.

    Raises
    ------
    AnalysisError
        If the source has no readable composition.
    """
    from pymatgen.core import Composition

    composition = getattr(source, "composition", source)
    try:
        return Composition(composition).element_composition
    except (ValueError, TypeError) as error:
        raise AnalysisError(
            f"cannot read a composition from {source!r}: {error}; give a formula such as 'Li3PS4', a Composition or a Structure"
        ) from error


def fractions(compositions: Iterable[Any], elements: Sequence[str]) -> NDArray[np.float64]:
    """Atomic fractions.

    Parameters
    ----------
    compositions : iterable, length n
        pymatgen Compositions or Structures, formulas, or mappings of element to amount.
    elements : sequence of str, length k
        Order of the columns.

    Returns
    -------
    ndarray, shape (n, k)
        Rows sum to 1.

    Raises
    ------
    AnalysisError
        If a composition is empty or contains another element.
    """
    names = tuple(elements)
    rows: list[Sequence[float]] = []
    of_formula: dict[str, Sequence[float]] = {}
    for source in compositions:
        row = of_formula.get(source) if isinstance(source, str) else _counts(source, names)
        if row is None:
            row = _amounts(source, names)
        if isinstance(source, str):
            of_formula[source] = row
        rows.append(row)
    amounts = np.array(rows, dtype=float).reshape(len(rows), len(names))
    totals = amounts.sum(axis=1, keepdims=True)
    if not (totals > 0).all():
        raise AnalysisError("a composition is empty; give at least one atom")
    return amounts / totals


def _counts(source: Any, elements: tuple[str, ...]) -> list[float] | None:
    """Atoms of each element of an ordered structure or a plain composition, without making further compositions.

    None for everything else, for what has foreign elements and for amounts that a Composition would round away or refuse: those
    are looked at by :func:`_amounts`, which says what is wrong.
    """
    counts = dict.fromkeys(elements, 0.0)
    sites = getattr(source, "sites", None)
    parts = getattr(source, "composition", source) if sites is None else None
    try:
        if sites is not None:
            for site in sites:
                ((specie, occupancy),) = site.species.items()
                if occupancy != 1:
                    return None
                counts[specie.symbol] += 1.0
        else:
            for specie, amount in parts.items():  # type: ignore[union-attr]
                if not amount > _PLAIN:
                    return None
                counts[specie.symbol] += amount
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    return list(counts.values())


def _amounts(source: Any, elements: tuple[str, ...]) -> list[float]:
    """Amount of each element in anything that has a composition."""
    composition = as_composition(source)
    amounts = dict.fromkeys(elements, 0.0)
    for element, amount in composition.items():
        if element.symbol not in amounts:
            raise AnalysisError(f"{composition.formula} contains {element.symbol}; allowed elements: {', '.join(elements)}")
        amounts[element.symbol] = amount
    return list(amounts.values())


def chemical_system(source: Any) -> str:
    """Chemical system as sorted symbols, e.g. ``"Li-P-S"``."""
    return as_composition(source).chemical_system


def reduced_formula(source: Any) -> str:
    """Reduced formula, e.g. ``"Li3PS4"``."""
    return as_composition(source).reduced_formula


OXIDATION_STATES = "smact14"
"""SMACT's name of the set of oxidation states."""


@cache
def smact_version() -> str | None:
    """Version of SMACT that is installed, None if there is none."""
    try:
        return version("smact")
    except PackageNotFoundError:
        return None


def is_charge_neutral(source: Any, *, oxidation_states: str = OXIDATION_STATES) -> bool:
    """Whether some oxidation states make a composition neutral, with anions more electronegative than cations.

    Parameters
    ----------
    source : Structure, Composition, str or mapping
        Its reduced formula is looked at, once in the life of the process. A Counter of symbols is the fastest.
    oxidation_states : str
        ``smact14``, ``icsd16``, ``icsd24`` or ``pymatgen_sp``.

    Raises
    ------
    AnalysisError
        If SMACT is not installed, the composition cannot be read, or there is no such set of oxidation states.
    """
    if smact_version() is None:
        raise AnalysisError("charge neutrality is not checked: SMACT is not installed; pip install 'coevo[analyse]'")
    if isinstance(source, Counter) and source:
        factor = gcd(*source.values())
        return _is_neutral(tuple(sorted((symbol, count / factor) for symbol, count in source.items())), oxidation_states)
    composition = as_composition(source)
    if not composition:
        raise AnalysisError("a composition is empty; give at least one atom")
    amounts, _ = composition.get_reduced_composition_and_factor()
    return _is_neutral(tuple(sorted((element.symbol, float(amount)) for element, amount in amounts.items())), oxidation_states)


@lru_cache(maxsize=200_000)
def _is_neutral(amounts: tuple[tuple[str, float], ...], oxidation_states: str) -> bool:
    from pymatgen.core import Composition
    from smact.screening import smact_validity

    if any(amount != round(amount) for _, amount in amounts):
        raise AnalysisError(
            f"{dict(amounts)} has no whole number of atoms; charge neutrality needs the formula of an ordered crystal"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # SMACT warns of elements that its tables lack, for which it answers False
        try:
            return bool(
                smact_validity(
                    Composition(dict(amounts)),
                    use_pauling_test=True,
                    include_alloys=True,
                    oxidation_states_set=oxidation_states,
                )
            )
        except ValueError as error:
            raise AnalysisError(f"SMACT cannot use oxidation states {oxidation_states!r}: {error}") from error
