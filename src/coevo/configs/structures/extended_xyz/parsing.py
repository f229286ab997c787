"""The text of a frame parsed. What its numbers mean is not known here.

ASE's reader is not used, because files of strangers need three things that it does not do: it refuses a whole file for one frame
and a ``stress`` of six numbers, and it moves some keys into a calculator while others stay where they are. The grammar is that of
https://github.com/libAtoms/extxyz in the flat form that ASE, QUIP, GPUMD and dpdata write; the tests compare with ASE.

Whether a frame is a crystal, by one rule for every command that reads such files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from coevo.configs.element_lists import ELEMENT_SYMBOLS
from coevo.configs.structures.extended_xyz.cutting import FrameError
from coevo.configs.structures.extended_xyz.units import length_factor

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from pymatgen.core import Structure


NO_CELL = 'it has no cell; give Lattice="…" and pbc="T T T" in the comment line'
_FLAT = 1e-6
"""Å³."""

_PAIR = re.compile(
    r"""([^\s="']+|"[^"]*")                                   # key
        (?:\s*=\s*("(?:\\.|[^"\\])*"|'[^']*'|\{[^{}]*\}|\[[^=]*?\](?=\s|$)|[^\s]+))?   # value, perhaps quoted
        (?=\s|$|["'])""",
    re.VERBOSE,
)
_AXES = 3
_MAX_KEY, _MAX_KEYS = 200, 1000
"""Characters of a key and keys of a frame, at most."""


def comment_pairs(comment: str) -> dict[str, str]:
    """Return the keys and values of a comment line as text, without quotes; a key alone is ``T``.

    Raises
    ------
    FrameError
        If a key is there twice with different values, or there are too many of them.
    """
    pairs: dict[str, str] = {}
    for match in _PAIR.finditer(comment):
        key, value = match[1].strip('"'), match[2]
        if len(key) > _MAX_KEY or len(pairs) > _MAX_KEYS:
            raise FrameError("too_large", f"more than {_MAX_KEYS} keys, or one of more than {_MAX_KEY} characters")
        text = "T" if value is None else _unquoted(value)
        if key in pairs and pairs[key] != text:
            raise FrameError("unreadable", f"{key} is there twice, as {pairs[key][:40]!r} and as {text[:40]!r}")
        pairs[key] = text
    return pairs


def _unquoted(value: str) -> str:
    if value[0] in "\"'{" and len(value) > 1:
        return re.sub(r"\\(.)", r"\1", value[1:-1])
    return value


def numbers_in(text: str) -> NDArray[np.float64]:
    """Return the numbers of a value: separated by blanks or commas, perhaps in brackets.

    Raises
    ------
    FrameError
        ``unreadable``, if it holds what is none.
    """
    words = re.sub(r"[\[\](){},]", " ", text.removeprefix("_JSON ")).split()
    return _as_numbers(words, text[:40])


def _as_numbers(words: list[str], where: str) -> NDArray[np.float64]:
    try:
        return np.array([_as_number(word) for word in words], dtype=float)
    except ValueError:
        raise FrameError("unreadable", f"{where!r} holds what is no number") from None


def _as_number(word: str) -> float:
    if "_" in word:  # Python reads 1_000 as a number, and no writer of files means that
        raise ValueError(word)
    try:
        return float(word)
    except ValueError:
        return float(word.lower().replace("d", "e"))  # Fortran's 1.0D-03


@dataclass(frozen=True)
class XyzFrame:
    """A frame that could be parsed.

    Attributes
    ----------
    info : dict of str to str
        Keys of the comment line that are not about the geometry, with their values as text.
    symbols : list of str
        Element of each atom.
    positions : ndarray, shape (n_atoms, 3)
        Å.
    lattice : ndarray, shape (3, 3), or None
        Cell vectors as rows, Å.
    pbc : tuple of bool
    columns : dict of str to slice
        Columns beside species and positions, by name.
    rows : list of list of str
        Words of each atom's line.
    """

    info: dict[str, str]
    symbols: list[str]
    positions: NDArray[np.float64]
    lattice: NDArray[np.float64] | None
    pbc: tuple[bool, bool, bool]
    columns: dict[str, slice]
    rows: list[list[str]]

    def __len__(self) -> int:
        """Number of atoms."""
        return len(self.symbols)

    def array(self, name: str) -> NDArray[np.float64]:
        """Return a column of numbers, shape (n_atoms, width).

        Raises
        ------
        FrameError
            If it holds what is no number, such as Fortran's ``****``.
        """
        return _columns_as_numbers(self.rows, self.columns[name], name)

    def structure(self) -> Structure:
        """Return the geometry of a frame that has a cell.

        Raises
        ------
        FrameError
            ``not_periodic`` without a cell, ``volume_too_small`` if its vectors lie in a plane.
        """
        from pymatgen.core import Structure

        if self.lattice is None:
            raise FrameError("not_periodic", NO_CELL)
        if not abs(float(np.linalg.det(self.lattice))) > _FLAT:
            raise FrameError("volume_too_small", "the cell vectors lie in a plane")
        return Structure(self.lattice, self.symbols, self.positions, coords_are_cartesian=True)


def _columns_as_numbers(rows: list[list[str]], part: slice, name: str) -> NDArray[np.float64]:
    out = []
    for number, row in enumerate(rows, start=1):
        out.append(_as_numbers(row[part], f"{name} of atom {number}: {' '.join(row[part])[:40]}"))
    return np.array(out)


def parse_frame(comment: str, atoms: list[str]) -> XyzFrame:
    """Parse the lines of one frame.

    Raises
    ------
    FrameError
        ``unreadable``, ``unknown_element``, ``not_finite`` or ``unknown_unit``.
    """
    pairs = comment_pairs(comment)
    # GPUMD reads these in any case, and people write train.xyz for it
    lower = {key.lower(): key for key in pairs if key.lower() in {"lattice", "properties", "pbc"}}
    lattice, pbc, properties = (pairs.pop(lower[key], None) if key in lower else None for key in ("lattice", "pbc", "properties"))
    columns = _layout(properties or "species:S:1:pos:R:3")
    width = max(part.stop for part in columns.values())
    rows = [line.split() for line in atoms]
    for number, row in enumerate(rows, start=1):
        # a plain XYZ file may have more columns, of which nothing is said
        if len(row) != width and (properties is not None or len(row) < width):
            raise FrameError("unreadable", f"atom {number} has {len(row)} columns, expected {width}")
    named = {name.lower(): name for name in columns}
    species = next((named[name] for name in ("species", "symbols", "z", "numbers") if name in named), None)
    place = next((named[name] for name in ("pos", "positions") if name in named), None)
    if species is None or place is None:
        raise FrameError("unreadable", f"no species or no pos among its columns ({', '.join(columns)})")
    positions = _columns_as_numbers(rows, columns.pop(place), "position")
    symbols = [_element(row[columns[species].start]) for row in rows]
    del columns[species]
    if positions.shape[1] != _AXES or not np.isfinite(positions).all():
        raise FrameError("not_finite", "positions that are not three finite numbers an atom")
    factor, cell = length_factor(pairs), _cell(lattice)
    cell = None if cell is None else factor * cell
    return XyzFrame(pairs, symbols, factor * positions, cell, _periodic(pbc, lattice), columns, rows)


def _layout(properties: str) -> dict[str, slice]:
    parts = properties.split(":")
    columns: dict[str, slice] = {}
    start = 0
    try:
        for name, kind, width in zip(parts[::3], parts[1::3], parts[2::3], strict=True):
            if kind not in set("RISL") or name in columns or int(width) < 1:
                raise ValueError
            columns[name] = slice(start, start + int(width))
            start += int(width)
    except ValueError:
        raise FrameError("unreadable", f"Properties={properties[:60]} is no list of name:type:columns") from None
    return columns


def _element(word: str) -> str:
    symbol = word if word in ELEMENT_SYMBOLS else word.capitalize()
    if symbol in ELEMENT_SYMBOLS:
        return symbol
    if word.isdecimal():
        from pymatgen.core import Element

        try:
            return Element.from_Z(int(word)).symbol
        except ValueError:
            pass
    raise FrameError("unknown_element", f"{word[:20]} is not in the periodic table")


def _cell(text: str | None) -> NDArray[np.float64] | None:
    if text is None:
        return None
    if text.startswith("["):
        raise FrameError("unreadable", 'Lattice in brackets does not say whether vectors are rows; write Lattice="ax ay az bx …"')
    values = numbers_in(text)
    if values.shape == (3,):
        values = np.diag(values).ravel()
    if values.shape != (9,):
        raise FrameError("unreadable", f"Lattice has {values.size} numbers, expected 9")
    if not np.isfinite(values).all():
        raise FrameError("not_finite", "Lattice holds what is no finite number")
    return values.reshape(3, 3)


def _periodic(text: str | None, lattice: str | None) -> tuple[bool, bool, bool]:
    if text is None:
        return (lattice is not None,) * 3
    words = re.sub(r"[\[\](){},]", " ", text).split()
    known = {**dict.fromkeys(("T", "TRUE", "1"), True), **dict.fromkeys(("F", "FALSE", "0"), False)}
    try:
        flags = [known[word.upper()] for word in words]
        a, b, c = flags * 3 if len(flags) == 1 else flags
    except (KeyError, ValueError):
        raise FrameError("unreadable", f'pbc is {text[:20]!r}, expected "T T T"') from None
    return a, b, c


VACUUM = 6.5
"""Å. Atoms in a cell are a molecule in a box, and no crystal, if layers without atoms of this thickness cut them off in all three
directions. The widest such layer in a crystal has 4.3 Å (between the (110) planes of caesium); boxes leave 8 Å and more."""

_FLAT_CELL = 1e-6
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
    if not volume > _FLAT_CELL:
        return (0.0, 0.0, 0.0)
    heights = [volume / float(np.linalg.norm(np.cross(lattice[i - 2], lattice[i - 1]))) for i in range(3)]
    ordered = np.sort((positions @ np.linalg.inv(lattice)) % 1.0, axis=0)
    widest = np.diff(np.vstack([ordered, ordered[:1] + 1.0]), axis=0).max(axis=0)
    a, b, c = (float(height * gap) for height, gap in zip(heights, widest, strict=True))
    return a, b, c
