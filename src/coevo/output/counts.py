"""Numbers of things in sentences: ``1 state``, ``2 states``."""

from __future__ import annotations


def counted(count: int, plural: str) -> str:
    """Return a number with its noun, which is given in the plural: ``counted(1, "branches")`` is ``1 branch``."""
    if count != 1:
        return f"{count} {plural}"
    for ending, singular in (("ies", "y"), ("ches", "ch"), ("s", "")):
        if plural.endswith(ending):
            return f"1 {plural.removesuffix(ending)}{singular}"
    return f"1 {plural}"
