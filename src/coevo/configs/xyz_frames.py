"""What the head of an extended XYZ frame announces, looked at before ASE makes room for it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from coevo.configs.structure_bounds import MAX_ATOMS, check_count

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_COLUMNS = 1000
"""Numbers of an atom in all; descriptors of a few hundred are known."""


def check_comment(comment: str) -> None:
    """Refuse a comment line whose ``Properties`` announce more columns than a frame can have.

    Raises
    ------
    ValueError
    """
    found = re.search(r'Properties\s*=\s*("[^"]*"|\S+)', comment, flags=re.IGNORECASE)
    columns = re.findall(r":[A-Za-z]:([0-9_+]+)", found.group(1)) if found else []
    if any(len(number) > 9 or int(number) > _MAX_COLUMNS for number in columns):
        raise ValueError(f"Properties announce more than {_MAX_COLUMNS} columns; allowed: those of the lines below")


def check_frames(lines: Sequence[str], max_atoms: int = MAX_ATOMS) -> None:
    """Refuse a text whose frames announce more atoms than are allowed or than have lines; the rest is for ASE to say.

    Raises
    ------
    ValueError
        Naming the frame.
    """
    place, number = 0, 0
    while place < len(lines):
        head = lines[place].strip()
        if not head or head.startswith("VEC"):
            place += 1
            continue
        try:
            count = int(head)
        except ValueError:
            return
        number += 1
        try:
            if count <= 0:
                raise ValueError(f"{count} atoms, allowed: at least 1")
            check_count(count, max_atoms)
            if place + 1 + count >= len(lines):
                raise ValueError(f"{count} atoms are announced, and the file ends after {max(0, len(lines) - place - 2)} of them")
            check_comment(lines[place + 1])
        except ValueError as err:
            raise ValueError(f"frame {number}: {err}") from None
        place += 2 + count
