"""What worker processes run in tests: they import it by name."""

from __future__ import annotations

import os


def total(chunk: list[int]) -> int:
    return sum(chunk)


def fail_on_seven(chunk: list[int]) -> int:
    if 7 in chunk:
        raise ValueError("seven")
    return sum(chunk)


def die_on_seven(chunk: list[int]) -> int:
    if 7 in chunk:
        os._exit(3)
    return sum(chunk)
