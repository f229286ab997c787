"""Conditions on one field of an evaluation, with MongoDB's meaning.

A scalar is stored so that SQLite's order of storage classes is MongoDB's order of types: null, numbers, texts, booleans (as
bytes). Columns have no declared type, so that nothing is converted.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from coevo.node_store.queries.values import NEVER, Condition, InvalidFilterError, any_of, comparison_class, encoded

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Mapping, Sequence

MOST_PARAMETERS = 200
"""Values of one ``$in`` that become parameters; more are looked up in a set."""
_BOUNDS = {"number": ("NULL", "''"), "text": ("''", "x''"), "boolean": ("x'40'", "x'41'")}
_TYPES = {
    "null": "({present} AND {value} IS NULL)",
    "double": "typeof({value}) = 'real'",
    "int": "(typeof({value}) = 'integer' AND {value} BETWEEN -2147483648 AND 2147483647)",
    "long": "(typeof({value}) = 'integer' AND {value} NOT BETWEEN -2147483648 AND 2147483647)",
    "number": "typeof({value}) IN ('integer', 'real')",
    "string": "typeof({value}) = 'text'",
    "bool": "{value} >= x'40'",
    "object": "{value} IS x'20'",
}
_SYMBOLS = {"$gt": ">", "$gte": ">=", "$lt": "<", "$lte": "<="}


class Field(ABC):
    """A field, as far as conditions need to know it."""

    @abstractmethod
    def equals(self, value: Any) -> Condition:
        """It, or an element of it, is this value; a missing field is null."""

    @abstractmethod
    def compares(self, operator: str, value: Any) -> Condition:
        """``$gt``, ``$gte``, ``$lt`` or ``$lte``, among values of the same type only."""

    @abstractmethod
    def matches(self, pattern: re.Pattern[str]) -> Condition:
        """It, or an element of it, is a text in which the pattern is found."""

    @abstractmethod
    def exists(self) -> Condition:
        """It is in the document, perhaps as null."""

    @abstractmethod
    def has_type(self, name: str) -> Condition:
        """It, or an element of it, is of this type; BSON's name of the type."""

    @abstractmethod
    def has_size(self, size: int) -> Condition:
        """It is a list of so many elements."""

    @abstractmethod
    def has_element(self, query: dict[str, Any], condition: Callable[[Field], Condition] | None) -> Condition:
        """It is a list with an element that fulfils a condition (None if only a sub-document could)."""

    def one_of(self, values: Sequence[Any]) -> Condition:
        """It, or an element of it, is one of these values, none of which is a pattern."""
        return any_of([self.equals(value) for value in values])


class ScalarField(Field):
    """A field that is null, a number, a text or a boolean in every document, or missing.

    Parameters
    ----------
    value, present : str
        SQL: its encoded value, and whether it is there.
    """

    def __init__(self, value: str, present: str):
        self._value = value
        self._present = present

    @override
    def equals(self, value: Any) -> Condition:
        if value is None:
            return Condition(f"{self._value} IS NULL")
        return Condition(f"{self._value} IS ?", (encoded(value),)) if comparison_class(value) else NEVER

    @override
    def compares(self, operator: str, value: Any) -> Condition:
        if value is None:
            return self.equals(None) if operator in {"$gte", "$lte"} else NEVER
        found = comparison_class(value)
        if found is None:
            return NEVER
        lower, upper = _BOUNDS[found]
        sql = f"{self._value} {_SYMBOLS[operator]} ?"
        if operator in {"$gt", "$gte"}:
            sql = f"({sql} AND {self._value} < {upper})"
        elif found != "number":
            sql = f"({sql} AND {self._value} >= {lower})"
        return Condition(sql, (encoded(value),), 1)

    @override
    def matches(self, pattern: re.Pattern[str]) -> Condition:
        search = pattern.search
        return Condition(f"call(?, {self._value})", (lambda value: isinstance(value, str) and search(value) is not None,))

    @override
    def exists(self) -> Condition:
        return Condition(self._present)

    @override
    def has_type(self, name: str) -> Condition:
        if name not in _TYPES:
            return NEVER
        return Condition(_TYPES[name].format(value=self._value, present=self._present), (), 1)

    @override
    def has_size(self, size: int) -> Condition:
        return NEVER

    @override
    def has_element(self, query: dict[str, Any], condition: Callable[[Field], Condition] | None) -> Condition:
        if condition:
            condition(self)  # only checked
        return NEVER

    @override
    def one_of(self, values: Sequence[Any]) -> Condition:
        scalars = [encoded(value) for value in values if value is not None and comparison_class(value)]
        null = [self.equals(None)] if any(value is None for value in values) else []
        if len(scalars) > MOST_PARAMETERS:
            return any_of([Condition(f"call(?, {self._value})", (frozenset(scalars).__contains__,)), *null])
        places = ", ".join("?" * len(scalars))
        return any_of([Condition(f"{self._value} IN ({places})", tuple(scalars)), *null])


class GeometryField(ScalarField):
    """A sub-document of which the index only knows whether it is there."""

    @override
    def equals(self, value: Any) -> Condition:
        return super().equals(self._plain(value))

    @override
    def compares(self, operator: str, value: Any) -> Condition:
        return super().compares(operator, self._plain(value))

    @override
    def one_of(self, values: Sequence[Any]) -> Condition:
        return super().one_of([self._plain(value) for value in values])

    @staticmethod
    def _plain(value: Any) -> Any:
        if isinstance(value, dict):
            raise InvalidFilterError(
                "a relaxed geometry can only be compared with null; read the structures of the entries instead"
            )
        return value


class ListField(Field):
    """A field that is null or a list of texts in every document, or missing; equal lists are stored once.

    Parameters
    ----------
    value, present : str
        SQL: the number of its list, and whether it is there.
    numbers : mapping of tuple of str to int
        Of all lists there are.
    other : Field
        Answers what this one does not.
    """

    def __init__(self, value: str, present: str, numbers: Mapping[tuple[str, ...], int], other: Field):
        self._value = value
        self._present = present
        self._numbers = numbers
        self._other = other
        self._element = ScalarField("item.value", "1")

    def _among(self, condition: Condition) -> Condition:
        """One element fulfils a condition."""
        sql = f"{self._value} IN (SELECT item.list FROM item WHERE {condition.sql})"  # noqa: S608 - made of constants
        return Condition(sql, condition.parameters, condition.height + 2)

    @override
    def equals(self, value: Any) -> Condition:
        if value is None:
            return Condition(f"{self._value} IS NULL")
        if isinstance(value, (list, tuple)):
            number = self._numbers.get(tuple(value)) if all(isinstance(item, str) for item in value) else None
            return NEVER if number is None else Condition(f"{self._value} IS ?", (number,))
        return self._among(self._element.equals(value))

    @override
    def compares(self, operator: str, value: Any) -> Condition:
        if value is None:
            return self.equals(None) if operator in {"$gte", "$lte"} else NEVER
        if isinstance(value, (list, tuple)):
            return self._other.compares(operator, value)
        return self._among(self._element.compares(operator, value))

    @override
    def matches(self, pattern: re.Pattern[str]) -> Condition:
        return self._among(self._element.matches(pattern))

    @override
    def exists(self) -> Condition:
        return Condition(self._present)

    @override
    def has_type(self, name: str) -> Condition:
        if name == "array":
            return Condition(f"{self._value} IS NOT NULL")
        if name == "null":
            return Condition(f"({self._present} AND {self._value} IS NULL)", (), 1)
        return self._among(self._element.has_type(name))

    @override
    def has_size(self, size: int) -> Condition:
        sql = f"{self._value} IN (SELECT number FROM list WHERE size = ?)"  # noqa: S608 - made of constants
        return Condition(sql, (size,), 2)

    @override
    def has_element(self, query: dict[str, Any], condition: Callable[[Field], Condition] | None) -> Condition:
        return self._among(condition(self._element)) if condition else NEVER

    @override
    def one_of(self, values: Sequence[Any]) -> Condition:
        texts = [value for value in values if isinstance(value, str)]
        others = [self.equals(value) for value in values if value is None or isinstance(value, (list, tuple))]
        return any_of([self._among(self._element.one_of(texts)), *others])
