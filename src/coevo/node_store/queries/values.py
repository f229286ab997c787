"""Values of filters and of columns: what they may be, and how SQLite holds them.

Also here: conditions in SQL, and how they are joined.

A condition is true, false or NULL, and NULL means false: a negation is written ``IS NOT TRUE`` and never ``NOT``. Values travel
as parameters; the SQL is made of constants of this package only.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


_GROUP = 100


class Condition(NamedTuple):
    """A condition in SQL.

    Attributes
    ----------
    sql : str
    parameters : tuple
        Values to bind; a callable is bound as the number under which the SQL function ``call`` finds it.
    height : int
        Levels of parentheses, of which SQLite's parser allows few.
    """

    sql: str
    parameters: tuple[Any, ...] = ()
    height: int = 0


NEVER, ALWAYS = Condition("0"), Condition("1")


def all_of(conditions: Sequence[Condition]) -> Condition:
    """Join conditions by AND; none at all is true."""
    return _joined(" AND ", conditions) if conditions else ALWAYS


def any_of(conditions: Sequence[Condition]) -> Condition:
    """Join conditions by OR; none at all is false."""
    return _joined(" OR ", conditions) if conditions else NEVER


def negated(condition: Condition) -> Condition:
    """Return the condition that is true wherever this one is false or NULL."""
    return Condition(f"({condition.sql}) IS NOT TRUE", condition.parameters, condition.height + 1)


def _joined(word: str, conditions: Sequence[Condition]) -> Condition:
    # in groups, because SQLite counts every AND of a row of them as one level, and has 1000
    while len(conditions) > _GROUP:
        conditions = [_joined(word, conditions[i : i + _GROUP]) for i in range(0, len(conditions), _GROUP)]
    if len(conditions) == 1:
        return conditions[0]
    sql = word.join(condition.sql for condition in conditions)
    parameters = tuple(parameter for condition in conditions for parameter in condition.parameters)
    return Condition(f"({sql})", parameters, 1 + max(condition.height for condition in conditions))


TRUE, FALSE, OBJECT = b"\x40\x01", b"\x40\x00", b"\x20"
"""Booleans, and the marker of a sub-document that is stored elsewhere."""
_OPTIONS = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL, "x": re.VERBOSE, "u": re.UNICODE}


class InvalidFilterError(Exception):
    """What is wrong with a filter; whoever holds the whole filter makes a QueryError of it."""


def encoded(value: Any) -> Any:
    """Return a scalar as the columns hold it.

    Raises
    ------
    TypeError
        If it is none, or an integer of more than 64 bits.
    """
    if value is None or isinstance(value, (float, str)):
        return value
    if isinstance(value, bool):
        return TRUE if value else FALSE
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return value
    raise TypeError(f"{value!r:.80} is no scalar of a document")


def is_pattern(value: Any) -> bool:
    """Whether a value of a filter is a regular expression, Python's or BSON's."""
    from bson.regex import Regex

    return isinstance(value, (re.Pattern, Regex))


def comparison_class(value: Any) -> str | None:
    """Return ``number``, ``text`` or ``boolean``: values of different classes are never below, above or equal to each other."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "text"
    # no document holds NaN, and it is neither above nor below anything
    return "number" if isinstance(value, (int, float)) and not math.isnan(value) else None


def check_text(text: str) -> None:
    """Refuse a text that is not Unicode (half a surrogate pair), which no document can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidFilterError(f"{text!r:.80} is not a text of Unicode characters") from None


def checked(value: Any) -> Any:
    """Return a value of a filter, if a document can hold such a value.

    Raises
    ------
    InvalidFilterError
    """
    if isinstance(value, str):
        check_text(value)
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise InvalidFilterError(f"keys of documents are texts, got {key!r:.80}")
            checked(item)
    elif isinstance(value, (list, tuple)):
        return [checked(item) for item in value]
    else:
        try:
            encoded(value)
        except TypeError:
            raise InvalidFilterError(
                f"{value!r:.80} is a {type(value).__name__}, and documents hold null, booleans, integers of 64 bits, floats, "
                "texts, lists and dictionaries; convert it first"
            ) from None
    return value


def compiled(pattern: Any, options: Any = "") -> re.Pattern[str]:
    """Return the regular expression of ``$regex`` and ``$options``, or of a pattern that stands for itself."""
    if not isinstance(options, str) or not set(options) <= set(_OPTIONS):
        raise InvalidFilterError(f"$options are letters of {''.join(_OPTIONS)}, got {options!r:.80}")
    flags = 0 if isinstance(pattern, str) else getattr(pattern, "flags", 0)
    text = pattern if isinstance(pattern, str) else getattr(pattern, "pattern", None)
    if not isinstance(text, str):
        raise InvalidFilterError(f"$regex needs a text or a regular expression of text, got {pattern!r:.80}")
    for option in options:
        flags |= _OPTIONS[option]
    try:
        return re.compile(text, flags & ~re.DEBUG)
    except (re.error, OverflowError, RecursionError, ValueError) as err:
        raise InvalidFilterError(f"$regex {text!r:.80} is not a regular expression: {err}") from None
