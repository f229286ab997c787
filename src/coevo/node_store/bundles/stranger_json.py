"""JSON that a stranger wrote: read so that neither it nor what is stored of it can surprise."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from coevo.node_store.canonical import INT64_LIMIT, LONG_INTEGER, canonical_json, dump_plain, read_plain
from coevo.node_store.known_fields import refuse_marked_text

if TYPE_CHECKING:
    from collections.abc import Collection

MAX_DEPTH = 50
"""Levels of nesting; what is not nested deeper can be walked by recursion, and stored in MongoDB (100 levels)."""

_CONTAINERS = {dict, list}
_NEGATIVE_ZERO = re.compile(rb"[\[:,]-0(?:\.0)?[,\]}]")
_ZERO = rb"\u0000"
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def parse_json(data: bytes) -> Any:
    """Read JSON.

    Raises
    ------
    ValueError
        If it is not JSON, not UTF-8, holds NaN, infinities or integers beyond 64 bits, or is nested too deeply.
    """
    try:
        value = json.loads(data, parse_constant=_refuse_constant, parse_int=_int64)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if _is_deeper(value, MAX_DEPTH):
        raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
    return value


def _is_deeper(value: Any, levels: int) -> bool:
    # level by level, because this walks over every number of every document
    level = [value] if type(value) in _CONTAINERS else []
    for _ in range(levels):
        if not level:
            return False
        level = [
            item
            for container in level
            for item in (container.values() if type(container) is dict else container)
            if type(item) in _CONTAINERS
        ]
    return bool(level)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _int64(digits: str) -> int:
    value = int(digits) if len(digits) < 21 else INT64_LIMIT
    if not -INT64_LIMIT <= value < INT64_LIMIT:
        raise ValueError(f"the integer {digits[:24]} does not fit in 64 bits")
    return value


def parse_document(data: bytes, geometries: Collection[str] = ()) -> dict[str, Any]:
    """Read a document that was written as canonical JSON, and refuse every other spelling of it.

    Parameters
    ----------
    data : bytes
    geometries : collection of str
        Fields in which a geometry may stand.

    Raises
    ------
    ValueError
        Also if a database or a decoder could take a key or a string for something else: keys of
        :mod:`~coevo.node_store.known_fields`, zero characters.
    """
    try:
        document = read_plain(data)
    except ValueError:
        document = parse_json(data)  # which says what is wrong
    else:
        if LONG_INTEGER.search(data) or _is_deeper(document, MAX_DEPTH):
            document = parse_json(data)
    if not isinstance(document, dict):
        raise ValueError(f"it is a {type(document).__name__}, expected an object")  # noqa: TRY004 - the bytes are at fault
    if _ZERO in data:
        raise ValueError("it holds a zero character")
    # what was read as JSON is plain already, but for a negative zero
    if (canonical_json(document) if _NEGATIVE_ZERO.search(data) else dump_plain(document)) != data:
        raise ValueError("it is not canonical JSON (sorted keys, no spaces, shortest numbers, no key twice)")
    refuse_marked_text(data, document, geometries)  # by the text, whose spelling is known now
    return document


def control_characters(value: Any) -> bool:
    """Whether text somewhere in a value could move the cursor of a terminal."""
    if isinstance(value, str):
        return _CONTROL.search(value) is not None
    if isinstance(value, dict):
        return any(control_characters(key) or control_characters(item) for key, item in value.items())
    return isinstance(value, list) and any(control_characters(item) for item in value)
