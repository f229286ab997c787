"""Random filters with an evaluation of our own, in three-valued logic as the specification has it, and documents to find."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Callable

DOCUMENTS = [
    {
        "structure_id": f"{i:064x}",
        "formula": formula,
        "elements": elements,
        "nelements": len(elements),
        "nsites": nsites,
        "energy_above_hull": e_hull,
        "is_stable": stable,
        "duplicate_of": duplicate,
        "space_group": 60 + i,
    }
    for i, (formula, elements, nsites, e_hull, stable, duplicate) in enumerate(
        [
            ("Li2S", ["Li", "S"], 3, 0.0, True, None),
            ("Li3P", ["Li", "P"], 8, 0.0, True, "f" * 64),
            ("Li3PS4", ["Li", "P", "S"], 16, 0.04, True, None),
            ("Li2PS3", ["Li", "P", "S"], 24, 0.12, False, None),
            ("P2S5", ["P", "S"], 28, None, None, None),
            ("Li", ["Li"], 1, 0.3, False, "e" * 64),
            ("S", ["S"], 32, -0.01, True, None),
        ]
    )
]


@dataclass
class Filter:
    text: str
    truth: Callable[[dict[str, Any]], bool | None]


def _compare(field: str, operator: str, value: Any, shown: str) -> Filter:
    def truth(document: dict[str, Any]) -> bool | None:
        found = document[field]
        if found is None:
            return None
        return {
            "=": found == value,
            "!=": found != value,
            "<": found < value,
            "<=": found <= value,
            ">": found > value,
            ">=": found >= value,
        }[operator]

    return Filter(f"{field} {operator} {shown}", truth)


def _has(words: str, symbols: list[str]) -> Filter:
    tests = {
        "HAS ALL": lambda found: set(symbols) <= set(found),
        "HAS ANY": lambda found: bool(set(symbols) & set(found)),
        "HAS ONLY": lambda found: set(found) <= set(symbols),
    }
    text = ",".join(f'"{symbol}"' for symbol in symbols)
    return Filter(f"elements {words} {text}", lambda document: tests[words](document["elements"]))


def _not(inner: Filter) -> Filter:
    return Filter(f"NOT ({inner.text})", lambda d: None if (found := inner.truth(d)) is None else not found)


def _and(parts: list[Filter]) -> Filter:
    def truth(document: dict[str, Any]) -> bool | None:
        found = [part.truth(document) for part in parts]
        return False if False in found else None if None in found else True

    return Filter(" AND ".join(f"({part.text})" for part in parts), truth)


def _or(parts: list[Filter]) -> Filter:
    def truth(document: dict[str, Any]) -> bool | None:
        found = [part.truth(document) for part in parts]
        return True if True in found else None if None in found else False

    return Filter(" OR ".join(f"({part.text})" for part in parts), truth)


operators = st.sampled_from(["=", "!=", "<", "<=", ">", ">="])


symbols = st.lists(st.sampled_from(["Li", "P", "S", "Na"]), min_size=1, max_size=3, unique=True)


leaves = (
    st.builds(lambda o, v: _compare("nsites", o, v, str(v)), operators, st.sampled_from([1, 3, 8, 16, 30]))
    | st.builds(lambda o, v: _compare("energy_above_hull", o, v, repr(v)), operators, st.sampled_from([-0.01, 0.0, 0.04, 0.1]))
    | st.builds(lambda o, v: _compare("is_stable", o, v, str(v).upper()), st.sampled_from(["=", "!="]), st.booleans())
    | st.builds(lambda o, v: _compare("formula", o, v, f'"{v}"'), operators, st.sampled_from(["Li2S", "Li3P", "P"]))
    | st.builds(_has, st.sampled_from(["HAS ALL", "HAS ANY", "HAS ONLY"]), symbols)
    | st.sampled_from(
        [
            Filter("duplicate_of IS KNOWN", lambda d: d["duplicate_of"] is not None),
            Filter("duplicate_of IS UNKNOWN", lambda d: d["duplicate_of"] is None),
            Filter('formula CONTAINS "PS"', lambda d: "PS" in d["formula"]),
            Filter("elements LENGTH 2", lambda d: len(d["elements"]) == 2),
            Filter("elements LENGTH > 1", lambda d: len(d["elements"]) > 1),
        ]
    )
)


filters = st.recursive(
    leaves,
    lambda inner: (
        st.builds(_not, inner)
        | st.builds(_and, st.lists(inner, min_size=2, max_size=3))
        | st.builds(_or, st.lists(inner, min_size=2, max_size=3))
    ),
    max_leaves=6,
)
