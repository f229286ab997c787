"""Fields of an evaluation that the store derives: the standard OPTIMADE properties."""

from __future__ import annotations

from functools import lru_cache
from math import gcd
from typing import Any


def with_derived_fields(evaluation: dict[str, Any]) -> dict[str, Any]:
    """Add the standard OPTIMADE properties that follow from an evaluation."""
    reduced, anonymous = _optimade_formulas(evaluation["formula"])
    return {
        **evaluation,
        "nelements": len(evaluation["elements"]),
        "chemical_formula_reduced": reduced,
        "chemical_formula_anonymous": anonymous,
    }


@lru_cache(maxsize=4096)
def _optimade_formulas(formula: str) -> tuple[str, str]:
    """Reduced formula with elements in alphabetical order, and anonymous formula with amounts falling (OPTIMADE 1.2, 7.2)."""
    from pymatgen.core import Composition

    try:
        amounts = {element.symbol: round(amount) for element, amount in Composition(formula).items()}
    except ValueError as err:
        raise ValueError(f"{formula!r} is not a formula: {err}") from None
    divisor = gcd(*amounts.values())
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    falling = sorted((amount // divisor for amount in amounts.values()), reverse=True)
    reduced = "".join(symbol + _amount(amounts[symbol] // divisor) for symbol in sorted(amounts))
    return reduced, "".join(letters[index] + _amount(amount) for index, amount in enumerate(falling))


def _amount(amount: int) -> str:
    return str(amount) if amount > 1 else ""
