"""Names of space groups by their numbers."""

from __future__ import annotations

import warnings
from functools import lru_cache

LAST_GROUP = 230
_HALL_NUMBERS = 530


@lru_cache(maxsize=1)
def _symbols() -> dict[int, str]:
    """Short international symbol of the first setting that spglib lists for each number."""
    import spglib

    found: dict[int, str] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # spglib's words about its own handling of errors
        for hall in range(1, _HALL_NUMBERS + 1):
            kind = spglib.get_spacegroup_type(hall)
            assert kind is not None
            found.setdefault(kind.number, kind.international_short)
    return found


def space_group_symbol(number: int) -> str:
    """Return the short international (Hermann-Mauguin) symbol, ``P2_1/c`` for 14.

    Raises
    ------
    KeyError
        If the number is not one of 1 to 230.
    """
    return _symbols()[number]


SYSTEMS = (
    ("triclinic", 2),
    ("monoclinic", 15),
    ("orthorhombic", 74),
    ("tetragonal", 142),
    ("trigonal", 167),
    ("hexagonal", 194),
    ("cubic", 230),
)
"""Crystal systems with the last number of each."""


def crystal_system(number: int) -> str:
    """Return the crystal system of a space group.

    Raises
    ------
    ValueError
        If the number is not one of 1 to 230.
    """
    if number < 1:
        raise ValueError(f"{number} is no number of a space group")
    for name, last in SYSTEMS:
        if number <= last:
            return name
    raise ValueError(f"{number} is no number of a space group")
