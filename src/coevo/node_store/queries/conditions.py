"""Conditions in SQL, and how they are joined.

A condition is true, false or NULL, and NULL means false: a negation is written ``IS NOT TRUE`` and never ``NOT``. Values travel
as parameters; the SQL is made of constants of this package only.
"""

from __future__ import annotations

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
