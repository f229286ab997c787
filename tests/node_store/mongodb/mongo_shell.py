"""Run the few lines of the Mongo shell's language that the documentation uses, through pymongo.

Assignments to names, object and array literals, members, subscripts and calls; nothing else of JavaScript.
"""

from __future__ import annotations

import re
from typing import Any

TOKEN = re.compile(
    r"""\s+|//[^\n]*|(?P<string>"[^"]*")|(?P<number>-?\d+(?:\.\d+)?)|(?P<name>[A-Za-z_$][\w$]*)|(?P<sign>[{}\[\](),:.=])"""
)
CONSTANTS = {"true": True, "false": False, "null": None}


class Shell:
    """A shell on a database; ``names`` are the variables."""

    def __init__(self, database: Any):
        self.names: dict[str, Any] = {"db": Members(lambda name: Members(Collection(database[name]).method))}
        self.tokens: list[tuple[str, str]] = []

    def run(self, text: str) -> list[Any]:
        """Run all statements of a text and return their values, cursors as lists."""
        self.tokens = tokens(text)
        values = []
        while self.tokens:
            target = None
            if len(self.tokens) > 1 and self.tokens[0][0] == "name" and self.tokens[1][1] == "=":
                target = self._take()
                self._take("=")
            value = self._expression()
            value = value.rows() if isinstance(value, Cursor) else value
            if target:
                self.names[target] = value
            values.append(value)
        return values

    def _take(self, expected: str | None = None) -> str:
        _, text = self.tokens.pop(0)
        assert expected in {None, text}, f"expected {expected}, found {text}"
        return text

    def _at(self, sign: str) -> bool:
        return bool(self.tokens) and self.tokens[0] == ("sign", sign)

    def _expression(self) -> Any:
        value = self._atom()
        while self._at(".") or self._at("(") or self._at("["):
            sign = self._take()
            if sign == ".":
                value = value[self._take()]
            elif sign == "(":
                value = value(*self._items(")"))
            else:
                (key,) = self._items("]")
                value = value[key]
        return value

    def _atom(self) -> Any:
        kind, text = self.tokens.pop(0)
        if kind == "string":
            return text[1:-1]
        if kind == "number":
            return float(text) if "." in text else int(text)
        if kind == "name":
            return CONSTANTS[text] if text in CONSTANTS else self.names[text]
        assert text in "{[", f"unexpected {text}"
        return self._items("]") if text == "[" else self._object()

    def _items(self, end: str) -> list[Any]:
        items = []
        while not self._at(end):
            items.append(self._expression())
            if not self._at(end):
                self._take(",")
        self._take(end)
        return items

    def _object(self) -> dict[str, Any]:
        found = {}
        while not self._at("}"):
            key = self._take().strip('"')
            self._take(":")
            found[key] = self._expression()
            if not self._at("}"):
                self._take(",")
        self._take("}")
        return found


def tokens(text: str) -> list[tuple[str, str]]:
    found, place = [], 0
    while place < len(text):
        match = TOKEN.match(text, place)
        assert match, f"not of this language: {text[place : place + 40]!r}"
        if match.lastgroup:
            found.append((match.lastgroup, match[0]))
        place = match.end()
    return found


class Members:
    def __init__(self, get: Any):
        self.get = get

    def __getitem__(self, name: str) -> Any:
        return self.get(name)


class Collection:
    def __init__(self, collection: Any):
        self.collection = collection

    def method(self, name: str) -> Any:
        return {
            "find": lambda *arguments: Cursor(self.collection.find(*arguments)),
            "findOne": self.collection.find_one,
            "countDocuments": self.collection.count_documents,
            "aggregate": lambda pipeline: list(self.collection.aggregate(pipeline)),
        }[name]


class Cursor:
    def __init__(self, cursor: Any):
        self.cursor = cursor

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)

    def sort(self, keys: dict[str, int]) -> Cursor:
        return Cursor(self.cursor.sort(list(keys.items())))

    def limit(self, number: int) -> Cursor:
        return Cursor(self.cursor.limit(number))

    def next(self) -> Any:
        return next(self.cursor)

    def rows(self) -> list[Any]:
        return list(self.cursor)
