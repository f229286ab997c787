"""Compositions as arrays and as names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.errors import AnalysisError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray
    from pymatgen.core import Composition


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
    column = {symbol: index for index, symbol in enumerate(elements)}
    rows: list[NDArray[np.float64]] = []
    for source in compositions:
        composition = as_composition(source)
        row = np.zeros(len(column))
        for element, amount in composition.items():
            if element.symbol not in column:
                raise AnalysisError(f"{composition.formula} contains {element.symbol}; allowed elements: {', '.join(elements)}")
            row[column[element.symbol]] = amount
        if not row.sum() > 0:
            raise AnalysisError("a composition is empty; give at least one atom")
        rows.append(row / row.sum())
    return np.array(rows).reshape(len(rows), len(column))


def chemical_system(source: Any) -> str:
    """Chemical system as sorted symbols, e.g. ``"Li-P-S"``."""
    return as_composition(source).chemical_system


def reduced_formula(source: Any) -> str:
    """Reduced formula, e.g. ``"Li3PS4"``."""
    return as_composition(source).reduced_formula


def is_element(source: Any) -> bool:
    """Whether there is one element only."""
    return bool(as_composition(source).is_element)
