"""Conditions of a filter that no entry of a node can fulfil, and what was perhaps meant.

A filter that matches nothing is no error: the answer may be that there is nothing. These hints are for those that never match.
"""

from __future__ import annotations

import math
import re
from functools import reduce
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any, get_args

from coevo.configs.element_lists import ELEMENT_SYMBOLS, split_elements, suggested
from coevo.node_store.documents import EvaluationDocument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

_GROUPS = 230
_IDS = ("structure_id", "matched_reference", "duplicate_of")
_WORDS = ("hull_status", "audit_verdict")
_FORMULAS = ("chemical_formula_reduced", "formula")


def filter_hints(query: Mapping[str, Any], elements: Sequence[str]) -> list[str]:
    """Say which conditions of a filter cannot be true in a node.

    Parameters
    ----------
    query : mapping
        As :func:`coevo.node_store.queries.queries.parse_filter` gives it.
    elements : sequence of str
        Chemical system of the node.

    Returns
    -------
    list of str
        One sentence each; empty where nothing speaks against a match.
    """
    found: list[str] = []
    for field, operator, value in _conditions(query):
        hint = _hint(field, operator, value, sorted(elements))
        if hint and hint not in found:
            found.append(hint)
    return found


def _conditions(query: Any) -> Iterator[tuple[str, str, Any]]:
    """Field, operator and value of each condition that is not negated."""
    for key, value in query.items():
        if key in {"$and", "$or"}:
            for part in value:
                yield from _conditions(part)
        elif not key.startswith("$") and isinstance(value, dict):
            for operator, operand in value.items():
                yield key, operator, operand


def _hint(field: str, operator: str, value: Any, elements: list[str]) -> str:
    if field == "elements":
        return _elements_hint(operator, value, elements)
    if operator != "$eq":
        return _bound_hint(field, operator, value, elements)
    if field in _FORMULAS and isinstance(value, str):
        return _formula_hint(field, value, elements)
    if field == "chemsys" and isinstance(value, str):
        return _system_hint(value, elements)
    if field == "chemical_formula_anonymous" and isinstance(value, str):
        return _anonymous_hint(value)
    if field in _WORDS and isinstance(value, str) and value not in (words := _words_of(field)):
        return f'{field} = "{value}": it is one of {", ".join(words)}'
    if field in _IDS and isinstance(value, str) and not re.fullmatch(r"[0-9a-f]{64}", value):
        return f'{field} = "{value}": an id has 64 digits of 0-9 and a-f; for its beginning write {field} STARTS WITH "…"'
    return _bound_hint(field, operator, value, elements)


def _elements_hint(operator: str, value: Any, elements: list[str]) -> str:
    if operator == "$not":  # HAS ONLY, which elements that the node has not do not make false
        value = value.get("$elemMatch", {}).get("$nin", []) if isinstance(value, dict) else []
    elif operator not in {"$in", "$all"}:
        return ""
    words = [word for word in value if isinstance(word, str)]
    unknown = [word for word in words if word not in ELEMENT_SYMBOLS]
    if unknown:
        return _unknown(unknown)
    foreign = [word for word in words if word not in elements]
    impossible = len(foreign) == len(words) if operator in {"$in", "$not"} else bool(foreign)
    return _foreign(foreign, elements) if foreign and impossible else ""


def _unknown(words: list[str]) -> str:
    guesses = [f'"{guess}"' for guess in map(suggested, words) if guess]
    hint = f"; did you mean {', '.join(guesses)}?" if guesses else ""
    listed = ", ".join(f'"{word}"' for word in words)
    return f"{listed} {'is no symbol' if len(words) == 1 else 'are no symbols'} of a chemical element{hint}"


def _foreign(words: Sequence[str], elements: list[str]) -> str:
    return f"the node has the elements {', '.join(elements)}, and not {', '.join(words)}"


def _formula_hint(field: str, value: str, elements: list[str]) -> str:
    from pymatgen.core import Composition

    symbols = list(dict.fromkeys(re.findall(r"[A-Z][a-z]?", value)))
    unknown = [symbol for symbol in symbols if symbol not in ELEMENT_SYMBOLS]
    if unknown:
        return f'{field} = "{value}": {_unknown(unknown)}'
    try:
        composition = Composition(value).reduced_composition
        amounts = {element.symbol: round(amount) for element, amount in composition.items()}
        displayed = composition.reduced_formula
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError):
        amounts, displayed = {}, ""
    if not amounts or not re.fullmatch(r"[A-Za-z0-9()]+", value):
        return f'{field} = "{value}": a formula is written as Li3PS4, without charges and blanks'
    ordered = "".join(f"{symbol}{count if count > 1 else ''}" for symbol, count in sorted(amounts.items()))
    parts = []
    if field == "chemical_formula_reduced" and value != ordered:
        parts.append(f'OPTIMADE reduces it and orders elements by the alphabet: "{ordered}"; or write formula = "{displayed}"')
    if field == "formula" and value != displayed:
        parts.append(f'it is written "{displayed}" here')
    foreign = [symbol for symbol in symbols if symbol not in elements]
    if foreign:
        parts.append(_foreign(foreign, elements))
    return f'{field} = "{value}": {"; ".join(parts)}' if parts else ""


def _system_hint(value: str, elements: list[str]) -> str:
    symbols = split_elements(value)
    unknown = [symbol for symbol in symbols if symbol not in ELEMENT_SYMBOLS]
    if unknown:
        return f'chemsys = "{value}": {_unknown(unknown)}'
    foreign = [symbol for symbol in symbols if symbol not in elements]
    if foreign:
        return f'chemsys = "{value}": {_foreign(foreign, elements)}'
    ordered = "-".join(sorted(set(symbols)))
    return (
        f'chemsys = "{value}": elements are ordered by the alphabet and joined by hyphens: "{ordered}"'
        if value != ordered
        else ""
    )


def _words_of(field: str) -> list[str]:
    """What a field may be that is one of a few words, or nothing."""
    return [word for part in get_args(EvaluationDocument.model_fields[field].annotation) for word in get_args(part)]


def _anonymous_hint(value: str) -> str:
    amounts = [int(number[:9] or 1) for _, number in re.findall(r"([A-Z][a-z]?)([0-9]*)", value)]
    divisor = reduce(math.gcd, amounts, 0)
    if not divisor or not re.fullmatch(r"(?:[A-Z][a-z]?[0-9]*)+", value) or len(amounts) > len(ascii_uppercase):
        return f'chemical_formula_anonymous = "{value}": it is written as A2B, AB or A4B3C'
    counts = sorted((amount // divisor for amount in amounts), reverse=True)
    ordered = "".join(f"{letter}{n if n > 1 else ''}" for letter, n in zip(ascii_uppercase, counts, strict=False))
    if value == ordered:
        return ""
    return f'chemical_formula_anonymous = "{value}": letters go from the largest amount to the smallest: "{ordered}"'


def _bound_hint(field: str, operator: str, value: Any, elements: list[str]) -> str:
    """Numbers beyond what a field can be."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return ""
    bounds: dict[str, tuple[float, float, str]] = {
        "nelements": (1, len(elements), f"the node has {len(elements)} elements"),
        "space_group": (1, _GROUPS, f"space groups have the numbers 1 to {_GROUPS}"),
        "nsites": (1, math.inf, "a cell has at least one atom"),
        "energy_above_hull": (
            0,
            math.inf,
            "no entry is below the hull of all entries (energy_above_reference_hull may be negative)",
        ),
        "fmax": (0, math.inf, "a largest force is not negative"),
        "iteration_added": (0, math.inf, "iterations are counted from 0"),
        "volume_per_atom": (0, math.inf, "a volume is not negative"),
    }
    if field not in bounds:
        return ""
    least, most, why = bounds[field]
    impossible: dict[str, Callable[[], bool]] = {
        "$eq": lambda: (
            not least <= value <= most or (field in {"nelements", "space_group", "nsites"} and not float(value).is_integer())
        ),
        "$lt": lambda: value <= least,
        "$lte": lambda: value < least,
        "$gt": lambda: value >= most,
        "$gte": lambda: value > most,
    }
    return f"{field}: {why}" if operator in impossible and impossible[operator]() else ""
