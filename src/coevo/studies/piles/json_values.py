"""The values of a JSON file one after the other, without holding the file: a list, lines, or one value."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK = 1 << 20
_LIST_FIRST = re.compile(r'\{\s{0,9}"(?:phases|entries|structures|data)"\s{0,9}:\s{0,9}(?=\[)')
_MAX_DOCUMENT = 64 * 2**20
"""Characters of a single object that holds all structures, at most; lists and lines have no such limit."""


@dataclass(frozen=True, slots=True)
class JsonItem:
    """A value, or why it is none."""

    value: Any
    problem: str | None = None


def json_items(text: IO[str], limit: int) -> Iterator[JsonItem]:
    """Yield the structures of a JSON file as plain objects.

    Parameters
    ----------
    text : text file
        A list of objects; or objects one a line; or one object, which may hold a list under ``phases``, ``entries``,
        ``structures`` or ``data`` (OPTIMADE). If that list comes first in the object, it may be of any length.
    limit : int
        Characters of one object of a list or line, at most.
    """
    window = _Window(text)
    first = window.peek()
    if first == "[":
        yield from _list_items(window, limit)
        return
    if not first:
        return
    if window.skip_to_list():
        yield from _list_items(window, limit)
        return
    line = window.line(limit).strip()
    try:
        value = json.loads(line)
    except (json.JSONDecodeError, RecursionError):
        yield from _whole(line, window)
        return
    rest = window.peek()
    if isinstance(value, dict) and not rest:
        yield from _held(value)
        return
    yield JsonItem(value)
    while window.peek():
        line = window.line(limit).strip()
        yield _parsed(line, limit)


def _parsed(line: str, limit: int) -> JsonItem:
    if len(line) > limit:
        return JsonItem(None, f"a line of more than {limit} characters")
    try:
        return JsonItem(json.loads(line))
    except (json.JSONDecodeError, RecursionError) as err:
        return JsonItem(None, f"not JSON: {err}")


def _whole(start: str, window: _Window) -> Iterator[JsonItem]:
    """An object over several lines; or, where even that is no JSON, lines of which the first is broken."""
    text = start + "\n" + window.rest(_MAX_DOCUMENT)
    try:
        value = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as err:
        lines = [line for line in text.splitlines() if line.strip()]
        found = [_parsed(line, _MAX_DOCUMENT) for line in lines]
        if any(item.problem is None and isinstance(item.value, dict) for item in found):
            yield from found
        else:
            yield JsonItem(None, f"not JSON: {err}")
        return
    yield from _held(value)


def _held(value: Any) -> Iterator[JsonItem]:
    """One structure, or the list that an object holds."""
    if isinstance(value, dict) and "lattice" not in value and "structure" not in value:
        for key in ("phases", "entries", "structures", "data"):
            if isinstance(value.get(key), list):
                yield from (JsonItem(item) for item in value[key])
                return
    yield JsonItem(value)


def _list_items(window: _Window, limit: int) -> Iterator[JsonItem]:
    """The elements of a list, each decoded as soon as it is whole."""
    window.skip(1)
    decoder = json.JSONDecoder()
    while (mark := window.peek()) != "]":
        if mark == ",":
            window.skip(1)
            continue
        if not mark:
            yield JsonItem(None, "the list breaks off")
            return
        try:
            value = window.decode(decoder, limit)
        except (json.JSONDecodeError, RecursionError) as err:
            yield JsonItem(None, f"no JSON, or more than {limit} characters: {err}; nothing after it in the list is read")
            return
        yield JsonItem(value)


class _Window:
    """A text file seen through a buffer that moves forward."""

    def __init__(self, text: IO[str]):
        self._text = text
        self._buffer = ""
        self._start = 0
        self.at_end = False

    def _more(self, size: int) -> None:
        piece = self._text.read(size)
        self.at_end = not piece
        self._buffer = self._buffer[self._start :] + piece
        self._start = 0

    def peek(self) -> str:
        """Skip white space and return the next character; empty at the end."""
        while True:
            while self._start < len(self._buffer) and self._buffer[self._start].isspace():
                self._start += 1
            if self._start < len(self._buffer) or self.at_end:
                return self._buffer[self._start : self._start + 1]
            self._more(_CHUNK)

    def skip(self, count: int) -> None:
        """Move forward within the buffer."""
        self._start += count

    def skip_to_list(self) -> bool:
        """Move to the list with which an object begins, as in the files of Alexandria, and say whether there is one."""
        begins = _LIST_FIRST.match(self._buffer, self._start)
        if begins:
            self._start = begins.end()
        return begins is not None

    def decode(self, decoder: json.JSONDecoder, limit: int) -> Any:
        """Decode the value that begins here and move behind it, reading on until it is whole."""
        size = _CHUNK
        while True:
            try:
                value, self._start = decoder.raw_decode(self._buffer, self._start)
            except json.JSONDecodeError:
                if self.at_end or len(self._buffer) - self._start > limit:
                    raise
                self._more(size)
                size *= 2
            else:
                return value

    def line(self, limit: int) -> str:
        """The next line, of which at most limit + 1 characters are kept."""
        kept = ""
        while True:
            end = self._buffer.find("\n", self._start)
            piece = self._buffer[self._start : end if end >= 0 else len(self._buffer)]
            kept += piece[: limit + 1 - len(kept)]
            if end >= 0:
                self._start = end + 1
                return kept
            self._buffer, self._start = "", 0
            if self.at_end:
                return kept
            self._more(_CHUNK)

    def rest(self, limit: int) -> str:
        """All that follows, of which at most limit characters are kept."""
        kept, self._buffer, self._start = self._buffer[self._start :], "", 0
        return kept + self._text.read(max(0, limit - len(kept)))
