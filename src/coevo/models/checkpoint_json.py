"""JSON in checkpoints, which strangers may have written: bounded before anything is made of it."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

MAX_DEPTH = 32
"""Levels of nesting."""
MAX_INTEGER = 2**64
"""Largest integer, in either direction."""
_DIGITS = 21


def parse_bounded(data: bytes, *, depth: int = MAX_DEPTH) -> Any:
    """Read JSON.

    Parameters
    ----------
    data : bytes
    depth : int
        Levels of nesting, at most.

    Raises
    ------
    ValueError
        If it is not JSON in UTF-8, is nested more deeply, or holds a number that is not finite or an integer beyond 64 bits.
    """
    try:
        value = json.loads(data.decode("utf-8"), parse_constant=_refuse, parse_int=_integer, parse_float=_finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    level = [value]
    for _ in range(depth + 1):
        level = [item for container in level for item in _items(container)]
        if not level:
            return value
    raise ValueError(f"it is nested more than {depth} levels deep")


def _items(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [item for item in value.values() if isinstance(item, (dict, list))]
    return [item for item in value if isinstance(item, (dict, list))] if isinstance(value, list) else []


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _integer(text: str) -> int:
    value = int(text) if len(text) <= _DIGITS else MAX_INTEGER + 1
    if abs(value) > MAX_INTEGER:
        raise ValueError(f"the integer {text[:24]} is beyond 64 bits")
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text[:24]} is not finite")
    return value
