"""Conditions on fields that have no column of their own, read document by document.

Paths and operators are mongomock's implementation of MongoDB's, except for equality, because it takes true for 1 (it still does
inside ``$elemMatch``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typing_extensions import override

from coevo.node_store.queries.fields import Field
from coevo.node_store.queries.values import NEVER, Condition, comparison_class

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Sequence


def applies(query: dict[str, Any]) -> Callable[[dict[str, Any]], bool]:
    """Return the test whether a filter applies to a document, by mongomock."""
    import mongomock.aggregate  # noqa: F401 - adds $expr to the filters
    from mongomock.filtering import filter_applies

    return lambda document: bool(filter_applies(query, document))


class OtherField(Field):
    """A field that may hold anything, or a path with dots.

    Parameters
    ----------
    name : str
    tested : callable
        Makes the condition that a document passes a test.
    """

    def __init__(self, name: str, tested: Callable[[Callable[[dict[str, Any]], bool]], Condition]):
        self._name = name
        self._tested = tested

    def _passes(self, condition: Any) -> Condition:
        return self._tested(applies({self._name: condition}))

    def _values(self, document: dict[str, Any]) -> list[Any]:
        """Values at the end of the path; mongomock has a marker for missing ones, which counts as null here."""
        from mongomock.filtering import NOTHING, iter_key_candidates

        return [None if value is NOTHING else value for value in iter_key_candidates(self._name, document)] or [None]

    @override
    def equals(self, value: Any) -> Condition:
        return self.one_of([value])

    @override
    def one_of(self, values: Sequence[Any]) -> Condition:
        def test(document: dict[str, Any]) -> bool:
            found = [item for value in self._values(document) for item in _with_elements(value)]
            return any(_same(item, value) for item in found for value in values)

        return self._tested(test)

    @override
    def compares(self, operator: str, value: Any) -> Condition:
        if value is None:
            return self.equals(None) if operator in {"$gte", "$lte"} else NEVER
        return self._passes({operator: value})

    @override
    def matches(self, pattern: re.Pattern[str]) -> Condition:
        return self._passes(pattern)

    @override
    def exists(self) -> Condition:
        return self._passes({"$exists": True})

    @override
    def has_type(self, name: str) -> Condition:
        if name == "null":
            return self._tested(applies({"$and": [{self._name: None}, {self._name: {"$exists": True}}]}))
        return self._passes({"$type": name})

    @override
    def has_size(self, size: int) -> Condition:
        return self._tested(lambda document: any(isinstance(v, list) and len(v) == size for v in self._values(document)))

    @override
    def has_element(self, query: dict[str, Any], condition: Callable[[Field], Condition] | None) -> Condition:
        if condition:
            condition(self)  # only checked
        return self._passes({"$elemMatch": query})


def _with_elements(value: Any) -> list[Any]:
    return [value, *value] if isinstance(value, list) else [value]


def _same(found: Any, wanted: Any) -> bool:
    """Whether two JSON values are equal: numbers by value, true not to 1."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and found.keys() == wanted.keys() and all(_same(found[k], wanted[k]) for k in wanted)
    if isinstance(wanted, (list, tuple)):
        return isinstance(found, list) and len(found) == len(wanted) and all(map(_same, found, wanted))
    return comparison_class(found) == comparison_class(wanted) and type(found) not in (list, dict) and found == wanted
