"""Python functions that a statement of SQLite calls."""

from __future__ import annotations

import itertools
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


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
