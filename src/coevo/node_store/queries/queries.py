"""Queries over the evaluations of a state, in the OPTIMADE filter language."""

from __future__ import annotations

from typing import Any

from coevo.errors import QueryError
from coevo.node_store.queries.query_fields import known_field


def parse_filter(text: str) -> dict[str, Any]:
    """Translate a filter in the OPTIMADE language to a MongoDB filter over evaluation documents.

    Parameters
    ----------
    text : str
        For instance ``elements HAS "P" AND energy_above_hull < 0.05``; empty for everything.

    Returns
    -------
    dict

    Raises
    ------
    QueryError
        If it is not in the language, names an unknown field, or compares a field with a value of another type.
    """
    if not text.strip():
        return {}
    from coevo.node_store.queries.optimade_filters import translate

    return translate(text)


def parse_sort(text: str) -> list[tuple[str, int]]:
    """Translate ``-energy_above_hull,formula`` to a sort for :meth:`coevo.node_store.views.StateView.entries`.

    Raises
    ------
    QueryError
        If a field is unknown, or a list.
    """
    result = []
    for part in text.split(","):
        name = part.strip()
        found = known_field(name.removeprefix("-"), f"sort {text!r}")
        if found.type == "list of strings":
            raise QueryError(f"sort {text!r}: {name.removeprefix('-')} is a list and has no order; sort by another field")
        if found.joined:
            what = f"{name.removeprefix('-')} is said by studies and has no order"
            raise QueryError(f"sort {text!r}: {what}; filter by it, and sort by another field")
        result.append((found.stored, -1 if name.startswith("-") else 1))
    return result
