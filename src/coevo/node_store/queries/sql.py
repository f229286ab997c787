"""MongoDB filters as SQL: the boolean structure, the operators and their arguments.

Filters are checked as a server checks them, before any document is read. The fields know their own SQL
(:mod:`coevo.node_store.queries.fields`); regular expressions are Python's, which differ from MongoDB's in rare details.

Also here: Python functions that a statement of SQLite calls.
"""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from coevo.errors import QueryError
from coevo.node_store.queries.values import (
    ALWAYS,
    NEVER,
    Condition,
    InvalidFilterError,
    all_of,
    any_of,
    check_text,
    checked,
    compiled,
    is_pattern,
    negated,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from coevo.node_store.queries.fields import Field


class SqlCalls:
    """The SQL function ``call``: its first argument is the number of a Python function, which gets the others."""

    def __init__(self) -> None:
        self._functions: dict[int, tuple[Callable[..., Any], list[Exception]]] = {}
        self._numbers = itertools.count()

    def __call__(self, number: int, *arguments: Any) -> Any:
        """Call the function of a number; SQLite does."""
        function, failures = self._functions[number]
        try:
            return function(*arguments)
        except Exception as err:
            failures.append(err)  # SQLite reports that there was one, not which
            raise

    @contextmanager
    def bound(self, parameters: Sequence[Any]) -> Iterator[tuple[list[Any], list[Exception]]]:
        """Give functions among parameters their numbers; yield the parameters to bind and the list of errors to come."""
        failures: list[Exception] = []
        numbers: list[int] = []
        values = []
        for parameter in parameters:
            if callable(parameter):
                numbers.append(next(self._numbers))
                self._functions[numbers[-1]] = (parameter, failures)
                values.append(numbers[-1])
            else:
                values.append(parameter)
        try:
            yield values, failures
        finally:
            for number in numbers:
                del self._functions[number]


_LOGICAL = ("$and", "$or", "$nor")
_COMPARISONS = {"$gt", "$gte", "$lt", "$lte"}
_UNSUPPORTED = {
    "$mod", "$where", "$text", "$jsonSchema", "$geoIntersects", "$geoWithin", "$near", "$nearSphere", "$maxDistance",
    "$minDistance", "$bitsAllClear", "$bitsAllSet", "$bitsAnyClear", "$bitsAnySet", "$rand", "$sampleRate",
}  # fmt: skip
_MOST_LEVELS = 50
"""Of a filter; MongoDB's limit of 100 counts lists and dictionaries."""
_MOST_HEIGHT, _MOST_HEIGHT_OF_A_FIELD = 10, 30
"""Parentheses in parentheses; SQLite's parser keeps a hundred words open, two or three for each of them."""
_TYPES = (
    "double", "string", "object", "array", "binData", "undefined", "objectId", "bool", "date", "null", "regex", "dbPointer",
    "javascript", "symbol", "javascriptWithScope", "int", "timestamp", "long", "decimal",
)  # fmt: skip
"""BSON's types in the order of their numbers, from 1."""


class Where(NamedTuple):
    """A filter as SQL.

    Attributes
    ----------
    parts : list of Condition
        Sub-filters that later ones, and the condition, name as the tables ``part0``, ``part1``, … of row numbers.
    condition : Condition
    """

    parts: list[Condition]
    condition: Condition


def translate(query: dict[str, Any], field: Callable[[str], Field], applies: Callable[[dict[str, Any]], Condition]) -> Where:
    """Translate a filter.

    Parameters
    ----------
    query : dict
        As a user of MongoDB writes it.
    field : callable
        The field of a name.
    applies : callable
        Makes the condition that a filter applies to a document, for what has no SQL.

    Raises
    ------
    QueryError
        If MongoDB would refuse the filter, or the embedded database cannot answer it.
    """
    translator = _Translator(field, applies)
    try:
        condition = translator.filter(query, 0)
    except InvalidFilterError as err:
        raise invalid_filter(query, err) from None
    return Where(translator.parts, condition)


def invalid_filter(query: Any, reason: object) -> QueryError:
    """Return the error that names a filter and what is wrong with it."""
    shown = repr(query)
    shown = shown if len(shown) <= 1000 else f"{shown[:1000]}…"
    return QueryError(f"the filter {shown} is not valid: {reason}; see MongoDB's query operators")


class _Translator:
    def __init__(self, field: Callable[[str], Field], applies: Callable[[dict[str, Any]], Condition]):
        self._field = field
        self._applies = applies
        self.parts: list[Condition] = []
        self._operators: dict[str, Callable[[Field, Any], Condition]] = {
            "$eq": self._equals,
            "$ne": self._differs,
            "$in": self._one_of,
            "$nin": lambda field, values: negated(self._one_of(field, values, "$nin")),
            "$all": self._all,
            "$size": self._size,
            "$type": self._type,
            "$exists": lambda field, flag: field.exists() if _truth(flag) else negated(field.exists()),
        }

    # --- documents

    def filter(self, query: Any, level: int) -> Condition:
        if not isinstance(query, dict):
            raise InvalidFilterError(f"a filter is a dictionary, got {query!r:.80}")
        _check_level(level)
        return self._flat(all_of([self._entry(name, value, level) for name, value in query.items()]))

    def _flat(self, condition: Condition) -> Condition:
        """Give a condition of many parentheses a name."""
        if condition.height <= _MOST_HEIGHT:
            return condition
        self.parts.append(condition)
        return Condition(f"rowid IN part{len(self.parts) - 1}")

    def _entry(self, name: Any, value: Any, level: int) -> Condition:
        if not isinstance(name, str):
            raise InvalidFilterError(f"names of fields are texts, got {name!r:.80}")
        if name in _LOGICAL:
            if not isinstance(value, (list, tuple)) or not value:
                raise InvalidFilterError(f"{name} needs a list of filters that is not empty, got {value!r:.80}")
            parts = [self.filter(part, level + 1) for part in value]
            if name == "$and":
                return all_of(parts)
            return any_of(parts) if name == "$or" else negated(any_of(parts))
        if name == "$comment":
            return ALWAYS
        if name == "$expr":
            return self._applies({"$expr": value})
        if name.startswith("$"):
            raise _refused(name)
        check_text(name)
        return self._conditions(self._field(name), name, value, level)

    def _conditions(self, field: Field, name: str, value: Any, level: int) -> Condition:
        """What stands after the name of a field: a value, a regular expression or operators."""
        if is_pattern(value):
            return field.matches(compiled(value))
        if not _has_operators(value):
            return self._equals(field, value)
        _check_level(level)
        parts = []
        for operator, argument in value.items():
            if operator == "$options" and "$regex" in value:
                continue
            if operator == "$regex":
                parts.append(field.matches(compiled(argument, value.get("$options", ""))))
            elif operator == "$not":
                parts.append(self._not(field, name, argument, level))
            elif operator == "$elemMatch":
                parts.append(self._element(field, name, argument, level))
            else:
                parts.append(self._operator(field, operator, argument))
        condition = all_of(parts)
        if condition.height > _MOST_HEIGHT_OF_A_FIELD:
            raise InvalidFilterError(f"the operators of {name!r} are nested too deep")
        return condition

    # --- operators

    def _operator(self, field: Field, operator: Any, argument: Any) -> Condition:
        if operator in _COMPARISONS:
            if is_pattern(argument):
                raise InvalidFilterError(f"{operator} cannot compare with a regular expression")
            return field.compares(operator, checked(argument))
        if operator not in self._operators:
            raise _refused(operator)
        return self._operators[operator](field, argument)

    def _equals(self, field: Field, value: Any) -> Condition:
        # documents hold no regular expressions, so nothing equals one; to match, it stands without an operator or in $regex
        return NEVER if is_pattern(value) else field.equals(checked(value))

    def _differs(self, field: Field, value: Any) -> Condition:
        if is_pattern(value):
            raise InvalidFilterError("$ne cannot compare with a regular expression; use $not")
        return negated(field.equals(checked(value)))

    def _one_of(self, field: Field, values: Any, operator: str = "$in") -> Condition:
        plain = [value for value in _listed(operator, values) if not is_pattern(value)]
        if any(_has_operators(value) for value in plain):
            raise InvalidFilterError(f"{operator} needs a list of values, and no operators in it")
        patterns = [field.matches(compiled(value)) for value in values if is_pattern(value)]
        return any_of([field.one_of([checked(value) for value in plain]), *patterns])

    def _all(self, field: Field, values: Any) -> Condition:
        listed = _listed("$all", values)
        parts = []
        for value in listed:
            if is_pattern(value):
                parts.append(field.matches(compiled(value)))
            elif _has_operators(value):
                if any(not _has_operators(other) or list(other) != ["$elemMatch"] for other in listed):
                    raise InvalidFilterError("$all needs a list of values, or of $elemMatch only")
                parts.append(self._element(field, "$all", value["$elemMatch"], 0))
            else:
                parts.append(field.equals(checked(value)))
        return all_of(parts) if parts else NEVER

    def _size(self, field: Field, size: Any) -> Condition:
        whole = isinstance(size, int) or (isinstance(size, float) and size.is_integer())
        if not whole or isinstance(size, bool) or not 0 <= size < 2**63:
            raise InvalidFilterError(f"$size needs a whole number that is not negative, got {size!r:.80}")
        return field.has_size(int(size))

    @staticmethod
    def _type(field: Field, argument: Any) -> Condition:
        given = argument if isinstance(argument, (list, tuple)) and argument else [argument]
        names = {name: name for name in (*_TYPES, "number", "minKey", "maxKey")}
        numbers = {-1: "minKey", 127: "maxKey", **dict(enumerate(_TYPES, start=1))}
        parts = []
        for item in given:
            known: Mapping[Any, str] = names if isinstance(item, str) else numbers
            if isinstance(item, bool) or not isinstance(item, (str, int, float)) or item not in known:
                raise InvalidFilterError(f"$type needs names or numbers of types ({', '.join(names)}), got {item!r:.80}")
            parts.append(field.has_type(known[item]))
        return any_of(parts)

    def _not(self, field: Field, name: str, argument: Any, level: int) -> Condition:
        if not is_pattern(argument) and not _has_operators(argument):
            raise InvalidFilterError(f"$not needs a regular expression or operators, got {argument!r:.80}")
        return negated(self._conditions(field, name, argument, level + 1))

    def _element(self, field: Field, name: str, argument: Any, level: int) -> Condition:
        if not isinstance(argument, dict):
            raise InvalidFilterError(f"$elemMatch needs operators or a filter, got {argument!r:.80}")
        if _has_operators(argument) and next(iter(argument)) not in _LOGICAL:
            return field.has_element(argument, lambda element: self._conditions(element, name, argument, level + 1))
        _Translator(self._field, self._applies).filter(argument, level + 1)  # only checked: it asks for sub-documents
        return field.has_element(argument, None)


def _has_operators(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and str(next(iter(value))).startswith("$")


def _check_level(level: int) -> None:
    if level > _MOST_LEVELS:
        raise InvalidFilterError(f"it is nested more than {_MOST_LEVELS} levels deep")


def _refused(operator: Any) -> InvalidFilterError:
    if operator in _UNSUPPORTED:
        return InvalidFilterError(f"the embedded database does not support the operator {operator}")
    if operator == "$options":
        return InvalidFilterError("$options needs a $regex beside it")
    return InvalidFilterError(f"unknown operator: {operator}")


def _truth(flag: Any) -> bool:
    """Return what MongoDB takes as true: everything but null, false and 0."""
    return not (flag is None or (isinstance(flag, (bool, int, float)) and not flag))


def _listed(operator: str, values: Any) -> Sequence[Any]:
    if not isinstance(values, (list, tuple)):
        raise InvalidFilterError(f"{operator} needs a list, got {values!r:.80}")
    return values
