"""Whether a frame is a crystal, by one rule for every command that reads such files."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.configs.structures.extended_xyz.parsing import NO_CELL

if TYPE_CHECKING:
    from coevo.configs.structures.extended_xyz.parsing import XyzFrame

VACUUM = 6.5
"""Å. Atoms in a cell are a molecule in a box, and no crystal, if layers without atoms of this thickness cut them off in all three
directions. The widest such layer in a crystal has 4.3 Å (between the (110) planes of caesium); boxes leave 8 Å and more."""

_FLAT = 1e-6
"""Å³."""


def why_no_crystal(frame: XyzFrame) -> str | None:
    """Say why a frame is no crystal, None if it is one.

    No cell; not periodic in three directions; said to be an isolated atom (``config_type=IsolatedAtom``); or atoms that planes of
    :data:`VACUUM` and more cut off in all three directions, as of a molecule in a box. A slab with periodic boundaries passes.
    """
    if frame.lattice is None:
        return NO_CELL
    if not all(frame.pbc):
        given = " ".join("T" if flag else "F" for flag in frame.pbc)
        return f'it is periodic along pbc="{given}" only, expected "T T T"'
    kind = next((value for key, value in frame.info.items() if key.lower() == "config_type"), "")
    if re.fullmatch(r"isolated_?atoms?", re.sub(r"[\s-]", "_", kind.strip()).lower()):
        return f"config_type={kind[:30]}: an isolated atom"
    gaps = vacuum_gaps(frame.lattice, frame.positions)
    if min(gaps) >= VACUUM:
        what = "an atom" if len(frame) == 1 else "a molecule"
        return f"{what} in a box: no atoms for {min(gaps):.1f} Å and more in all directions, allowed: less than {VACUUM:g} Å"
    return None


def vacuum_gaps(lattice: Any, positions: Any) -> tuple[float, float, float]:
    """Thickness of the widest layer without atoms along each pair of cell planes, Å; 0 for a flat cell.

    Parameters
    ----------
    lattice : ndarray, shape (3, 3)
        Å, rows.
    positions : ndarray, shape (n_atoms, 3)
        Å.
    """
    volume = abs(float(np.linalg.det(lattice)))
    if not volume > _FLAT:
        return (0.0, 0.0, 0.0)
    heights = [volume / float(np.linalg.norm(np.cross(lattice[i - 2], lattice[i - 1]))) for i in range(3)]
    ordered = np.sort((positions @ np.linalg.inv(lattice)) % 1.0, axis=0)
    widest = np.diff(np.vstack([ordered, ordered[:1] + 1.0]), axis=0).max(axis=0)
    a, b, c = (float(height * gap) for height, gap in zip(heights, widest, strict=True))
    return a, b, c
